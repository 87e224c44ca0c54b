"""The handshake of echo's wire, version 1, without sockets.

The server speaks first, and it is all that either side says before samples: `ECHO`, a version byte,
the number of leaves, and for each leaf its item size, its number of axes and their lengths, as
little-endian uint32, in the order of the leaf table.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec

__all__ = ["MAGIC", "VERSION", "server_hello"]

MAGIC = b"ECHO"
VERSION = 1


def server_hello(spec: TreeSpec) -> bytes:
    """Return what a server sends to each connection that it accepts."""
    hello = bytearray(MAGIC)
    hello += struct.pack("<BI", VERSION, len(spec.leaves))
    for leaf in spec.leaves:
        ndim = len(leaf.shape)
        hello += struct.pack(f"<II{ndim}I", leaf.dtype.itemsize, ndim, *leaf.shape)
    return bytes(hello)
