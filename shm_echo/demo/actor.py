"""An actor process: steps Gymnasium's CartPole and streams rollout fragments into the ring.

`fleet` starts this program once per actor. It attaches to the learner's ring, follows the published
policy, steps a few environments with it, and sends every `STEPS` transitions of each environment as
one sample.

On SIGTERM the current send returns and the client is closed, so that no sample is lost. When the
learner goes away the process ends by itself.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import gymnasium
import numpy as np

from shm_echo import ConnectionClosedError, ShmClient, TrajectoryAccumulator
from shm_echo.demo.actor_config import ActorConfig
from shm_echo.demo.fragment import STEPS, Stamp, example, pack
from shm_echo.demo.ledger import LedgerRow
from shm_echo.demo.policy import MLP, Array, sample_actions

__all__ = ["main"]

_POLICY_TIMEOUT = 30.0  # seconds to wait for the first policy


def main(argument: str) -> None:
    """Run an actor until SIGTERM, or until the learner has gone."""
    config = ActorConfig.from_json(argument)
    stopping = _StopRequest()
    client = ShmClient(config.address, example())
    try:
        _Actor(config, client).run(stopping)
    except ConnectionClosedError:
        pass  # the learner has gone: end without an error
    finally:
        client.close()


class _StopRequest:
    """Is true after SIGTERM."""

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
        # Gymnasium's plain API steps one environment at a time; only the policy is batched.
        self._envs = [
            gymnasium.make("CartPole-v1", disable_env_checker=True)
            for _ in range(config.environments)
        ]
        # A row of the accumulator is one step of all environments.
        n = len(self._envs)
        steps = example()["steps"]
        self._rollout = TrajectoryAccumulator(
            {"steps": {name: np.stack([leaf] * n, axis=1) for name, leaf in steps.items()}}
        )
        self._returns: Array = np.zeros(n, np.float32)
        self._obs: Array = np.zeros((n, config.layers[0]), np.float32)
        for i, env in enumerate(self._envs):
            self._obs[i], _ = env.reset(seed=int(self._rng.integers(2**31)))

    def run(self, stopping: _StopRequest) -> None:
        self._client.wait_for(1, timeout=_POLICY_TIMEOUT)
        while not stopping:
            self._follow_policy()
            for _ in range(STEPS):
                self._step()
            rollout = self._rollout.build()["steps"]
            # From (steps, environments, ...) to one fragment per environment.
            self._send({name: leaf.swapaxes(0, 1) for name, leaf in rollout.items()})

    def _follow_policy(self) -> None:
        latest = self._client.latest()
        if latest is not None and latest[0] != self._version:
            self._version, parameters = latest
            self._policy.load(parameters)

    def _step(self) -> None:
        """Take one step in every environment."""
        actions, log_probs = sample_actions(self._policy(self._obs), self._rng)
        n = len(self._envs)
        next_obs = np.empty_like(self._obs)
        reward: Array = np.empty(n, np.float32)
        terminated, truncated = np.empty((2, n), np.bool_)
        for i, env in enumerate(self._envs):
            next_obs[i], reward[i], terminated[i], truncated[i], _ = env.step(int(actions[i]))
        self._returns += reward
        ended = terminated | truncated
        self._rollout.add(
            "steps",
            {
                "obs": self._obs,
                "action": actions,
                "log_prob": log_probs,
                "reward": reward,
                "next_obs": next_obs,
                "terminated": terminated,
                "truncated": truncated,
                "episode_return": np.where(ended, self._returns, np.float32(np.nan)),
            },
        )
        self._obs = next_obs
        for i in np.flatnonzero(ended).tolist():
            self._returns[i] = 0
            self._obs[i], _ = self._envs[i].reset()

    def _send(self, fragments: dict[str, Any]) -> None:
        if not self._config.slow_writes:
            first = self._ledger.begin(len(self._envs))
            self._client.send_batch(pack(fragments, self._stamps(first, len(self._envs))))
            self._ledger.end()
            return
        for i in range(len(self._envs)):
            first = self._ledger.begin(1)
            fragment = {name: leaf[i : i + 1] for name, leaf in fragments.items()}
            self._write_row_by_row(pack(fragment, self._stamps(first, 1)))
            self._ledger.end()

    def _stamps(self, first: int, count: int) -> list[Stamp]:
        config = self._config
        return [
            Stamp(config.actor, config.incarnation, sequence, self._version)
            for sequence in range(first, first + count)
        ]

    def _write_row_by_row(self, batch: dict[str, Any]) -> None:
        """Send a batch of one sample slowly, so that a kill probably hits a half-written slot."""
        with self._client.reserve() as slot:
            for name, leaf in batch["stamp"].items():
                slot["stamp"][name][...] = leaf[0]
            for name, leaf in batch["steps"].items():
                rows = slot["steps"][name]
                for i in range(STEPS):
                    rows[i] = leaf[0, i]
