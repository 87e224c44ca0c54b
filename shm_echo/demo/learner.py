"""The demo's learner: owns the ring, trains on the arriving samples, publishes the policy.

This is the complete loop of an application of shm-echo: sample a batch, use its views, publish new
parameters, restart dead actors, and at the end drain the ring.

`train` returns after every sample that was sent has been received or counted as lost. It leaves no
process and no shared memory behind, even after an exception.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo import Sample, Server, ShmTransport
from shm_echo.demo.actor_config import ActorConfig
from shm_echo.demo.chaos import Killer
from shm_echo.demo.delivery_audit import DeliveryAudit
from shm_echo.demo.fleet import Fleet
from shm_echo.demo.fragment import example, unpack
from shm_echo.demo.history import History
from shm_echo.demo.log_capture import LogCapture
from shm_echo.demo.ppo import PPO, Hyperparameters
from shm_echo.demo.run_records import Options, Outcome, Progress

__all__ = ["train"]

OBSERVATION, ACTIONS = 4, 2  # of CartPole-v1
BATCH_SIZE = 128
NUM_BUFFERS = 3
ENVIRONMENTS = 8
TICK = 0.1  # seconds between two checks of the actors while no batch arrives
DRAIN_TIMEOUT = 10.0  # seconds


def train(options: Options, show: Callable[[Progress], None]) -> Outcome:
    """Run the demo to its end, and call `show` several times a second."""
    hyperparameters = Hyperparameters()
    ppo = PPO(OBSERVATION, ACTIONS, np.random.default_rng(options.seed), hyperparameters)
    address = f"shm-echo-demo-{os.getpid()}"
    server = Server(
        example(),
        batch_size=BATCH_SIZE,
        num_buffers=NUM_BUFFERS,
        # A restarted actor may attach before the server has recovered the slots of its predecessor.
        transport=ShmTransport(address, max_producers=2 * options.actors + 16),
        publishes=ppo.policy.tree(),
    )
    with LogCapture() as log_capture, server:
        template = ActorConfig(
            address=address,
            environments=ENVIRONMENTS,
            layers=ppo.policy.sizes,
            seed=options.seed,
            slow_writes=options.kill_actors,
        )
        with Fleet(template, options.actors) as fleet:
            return _Learner(server, fleet, ppo, log_capture, show).run(options)


class _Learner:
    def __init__(
        self,
        server: Server,
        fleet: Fleet,
        ppo: PPO,
        log_capture: LogCapture,
        show: Callable[[Progress], None],
    ) -> None:
        self._server = server
        self._fleet = fleet
        self._ppo = ppo
        self._log_capture = log_capture
        self._show = show
        self._history = History()
        self._audit = DeliveryAudit()
        self._version = server.publish(ppo.policy.tree())
        self._lag = 0.0

    def run(self, options: Options) -> Outcome:
        with contextlib.ExitStack() as stack:
            if options.kill_actors:
                killer = Killer(self._fleet, mean_interval=options.kill_interval, seed=options.seed)
                stack.enter_context(killer)
            self._learn(options)
        self._drain()
        self._history.note_deaths(len(self._fleet.deaths))
        return Outcome(
            history=self._history,
            delivery=self._audit.report(self._fleet.sends),
            versions=self._version,
            deaths=self._fleet.deaths,
        )

    def _learn(self, options: Options) -> None:
        while self._history.elapsed < options.seconds and not self._done(options):
            with contextlib.suppress(TimeoutError):
                sample = self._server.sample(timeout=TICK)
                if sample is None:
                    break
                self._account(sample)
                self._ppo.update(sample.batch["steps"])
                self._version = self._server.publish(self._ppo.policy.tree())
            self._fleet.tick()
            self._history.note_deaths(len(self._fleet.deaths))
            self._history.tick()
            self._show(self._progress())

    def _done(self, options: Options) -> bool:
        if options.kill_actors and len(self._fleet.deaths) < options.kills:
            return False
        last = self._history.last_mean
        return last is not None and last >= options.target

    def _drain(self) -> None:
        """End the actors, and take all remaining samples out of the ring."""
        self._fleet.stop()
        while not self._fleet.ended:
            with contextlib.suppress(TimeoutError):
                self._account(self._server.sample(timeout=TICK))
            self._fleet.tick()
        while self._account(self._server.flush(timeout=DRAIN_TIMEOUT)):
            pass

    def _account(self, sample: Sample | None) -> dict[str, Any] | None:
        """Check every sample of a batch and record its returns; return None without a sample."""
        batch: dict[str, Any] | None = sample and sample.batch
        if sample is None or batch is None or not len(batch["stamp"]["actor"]):
            return None
        for stamp, whole in unpack(batch):
            self._audit.record(stamp, whole=whole)
        returns = batch["steps"]["episode_return"]
        self._history.add_batch(
            returns=returns[~np.isnan(returns)].tolist(),
            samples=len(returns),
            transitions=returns.size,
        )
        self._lag = self._version - float(batch["stamp"]["version"].mean())
        return batch

    def _progress(self) -> Progress:
        info = self._server.info()
        return Progress(
            history=self._history,
            producers=info.active_connections,
            ring_fill=info.store_size / (BATCH_SIZE * NUM_BUFFERS),
            version=self._version,
            lag=self._lag,
            deaths=len(self._fleet.deaths),
            last_log=self._log_capture.latest,
        )
