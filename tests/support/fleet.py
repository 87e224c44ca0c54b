"""Producer processes that stream audited samples until the stop, or until they are killed.

A file that outlives the process counts its samples, so that an audit knows the exact number that
must have arrived. Only the last call of a killed producer is not counted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shm_echo import ShmClient
from tests.support.processes import Child, start
from tests.support.samples import Maker, example
from tests.support.shared_counters import SharedCounters
from tests.support.waiting import WATCHDOG, wait_until

__all__ = ["HOWS", "Fleet", "kept_open"]

ROWS = 8  # samples per send_batch
PER_LOOK = 16  # calls between two checks of the stop event
MOST_PRODUCERS, MOST_INCARNATIONS = 8, 8192


def _send(client: ShmClient, maker: Maker, first: int) -> int:
    client.send(maker.sample(first))
    return 1


def _send_batch(client: ShmClient, maker: Maker, first: int) -> int:
    return client.send_batch(maker.batch(first, ROWS))


def _reserve(client: ShmClient, maker: Maker, first: int) -> int:
    with client.reserve() as slot:
        time.sleep(0.0002)  # an environment's step: most kills find the claim held
        maker.write(slot, first)
    return 1


# The kinds of send, and the most samples that one call sends.
HOWS: dict[str, tuple[Callable[[ShmClient, Maker, int], int], int]] = {
    "send": (_send, 1),
    "send_batch": (_send_batch, ROWS),
    "reserve": (_reserve, 1),
}


def _index(producer: int, incarnation: int) -> int:
    return producer * MOST_INCARNATIONS + incarnation


def _end_with(failure: threading.ExceptHookArgs) -> None:
    sys.excepthook(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(1)


def stream(
    pipe: Any, address: str, words: int, counters: tuple[Path, int], who: list[Maker], how: str
) -> None:
    """Attach and stream, one thread for each maker, until a message on the pipe."""
    counts, (call, _) = SharedCounters(*counters), HOWS[how]
    stop = threading.Event()
    threading.excepthook = _end_with

    def produce(client: ShmClient, maker: Maker) -> None:
        sent, index = 0, _index(maker.producer, maker.incarnation)
        while not stop.is_set():
            for _ in range(PER_LOOK):
                sent += call(client, maker, sent)
                counts[index] = sent

    with ShmClient(address, example(words), connect_timeout=WATCHDOG) as client:
        threads = [threading.Thread(target=produce, args=(client, maker)) for maker in who]
        for thread in threads:
            thread.start()
        pipe.send("streaming")
        pipe.recv()
        stop.set()
        for thread in threads:
            thread.join()


class Fleet:
    """Up to eight producers, played by one process after the other.

    Args:
        address: the address of their server.
        folder: the folder of the file of counters.
        size: the number of processes at a time.
        how: the kind of send, a key of HOWS.
        words: length of a payload.
        threads: producers that share one process and one client.
        method: the start method of the processes.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        size: int = 3,
        how: str = "send",
        words: int = 16,
        threads: int = 1,
        method: str = "fork",
    ) -> None:
        self._address = address
        self._path = (folder / "counters", MOST_PRODUCERS * MOST_INCARNATIONS)
        self._counters = SharedCounters(*self._path)
        self._how, self._words, self._threads, self._method = how, words, threads, method
        self._incarnations = [0] * size
        self._killed: set[tuple[int, int]] = set()
        self._streaming: set[int] = set()
        self.children: dict[int, Child] = {}
        self.deaths: list[int] = []
        for number in range(size):
            self.start(number)

    def start(self, number: int) -> None:
        """Start another process in the place of one that was killed."""
        incarnation = self._incarnations[number]
        who = [Maker(n, incarnation, self._words) for n in self._producers(number)]
        args = (self._address, self._words, self._path, who, self._how)
        self._incarnations[number] += 1
        self.children[number] = start(stream, *args, method=self._method)

    def streaming(self, number: int) -> Child:
        """Return the process, once it has attached and sent a sample."""
        child = self.children[number]
        if child.pid not in self._streaming:
            child.expect("streaming")
            who = self._producers(number)[0], self._incarnations[number] - 1
            wait_until(lambda: self._counters[_index(*who)] > 0 or child.ended(), "it sends")
            self._streaming.add(child.pid)
        return child

    def kill(self, number: int) -> None:
        """Kill a process, and wait for its end."""
        child = self.children.pop(number)
        incarnation = self._incarnations[number] - 1
        self._killed.update((n, incarnation) for n in self._producers(number))
        self._streaming.discard(child.pid)
        self.deaths.append(child.pid)
        assert child.end() == -signal.SIGKILL

    def stop(self) -> None:
        """Let all finish their calls and close."""
        for child in self.children.values():
            child.say("stop")
        for child in self.children.values():
            assert child.wait() == 0
            child.end()
        self.children.clear()

    def sent(self) -> dict[tuple[int, int], int | range]:
        """Return the samples that each (producer, incarnation) has sent, for `Audit.check`."""
        most = HOWS[self._how][1]
        found: dict[tuple[int, int], int | range] = {}
        for number, incarnations in enumerate(self._incarnations):
            for who in ((n, i) for n in self._producers(number) for i in range(incarnations)):
                count = self._counters[_index(*who)]
                found[who] = range(count, count + most + 1) if who in self._killed else count
        return found

    def _producers(self, number: int) -> range:
        return range(number * self._threads, (number + 1) * self._threads)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.end()


@contextlib.contextmanager
def kept_open(address: str, words: int = 16) -> Iterator[None]:
    """Keep a silent producer attached, so that the stream continues without another one."""
    with ShmClient(address, example(words)):
        yield
