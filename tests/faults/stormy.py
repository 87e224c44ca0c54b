"""Child processes that work through a storm of interrupts, as a user who is holding Ctrl-C down.

An exception may be raised between any two steps of Python code, so a call that is interrupted may
have done its work or not; but nothing that it leaves behind may stop the next call.
"""

from __future__ import annotations

import itertools
import signal
from typing import Any

from shm_echo import Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.samples import Audit, Maker, example

__all__ = ["client", "learner"]

MAKER = Maker(1)


def client(pipe: Any, address: str, how: str) -> None:
    """Send until told to stop; tell which samples were sent for certain.

    A sample whose call was interrupted may have been sent; its number is not used again.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    certain: list[int] = []
    first = 0
    with attach(address) as attached:
        pipe.send("at work")
        while True:
            try:
                _send(pipe, attached, how, first, certain)
                break
            except KeyboardInterrupt:
                first = max(certain, default=first) + 100
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        last = max(certain, default=first) + 1000
        attached.send(MAKER.sample(last))
        certain.append(last)
    pipe.send(certain)


def _send(pipe: Any, attached: ShmClient, how: str, first: int, certain: list[int]) -> None:
    for n in itertools.count(first):
        if how == "reserve":
            with attached.reserve() as slot:
                MAKER.write(slot, n)
        else:
            attached.send(MAKER.sample(n))
        certain.append(n)
        if n % 8 == 0 and pipe.poll():
            return


def learner(pipe: Any, address: str) -> None:
    """Take batches until told to stop, then tell of one more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    audit = Audit()
    with Server(example(), 2, ShmTransport(address), num_buffers=2) as server:
        pipe.send("at work")
        while True:
            try:
                while not pipe.poll():
                    sample = server.sample(timeout=0.002)
                    assert sample is not None
                    audit.take(sample.batch)
                break
            except (KeyboardInterrupt, TimeoutError):
                continue
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pipe.recv()
        sample = server.sample()
        pipe.send(sample is not None)
        pipe.send(audit.received)
