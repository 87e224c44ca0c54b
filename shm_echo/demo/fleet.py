"""Starts the actor processes, restarts those that are killed, and ends them all.

Each actor is a `subprocess` in a session of its own, so that Ctrl-C at a terminal reaches only the
learner, which then ends the actors.

An actor that a signal ended is restarted under the next incarnation number, and the `Sends` of its
former process are kept. An actor that fails by itself raises `ActorFailedError` with its output.
Leaving the context ends every process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO

from shm_echo.demo.actor_config import ActorConfig
from shm_echo.demo.ledger import Ledger, Sends
from shm_echo.error_base import describe_death
from shm_echo.errors import ShmEchoError

__all__ = ["ActorFailedError", "Death", "Fleet"]

# The child imports from where this process does, whether shm_echo is installed or not.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from shm_echo.demo.actor import main; main(sys.argv[1])"
)
# Matrices here are tiny: BLAS threads would only take the cores from the environments.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_END_TIMEOUT = 10.0  # seconds between SIGTERM and SIGKILL


class ActorFailedError(ShmEchoError, RuntimeError):
    """An actor process ended by itself while the learner was running."""

    def __init__(self, actor: int, status: int, printed: str) -> None:
        detail = f":\n{printed}" if printed else ""
        super().__init__(f"actor {actor} ended with exit status {status}{detail}")


@dataclass(frozen=True)
class Death:
    """An actor process that a signal ended."""

    actor: int
    pid: int
    signal: int
    sends: Sends

    def __str__(self) -> str:
        return describe_death(self.pid, self.signal)


@dataclass
class _Running:
    config: ActorConfig
    process: subprocess.Popen[bytes]
    printed: IO[bytes]


class Fleet:
    """The actors of one learner. `kill_one` may be called from any thread, the rest from one."""

    def __init__(self, template: ActorConfig, actors: int) -> None:
        """Create `actors` actors, each with its number and ledger row in a copy of the template."""
        self._ledger = Ledger(actors)
        self._first = [
            replace(template, actor=actor, ledger_fd=self._ledger.fd) for actor in range(actors)
        ]
        self._sends: dict[tuple[int, int], Sends] = {}
        self._lock = threading.Lock()  # guards _running against kill_one
        self._running: dict[int, _Running] = {}
        self._stopping = False
        self._kill_at = math.inf
        self.deaths: list[Death] = []

    def __enter__(self) -> Fleet:
        try:
            for config in self._first:
                self._start(config)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def tick(self) -> None:
        """Collect the actors that have ended, and restart them unless the fleet is stopping."""
        if time.monotonic() > self._kill_at:
            self._kill_all()
        for actor, running in list(self._running.items()):
            status = running.process.poll()
            if status is None:
                continue
            sends = self._forget(actor)
            with running.printed:
                if self._stopping and status in (0, -signal.SIGTERM):
                    continue  # by stop(), or by SIGTERM before its handler was installed
                if status >= 0:
                    raise ActorFailedError(actor, status, _tail(running.printed))
                self.deaths.append(Death(actor, running.process.pid, -status, sends))
            if not self._stopping:
                self._start(replace(running.config, incarnation=running.config.incarnation + 1))

    def kill_one(self, rng: random.Random) -> int | None:
        """SIGKILL a random actor that has begun to send, and return its pid; None without one."""
        with self._lock:
            candidates = [
                running.process
                for actor, running in self._running.items()
                if self._ledger.read(actor).begun and running.process.returncode is None
            ]
            if not candidates:
                return None
            process = rng.choice(candidates)
            process.kill()
            return process.pid

    def stop(self) -> None:
        """Ask every actor to finish its current send, close its client and end.

        The learner must take batches until they have ended; `tick` kills those that take too long.
        """
        self._stopping = True
        self._kill_at = time.monotonic() + _END_TIMEOUT
        for running in self._running.values():
            running.process.send_signal(signal.SIGTERM)

    @property
    def ended(self) -> bool:
        """Return True if no actor is left."""
        return not self._running

    @property
    def sends(self) -> dict[tuple[int, int], Sends]:
        """Return the sends of each (actor, incarnation) that has ended."""
        return dict(self._sends)

    def close(self) -> None:
        """End every actor at once and release everything."""
        self._stopping = True
        self._kill_all()
        for actor, running in list(self._running.items()):
            running.process.wait()
            self._forget(actor)
            running.printed.close()
        self._ledger.close()

    def _start(self, config: ActorConfig) -> None:
        self._ledger.clear(config.actor)
        with contextlib.ExitStack() as on_failure:
            printed = on_failure.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, config.to_json(), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=os.environ | _ONE_THREAD,
                pass_fds=[config.ledger_fd],
                start_new_session=True,
            )
            on_failure.pop_all()
        with self._lock:
            self._running[config.actor] = _Running(config, process, printed)

    def _kill_all(self) -> None:
        for running in self._running.values():
            running.process.kill()

    def _forget(self, actor: int) -> Sends:
        """Remove an ended process, and keep its sends."""
        with self._lock:
            running = self._running.pop(actor)
        sends = self._ledger.read(actor)
        self._sends[actor, running.config.incarnation] = sends
        return sends


def _tail(printed: IO[bytes], limit: int = 4000) -> str:
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, size - limit))
    return printed.read().decode(errors="replace").strip()
