"""The process of a worker: claim a run of rows, make its items, write them, commit.

A worker ends when the ring is closed, when the trainer asks for it, and when the trainer's process
has ended.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from shm_echo.errors import ConnectionClosedError
from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable
from shm_echo.loader.current_worker import WorkerInfo, set_worker_info
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.item_sources import ItemSource
from shm_echo.loader.messages import (
    Attach,
    Claimed,
    End,
    FirstItem,
    FirstSpec,
    InitFailed,
    Left,
    Ready,
    Run,
    Sender,
    Singly,
    WorkerSetup,
)

__all__ = ["STATUS_ERROR", "run_worker"]

# The status of a run whose item has raised. Its ItemFailure is in the socket by then.
STATUS_ERROR = 1


def run_worker(setup: WorkerSetup, number: int, sock: socket.socket, trainer: int) -> int:
    """Run a worker to its end, and return its exit status.

    Args:
        setup: the dataset, and what belongs to it.
        number: the number of the worker, from 0 on.
        sock: its end of the channel to the trainer.
        trainer: pidfd of the trainer's process.
    """
    channel = Channel(sock)
    try:
        return _Worker(setup, number, channel, trainer).run()
    except ChannelClosedError:
        return 0  # the trainer has given this worker up, or has ended
    finally:
        channel.close()


class _Worker:
    def __init__(self, setup: WorkerSetup, number: int, channel: Channel, trainer: int) -> None:
        self._setup = setup
        self._number = number
        self._channel = channel
        self._trainer = trainer
        self._pid = os.getpid()
        self._singly: set[int] = set()

    def run(self) -> int:
        setup, number = self._setup, self._number
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)  # each worker would start as many threads as there are cores
        seed = (setup.seed + number) % 2**64
        set_worker_info(WorkerInfo(number, setup.num_workers, seed, setup.dataset))
        try:
            self._source = ItemSource(setup.dataset, setup.hooks)
            setup.hooks.activate()
            if setup.worker_init_fn is not None:
                setup.hooks.call_init_fn(setup.worker_init_fn, number)
        except BaseException as error:
            self._channel.send(InitFailed(self._failure(error, 0, 0, None)))
            return 1
        self._channel.send(Ready(self._source.batched))
        sender = self._wait_for_ring()
        if sender is not None:
            self._fill_runs(sender)
        return 0

    def _wait_for_ring(self) -> Sender | None:
        """Answer requests until the ring comes; return None if this worker shall end."""
        fds = [self._channel.fileno(), self._trainer]
        sender: Sender | None = None
        while sender is None:
            if self._trainer in wait_readable(fds):
                return None
            for message, descriptors in self._channel.receive_all():
                if isinstance(message, FirstItem):
                    self._make_first(message)
                elif isinstance(message, Singly):
                    self._singly.add(message.row)
                elif isinstance(message, Attach):
                    self._singly.update(message.singly)
                    hooks = self._setup.hooks
                    sender = message.opener(descriptors[0], message.owner, self._trainer, hooks)
                elif isinstance(message, End):
                    return None
        return sender  # after all messages that came with it: a note about a run may be among them

    def _make_first(self, request: FirstItem) -> None:
        reply: Any
        try:
            item = self._source.make_first(request.row, request.epoch, request.index)
            reply = FirstSpec(request.row, self._setup.hooks.spec_of(item, request.index))
        except BaseException as error:
            reply = self._failure(error, request.row, request.epoch, request.index)
        self._channel.send(reply)

    def _fill_runs(self, sender: Sender) -> None:
        claim_run = sender.claim_run
        try:
            run = claim_run(None)
            self._channel.send(Claimed())
            while True:
                self._fill(run)
                del run  # before the wait: it refers to the slot
                run = claim_run(None)
        except ConnectionClosedError:
            self._channel.send(Left())

    def _fill(self, run: Run) -> None:
        source = self._source
        status = 0
        try:
            # The trainer's note about a run comes before the run can be claimed again. Datasets
            # that make items one by one get none, and do not pay for the look.
            singly = source.batched and self._is_singly(run.first_row)
            source.fill(run, singly=singly)
        except ChannelClosedError:
            raise
        except BaseException as error:
            # In this order: the trainer reads the failure once it sees the status.
            self._channel.send(self._failure(error, run.first_row, run.epoch, source.index))
            status = STATUS_ERROR
        run.commit(status)

    def _is_singly(self, row: int) -> bool:
        for message, _ in self._channel.receive_all():
            if isinstance(message, Singly):
                self._singly.add(message.row)
        return row in self._singly

    def _failure(
        self, error: BaseException, row: int, epoch: int, index: int | None
    ) -> ItemFailure:
        return ItemFailure.of(
            error, row=row, epoch=epoch, index=index, worker=self._number, pid=self._pid
        )
