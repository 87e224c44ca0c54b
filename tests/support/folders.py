"""Folders for sockets, whose paths may have 107 bytes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["socket_folder"]

_LONGEST = 60  # bytes of the folder that temporary ones are made in


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """Yield a folder with a short path: in `/tmp` if the path of `TMPDIR` is long."""
    usual = tempfile.gettempdir()
    where = usual if len(usual.encode()) <= _LONGEST else "/tmp"
    with tempfile.TemporaryDirectory(prefix="me-", dir=where) as path:
        yield Path(path)
