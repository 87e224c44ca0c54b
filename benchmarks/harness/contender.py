"""The interface of a contender, which brings samples of producer processes to one consumer.

A contender makes a consumer in this process and a sender in each producer process; the same loops
drive all of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

from harness.loads import Load

__all__ = ["Consumer", "Contender", "Send", "missing"]

Send = Callable[[], int]  # sends the same thing again; returns how many samples it was
PATIENCE = 30.0  # seconds without a batch after which a contender is taken for broken


class Consumer(Protocol):
    """The receiving end, in the benchmark's own process."""

    @property
    def address(self) -> Any:
        """Return the data that a producer process needs to connect."""

    def batch(self) -> Any:
        """Return the next batch: a tree like a sample, with a leading axis on each leaf."""

    def interrupt(self) -> None:
        """End a wait in `batch` that no signal ends. Called in another thread."""

    def close(self) -> None:
        """End it. Producers may be blocked in a send."""


class Contender(Protocol):
    """One way to move samples. Contenders are sent to producer processes: keep them picklable."""

    @property
    def name(self) -> str:
        """Return the name for the tables."""

    @property
    def package(self) -> str | None:
        """The module that must be importable, if it is one that may be missing."""

    def consume(self, load: Load, /) -> Consumer:
        """Open the receiving end."""

    def sender(
        self, address: Any, load: Load, sample: Any, /
    ) -> contextlib.AbstractContextManager[Send]:
        """Connect, in a producer process. `sample` is looked at anew with every send."""


def missing(contender: Contender) -> str | None:
    """Return the reason why this contender cannot run here, or None."""
    package = contender.package
    if package is not None and importlib.util.find_spec(package) is None:
        return f"{contender.name}: not installed (pip install 'shm-echo[bench]')"
    return None
