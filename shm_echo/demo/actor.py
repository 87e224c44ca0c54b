"""An actor process: steps Gymnasium's CartPole and streams rollout fragments into the ring.

What it is: the program that ``fleet`` starts, once per actor. It attaches to the learner's ring,
follows the published policy, steps a few environments with it, and sends every ``STEPS``
transitions of an environment as one sample.

What it guarantees: SIGTERM lets the send under way return and closes the client, so that nothing
is lost; when the learner goes away the process ends by itself.

What it leaves to others: being restarted after a SIGKILL (``fleet``), learning (``learner``).
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import gymnasium
import numpy as np

from shm_echo import ConnectionClosedError, ShmClient, TrajectoryAccumulator
from shm_echo.demo.actor_config import ActorConfig
from shm_echo.demo.fragment import STEPS, Stamp, checksum, example
from shm_echo.demo.ledger import LedgerRow
from shm_echo.demo.policy import MLP, Array, sample_actions

__all__ = ["main"]

_POLICY_TIMEOUT = 30.0


def main(argument: str) -> None:
    """The process: runs until SIGTERM or until the learner has gone."""
    config = ActorConfig.from_json(argument)
    stopping = _StopRequest()
    client = ShmClient(config.address, example())
    try:
        _Actor(config, client).run(stopping)
    except ConnectionClosedError:
        pass  # the learner has gone, and with it the reason to be here
    finally:
        client.close()


class _StopRequest:
    """Becomes true on SIGTERM."""

    def __init__(self) -> None:
        self._set = False
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        self._set = True

    def __bool__(self) -> bool:
        return self._set


class _Actor:
    def __init__(self, config: ActorConfig, client: ShmClient) -> None:
        self._config = config
        self._client = client
        self._ledger = LedgerRow(config.ledger_fd, config.actor)
        self._rng = np.random.default_rng([config.seed, config.actor, config.incarnation])
        self._policy = MLP(config.layers, self._rng)
        self._version = 0
        # One environment at a time is Gymnasium's plain API; only the policy is batched.
        self._envs = [
            gymnasium.make("CartPole-v1", disable_env_checker=True)
            for _ in range(config.environments)
        ]
        steps = example()["steps"]
        self._fragments = [TrajectoryAccumulator({"steps": steps}) for _ in self._envs]
        self._returns = [0.0] * len(self._envs)
        self._obs: Array = np.zeros((len(self._envs), config.layers[0]), np.float32)
        for i, env in enumerate(self._envs):
            self._obs[i], _ = env.reset(seed=int(self._rng.integers(2**31)))

    def run(self, stopping: _StopRequest) -> None:
        self._client.wait_for(1, timeout=_POLICY_TIMEOUT)
        while not stopping:
            self._follow_policy()
            for _ in range(STEPS):
                self._step()
            for fragment in self._fragments:
                if stopping:
                    break
                self._send(fragment.build()["steps"])

    def _follow_policy(self) -> None:
        latest = self._client.latest()
        if latest is not None and latest[0] != self._version:
            self._version, parameters = latest
            self._policy.load(parameters)

    def _step(self) -> None:
        """One step of every environment."""
        actions, log_probs = sample_actions(self._policy(self._obs), self._rng)
        for i, env in enumerate(self._envs):
            next_obs, reward, terminated, truncated, _ = env.step(int(actions[i]))
            self._returns[i] += float(reward)
            ended = terminated or truncated
            self._fragments[i].add(
                "steps",
                {
                    "obs": self._obs[i],
                    "action": actions[i],
                    "log_prob": log_probs[i],
                    "reward": reward,
                    "next_obs": next_obs,
                    "terminated": terminated,
                    "truncated": truncated,
                    "episode_return": self._returns[i] if ended else np.nan,
                },
            )
            if ended:
                self._returns[i] = 0.0
                next_obs, _ = env.reset()
            self._obs[i] = next_obs

    def _send(self, steps: dict[str, Any]) -> None:
        stamp = Stamp(
            actor=self._config.actor,
            incarnation=self._config.incarnation,
            sequence=self._ledger.begin(),
            version=self._version,
        )
        self._client.send({"steps": steps, "stamp": stamp.leaves(checksum(steps, stamp))})
        self._ledger.end()
