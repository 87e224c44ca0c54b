"""The trainer's side of the nursery: its start, its end, and the channel to it."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable
from shm_echo.loader.messages import End, WorkerSetup
from shm_echo.loader.nursery import nursery_main
from shm_echo.loader.transfer import Transfer, start_process

__all__ = ["NurseryProcess"]

# Seconds that the nursery needs beyond the grace of its workers, on a busy machine.
_EXTRA_GRACE = 10.0


class NurseryProcess:
    """A running nursery.

    Args:
        method: the start method.
        setup: what each worker gets.

    Raises:
        WorkerStartError: a part of the setup cannot be pickled, or no process can be made.
    """

    def __init__(self, method: str, setup: WorkerSetup) -> None:
        self.channel, theirs = Channel.pair()
        self._popen: Any = None
        # A fork has this end, too, and closes it: else it would never see that we close ours.
        inherited = self.channel.fileno() if method == "fork" else -1
        try:
            with theirs:
                self._send_trainer()
                self._popen = start_process(
                    method, nursery_main, theirs, Transfer(setup, method), inherited
                )
            self.pid = int(self._popen.pid)
            # Our child until it is waited for, or at least the child of a fork server that waits
            # for it only when it has ended: the number is still its own.
            self.pidfd = os.pidfd_open(self.pid)
        except BaseException:
            self.channel.close()
            if self._popen is not None:  # an interrupt came after the start
                self._popen.kill()
                self._popen.wait()
            raise

    def _send_trainer(self) -> None:
        """Leave the trainer's pidfd in the channel for the nursery.

        It waits there before the start: a trainer that dies just after the start leaves no orphan.
        """
        trainer = os.pidfd_open(os.getpid())
        try:
            self.channel.send("trainer", [trainer])
        finally:
            os.close(trainer)

    def exit_code(self) -> int:
        """Wait for the end of the nursery, and return its exit status, negative for a signal."""
        code = self._popen.wait()
        return -1 if code is None else int(code)

    def close(self, grace: float) -> None:
        """End the nursery and its workers, which get `grace` seconds for an end of their own."""
        if self.pidfd < 0:
            return
        with contextlib.suppress(ChannelClosedError):
            self.channel.send(End(grace))
        if not wait_readable([self.pidfd], grace + _EXTRA_GRACE):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.exit_code()
        self.channel.close()
        self._popen.close()  # the pipes that multiprocessing keeps to it
        os.close(self.pidfd)
        self.pidfd = -1
