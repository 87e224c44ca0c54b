"""The handshake of echo's wire, version 1, without sockets.

The server speaks first, and what it says is all that either side says before samples: `ECHO`, a
version byte, the number of leaves, and for each leaf its item size, its number of axes and their
lengths, as little-endian uint32. The leaves come in optree's order, and so do their bytes in each
sample. The client answers nothing; it compares.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from shm_echo.errors import EchoWireError, SpecMismatchError

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec

__all__ = ["MAGIC", "VERSION", "HelloReader", "WireLeaf", "require_equal", "server_hello"]

MAGIC = b"ECHO"
VERSION = 1

_U32 = struct.Struct("<I")
_LARGEST = 2**32 - 1
# The most that examples of this package and arrays of NumPy have. A peer that says more would only
# take memory.
_MAX_LEAVES, _MAX_AXES = 65536, 64
# Leaves that a message lists on each side.
_LISTED = 16


class WireLeaf(NamedTuple):
    """The description of one leaf in the handshake.

    Attributes:
        itemsize: bytes of one element.
        shape: the shape in one sample.
    """

    itemsize: int
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.itemsize} bytes {self.shape}"


def wire_leaves(spec: TreeSpec) -> list[tuple[str, WireLeaf]]:
    """Return the path of each leaf and what the handshake says of it, in the order of the wire."""
    rows = [spec.leaves[row] for row in spec.optree_order]
    return [(leaf.path, WireLeaf(leaf.dtype.itemsize, leaf.shape)) for leaf in rows]


def server_hello(spec: TreeSpec) -> bytes:
    """Return what a server sends to each connection that it accepts.

    Raises:
        ValueError: a number does not fit into the 32 bits that the wire has for it.

    Example:
        >>> import numpy as np
        >>> from shm_echo.spec import TreeSpec
        >>> server_hello(TreeSpec.from_example({"x": np.zeros(3, np.float32)})).hex()
        '4543484f0101000000040000000100000003000000'
    """
    leaves = wire_leaves(spec)
    hello = bytearray(MAGIC)
    hello += struct.pack("<BI", VERSION, len(leaves))
    for path, leaf in leaves:
        if max(leaf.itemsize, *leaf.shape, 0) > _LARGEST:
            raise ValueError(
                f"{path or 'the example'}: {leaf} does not fit into echo's wire, whose item sizes "
                'and axes end at 2**32 - 1: use wire="shm"'
            )
        hello += struct.pack(f"<II{len(leaf.shape)}I", leaf.itemsize, len(leaf.shape), *leaf.shape)
    return bytes(hello)


class HelloReader:
    """Reads a server's hello, as its bytes come.

    Args:
        peer: the address of the server, for messages.

    Attributes:
        missing: the bytes to read next; 0 when the hello is complete.
        leaves: the leaves that have come.

    Example:
        >>> reader = HelloReader("host:1")
        >>> hello = bytes.fromhex("4543484f 01 01000000 04000000 01000000 03000000")
        >>> while reader.missing:
        ...     part, hello = hello[: reader.missing], hello[reader.missing :]
        ...     reader.feed(part)
        >>> reader.leaves
        [WireLeaf(itemsize=4, shape=(3,))]
    """

    def __init__(self, peer: str) -> None:
        self.leaves: list[WireLeaf] = []
        self.missing = len(MAGIC)
        self._peer = peer
        self._part = bytearray()
        self._step = self._take_magic
        self._count = self._itemsize = 0

    def feed(self, data: bytes) -> None:
        """Take at most `missing` bytes.

        Raises:
            EchoWireError: this is not the hello of an echo server, or of another version.
        """
        self._part += data
        self.missing -= len(data)
        if not self.missing:
            part = bytes(self._part)
            self._part.clear()
            self._step(part)

    def _expect(self, count: int, step: str) -> None:
        self.missing = count
        self._step = getattr(self, step)

    def _take_magic(self, part: bytes) -> None:
        if part != MAGIC:
            raise EchoWireError(
                f"Unexpected handshake magic {part!r} from {self._peer}; is the peer an echo "
                "server?"
            )
        self._expect(1, "_take_version")

    def _take_version(self, part: bytes) -> None:
        if part[0] != VERSION:
            raise EchoWireError(
                f"Unsupported echo wire version {part[0]} from {self._peer} (this client supports "
                f"{VERSION})"
            )
        self._expect(4, "_take_count")

    def _take_count(self, part: bytes) -> None:
        (self._count,) = _U32.unpack(part)
        if self._count > _MAX_LEAVES:
            raise self._absurd(f"{self._count:,} leaves")
        self._next_leaf()

    def _next_leaf(self) -> None:
        if len(self.leaves) < self._count:
            self._expect(8, "_take_leaf")

    def _take_leaf(self, part: bytes) -> None:
        self._itemsize, axes = struct.unpack("<II", part)
        if axes > _MAX_AXES:
            raise self._absurd(f"a leaf with {axes:,} axes")
        if axes:
            self._expect(4 * axes, "_take_shape")
        else:
            self._take_shape(b"")

    def _take_shape(self, part: bytes) -> None:
        shape = struct.unpack(f"<{len(part) // 4}I", part)
        self.leaves.append(WireLeaf(self._itemsize, shape))
        self._next_leaf()

    def _absurd(self, what: str) -> EchoWireError:
        return EchoWireError(f"{self._peer} describes {what}: it is no echo server")


def require_equal(spec: TreeSpec, theirs: list[WireLeaf]) -> None:
    """Compare the example of a client with what the server says of its own.

    Raises:
        SpecMismatchError: they differ; the message shows both, with the paths of the client's.
    """
    ours = wire_leaves(spec)
    if [leaf for _, leaf in ours] == theirs:
        return
    path, detail = "", f"{len(theirs)} leaves, and the client's example has {len(ours)}"
    for (place, mine), leaf in zip(ours, theirs, strict=False):
        if mine != leaf:
            path, detail = place, f"expected {leaf}, got {mine} (the server's, and the client's)"
            break
    raise SpecMismatchError.worded(
        path,
        f"Server spec mismatch: {path or 'the example'}: {detail}. Server: "
        f"{_listed(list(map(str, theirs)))}; client: "
        f"{_listed([f'{place}: {leaf}' if place else str(leaf) for place, leaf in ours])}",
    )


def _listed(leaves: list[str]) -> str:
    more = [f"... ({len(leaves)} in all)"] if len(leaves) > _LISTED else []
    return "[" + ", ".join(leaves[:_LISTED] + more) + "]"
