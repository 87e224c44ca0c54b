"""The standard streams of a command: always there, and never the cause of a traceback.

Standard output is what a command is for: what cannot be written there ends it, with
:class:`UnwritableError`. Standard error is for remarks: what cannot be written there is dropped.

Streams that were closed are opened at /dev/null before anything else can get their numbers: a
socket that was descriptor 1 would be sent whatever a library, or a child process, prints.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

__all__ = ["UnwritableError", "guarded"]


class UnwritableError(Exception):
    """Standard output cannot be written. Not an OSError: nobody else is to take it for his own.

    Attributes:
        reader_gone: it is a pipe that nobody reads any more.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.reader_gone = isinstance(error, BrokenPipeError)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Inside, ``sys.stdout`` and ``sys.stderr`` are as the module says."""
    before = sys.stdout, sys.stderr
    _fill()
    # None where they were closed when Python started.
    sys.stdout = cast(TextIO, _Guarded(sys.stdout or _Closed(), _end))
    sys.stderr = cast(TextIO, _Guarded(sys.stderr or _Closed(), _drop))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _fill() -> None:
    """Open at /dev/null which of the first three descriptors are closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _to_null(number)


def _to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(null, number)
        os.close(null)


class _Closed(io.StringIO):
    """A stream without a file."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _Guarded:
    """A stream that goes to /dev/null once it cannot be written.

    Args:
        stream: it.
        failed: what to do about it then.
    """

    def __init__(self, stream: TextIO, failed: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._failed = failed

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # What is left in its buffer goes there at the end of Python, and not to one more error.
        with contextlib.suppress(OSError, ValueError):
            _to_null(self._stream.fileno())
        self._failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _end(error: OSError) -> None:
    raise UnwritableError(error) from None


def _drop(error: OSError) -> None:
    pass
