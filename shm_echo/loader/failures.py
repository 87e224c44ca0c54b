"""An exception of a dataset on its way from a worker to the training loop."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from dataclasses import dataclass
from typing import Any

from shm_echo.errors import ItemError

__all__ = ["ItemFailure"]

# A traceback that is longer is cut in its middle: a failing item must not fill the socket.
_MOST_TEXT = 64 << 10


@dataclass(frozen=True)
class ItemFailure:
    """The report of a worker about an exception.

    Attributes:
        row: the first row of the run that is lost by it.
        epoch: the epoch of that run.
        index: the item, or the key of another kind; None if no item failed.
        worker, pid: the number of the worker, and its process.
        description: the class of the exception, and its text.
        traceback: its traceback, as text.
        pickled: the exception; None if it cannot be pickled and built again.
        place: what has failed, in words, if it was no item; None for `worker_init_fn`.
    """

    row: int
    epoch: int
    index: Any
    worker: int
    pid: int
    description: str
    traceback: str
    pickled: bytes | None
    place: str | None = None

    @classmethod
    def of(
        cls,
        error: BaseException,
        *,
        row: int = 0,
        epoch: int = 0,
        index: Any = None,
        worker: int,
        pid: int,
        place: str | None = None,
    ) -> ItemFailure:
        """Return the report of an exception that is being handled in a worker."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        description = "".join(traceback.format_exception_only(type(error), error)).strip()
        return cls(
            row, epoch, index, worker, pid, _cut(description), _cut(text), _pickled(error), place
        )

    def exception(self) -> Exception:
        """Return the exception to raise: of the class in the worker where that can be built.

        Its `__cause__` is an ItemError, which says item, worker and traceback.
        """
        cause = ItemError(
            self.index, self.worker, self.pid, self.description, self.traceback, self.place
        )
        if self.pickled is not None:
            # Any exception: the class is the dataset's, and so is its constructor.
            with contextlib.suppress(Exception):
                error = pickle.loads(self.pickled)
                if isinstance(error, Exception):
                    error.__cause__ = cause
                    return error
        return cause


def _cut(text: str) -> str:
    if len(text) <= _MOST_TEXT:
        return text
    half = _MOST_TEXT // 2
    return f"{text[:half]}\n... ({len(text) - _MOST_TEXT} characters) ...\n{text[-half:]}"


def _pickled(error: BaseException) -> bytes | None:
    # SystemExit and its like, and StopIteration, would end the training loop silently: they become
    # ItemErrors.
    if not isinstance(error, Exception) or isinstance(error, StopIteration):
        return None
    try:
        data = pickle.dumps(error)
        # A class with another constructor pickles, and only fails when it is built again.
        same = type(pickle.loads(data)) is type(error)
    except Exception:
        return None
    return data if same and len(data) <= _MOST_TEXT else None
