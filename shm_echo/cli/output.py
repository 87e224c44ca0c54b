"""The standard streams of a command: always open, and never the cause of a traceback.

A command that cannot write its results to standard output ends with `UnwritableError`. Standard
error is for remarks, and those that cannot be written are dropped.

Streams that were closed are opened at /dev/null before another descriptor can get their numbers:
otherwise a socket could become descriptor 1, and receive the output of a library or of a child
process.
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
    """Standard output cannot be written.

    This is not an OSError, so that no handler for other I/O errors catches it by mistake.

    Attributes:
        reader_gone: True if standard output is a pipe whose reader has closed it.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.reader_gone = isinstance(error, BrokenPipeError)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` by guarded streams inside the block."""
    before = sys.stdout, sys.stderr
    _open_closed_descriptors()
    # A stream that was closed when Python started is None.
    sys.stdout = cast(TextIO, _GuardedStream(sys.stdout or _ClosedStream(), _raise_unwritable))
    sys.stderr = cast(TextIO, _GuardedStream(sys.stderr or _ClosedStream(), _ignore))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    """Open those of the first three descriptors that are closed, at /dev/null."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _redirect_to_null(number)


def _redirect_to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(null, number)
        os.close(null)


class _ClosedStream(io.StringIO):
    """Stands for a stream that was closed when Python started."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _GuardedStream:
    """A stream that is redirected to /dev/null at its first write error.

    Args:
        stream: the stream to write to.
        on_failure: called with the error.
    """

    def __init__(self, stream: TextIO, on_failure: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._on_failure = on_failure

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
        # At exit Python flushes the rest of the stream's buffer: to /dev/null, without a new error.
        with contextlib.suppress(OSError, ValueError):
            _redirect_to_null(self._stream.fileno())
        self._on_failure(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _raise_unwritable(error: OSError) -> None:
    raise UnwritableError(error) from None


def _ignore(error: OSError) -> None:
    pass
