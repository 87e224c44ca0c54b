"""The process of a worker: claim a run of rows, make its items, write them, commit.

A worker ends when the ring is closed, when the trainer asks for it, and when the trainer's process
has ended.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from shm_echo.errors import ConnectionClosedError, SpecMismatchError
from shm_echo.loader.batch_maker import BatchMaker
from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable
from shm_echo.loader.current_worker import WorkerInfo, set_worker_info
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.messages import (
    Attach,
    Claimed,
    End,
    FirstItem,
    FirstSpec,
    InitFailed,
    Left,
    Parcel,
    Ready,
    Rehearse,
    Run,
    Sender,
    Singly,
    WorkerSetup,
)

__all__ = ["STATUS_ELSEWHERE", "STATUS_ENDED", "STATUS_ERROR", "STATUS_MISFIT", "run_worker"]

# The status of a run, beside 0: its item has raised, and the ItemFailure is in the socket by then.
STATUS_ERROR = 1
# The same, but it was that the item does not fit the rows, and a batch of its own could be made.
STATUS_MISFIT = 2
# The batch did not fit into its slot. It is in the socket by then.
STATUS_ELSEWHERE = 3
# The worker's shard has no further batch.
STATUS_ENDED = 4


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
        self._maker = BatchMaker(setup, number)
        self._run_rows = 0  # of the ring, if it is one of parcels
        self._ahead: tuple[Attach, int] | None = None  # a ring that is not open yet

    def run(self) -> int:
        setup, number = self._setup, self._number
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)  # each worker would start as many threads as there are cores
        seed = (setup.seed + number) % 2**64
        info = WorkerInfo(number, setup.num_workers, seed, setup.dataset)
        set_worker_info(info)
        try:
            setup.hooks.activate()
            self._maker.open()
            if setup.recipe.face.begin_worker is not None:
                setup.recipe.face.begin_worker(info)
            if setup.worker_init_fn is not None:
                setup.hooks.call_init_fn(setup.worker_init_fn, number)
        except BaseException as error:
            self._channel.send(InitFailed(self._failure(error, 0, 0, None)))
            return 1
        self._channel.send(Ready(self._maker.batched))
        sender = self._wait_for_ring()
        while sender is not None:
            sender = self._fill_runs(sender)
        return 0

    def _wait_for_ring(self) -> Sender | None:
        """Answer requests until the ring comes; return None if this worker shall end."""
        fds = [self._channel.fileno(), self._trainer]
        while self._ahead is None:
            if self._trainer in wait_readable(fds):
                return None
            if self._read_messages():
                return None
        return self._open_ring()

    def _read_messages(self) -> bool:
        """Handle the messages that have arrived; return True if this worker shall end.

        All of them: a note about a run may come together with the ring.
        """
        for message, descriptors in self._channel.receive_all():
            if isinstance(message, FirstItem):
                self._make_first(message)
            elif isinstance(message, Rehearse):
                self._maker.rehearse(message.first)
            elif isinstance(message, Singly):
                self._singly.add(message.row)
            elif isinstance(message, Attach):
                if self._ahead is not None:
                    os.close(self._ahead[1])
                self._ahead = message, descriptors[0]
            elif isinstance(message, End):
                return True
        return False

    def _open_ring(self) -> Sender | None:
        """Open the ring that came last; return None if none has come."""
        if self._ahead is None:
            return None
        (attach, fd), self._ahead = self._ahead, None
        self._singly.update(attach.singly)
        self._run_rows = attach.run_rows
        return attach.opener(fd, attach.owner, self._trainer, self._setup.hooks)

    def _make_first(self, request: FirstItem) -> None:
        reply: Any
        try:
            reply = FirstSpec(request.row, self._maker.make_first(request))
        except BaseException as error:
            reply = self._failure(error, request.row, request.epoch, self._maker.key)
        self._channel.send(reply)

    def _fill_runs(self, sender: Sender) -> Sender | None:
        """Fill runs until the ring is closed. Return the ring that replaces it; None for none."""
        claim_run = sender.claim_run
        fill = self._fill_parcel if self._run_rows else self._fill_rows
        try:
            run = claim_run(None)
            self._channel.send(Claimed())
            while True:
                fill(run)
                del run  # before the wait: it refers to the slot
                run = claim_run(None)
        except ConnectionClosedError:
            return self._next_ring()

    def _next_ring(self) -> Sender | None:
        """Return the ring that was sent before the last one was closed; None if there is none."""
        self._read_messages()
        sender = self._open_ring()
        if sender is None:
            self._channel.send(Left())
        return sender

    def _fill_rows(self, run: Run) -> None:
        source = self._maker.rows
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
            misfit = isinstance(error, SpecMismatchError) and source.returns_items
            status = STATUS_MISFIT if misfit else STATUS_ERROR
        run.commit(status)

    def _fill_parcel(self, run: Run) -> None:
        status = 0
        try:
            packed = self._maker.make_parcel(run, self._run_rows, self._is_singly)
            if packed is None:
                status = STATUS_ENDED
            else:
                memory = run.views[0].reshape(-1)
                if packed.nbytes <= memory.nbytes:
                    packed.write(memory)
                else:
                    self._channel.send(Parcel(run.first_row, packed.to_bytes()))
                    status = STATUS_ELSEWHERE
        except ChannelClosedError:
            raise
        except BaseException as error:
            self._channel.send(self._failure(error, run.first_row, run.epoch, self._maker.key))
            status = STATUS_ERROR
        run.commit(status)

    def _is_singly(self, row: int) -> bool:
        self._read_messages()
        return row in self._singly

    def _failure(self, error: BaseException, row: int, epoch: int, index: Any) -> ItemFailure:
        return ItemFailure.of(
            error,
            row=row,
            epoch=epoch,
            index=index,
            worker=self._number,
            pid=self._pid,
            place=self._maker.place,
        )
