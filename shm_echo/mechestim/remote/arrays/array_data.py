"""What is in an array of the client: fetched, listed, exported, pickled."""

from __future__ import annotations

import io
import pickle
from struct import unpack
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.connection.arena import LEAST
from shm_echo.mechestim.remote.dtypes import dtypes

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

call = client_session.call

# How the struct module calls a dtype.
_CODES = {"|b1": "?", "|i1": "b", "|u1": "B", "<f2": "e", "<f4": "f", "<f8": "d"}
_CODES.update({"<i2": "h", "<i4": "i", "<i8": "q", "<u2": "H", "<u4": "I", "<u8": "Q"})


class ArrayData:
    """The part of an array's face that moves its contents here; every one of them is a copy."""

    __slots__ = ()

    if TYPE_CHECKING:
        channel: Channel
        handle: int | None
        dtype: dtypes.dtype
        _shape: tuple[int, ...]
        shape: Any
        size: Any
        nbytes: Any
        copy: Any

    def tobytes(self, order: str = "C") -> bytes:
        """The contents as bytes."""
        if order == "C":
            return self._fetch().getvalue()
        return bytes(call("ndarray.tobytes", self, order))

    def tolist(self) -> Any:
        """The contents as nested lists of Python numbers."""
        dtype = self.dtype
        code = _CODES.get(dtype.str)
        if code is None or not self.size:
            return call("ndarray.tolist", self)
        found: Any = list(unpack(f"<{self.size}{code}", self._fetch().getbuffer()))
        for length in self._shape[:0:-1]:
            found = [found[i : i + length] for i in range(0, len(found), length)]
        return found if self._shape else found[0]

    def _fetch(self) -> io.BytesIO:
        """A copy of the contents, in C order."""
        if self.nbytes >= LEAST and self.handle is not None:
            arena = self.channel.arena
            if arena is not None:
                return arena.download(self.channel, self)
        _, _, content = client_session.word("session.fetch", self)
        return io.BytesIO(content)

    def item(self, *args: Any) -> Any:
        """One element as a Python number."""
        return call("ndarray.item", self, *args)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np  # only where the caller has it already

        if copy is False:
            raise ValueError("an array of a server cannot be had without a copy")
        found = np.frombuffer(self._fetch().getbuffer(), dtypes.numpy_spec(self.dtype))
        found = found.reshape(self.shape)
        return found if dtype is None else found.astype(dtype)

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def __buffer__(self, flags: int) -> memoryview:
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8 or self.dtype.str[0] == ">":
            raise BufferError(f"memoryview has no format for {self.dtype.name}; use tobytes()")
        content: Any = self._fetch().getbuffer()
        found: memoryview = content.cast(self.dtype.char, list(self.shape))
        return found

    def dumps(self) -> bytes:
        """A pickle of the array."""
        return pickle.dumps(self)

    def dump(self, file: Any) -> None:
        """Write a pickle of the array to a file of this process."""
        if hasattr(file, "write"):
            pickle.dump(self, file)
        else:
            with open(file, "wb") as stream:
                pickle.dump(self, stream)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (self.dtype.described, self.shape, self._fetch().getvalue())


def restored(described: Any, shape: tuple[int, ...], content: bytes) -> Any:
    """The array that was pickled."""
    from shm_echo.mechestim.remote.connection.value_codec import Typed

    return client_session.word("session.array", Typed(described, shape, content))
