"""Contents of an array on their way here: fetched, listed, exported, pickled."""

from __future__ import annotations

import io
from struct import unpack
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.connection.arena import MIN_BYTES
from shm_echo.mechestim.remote.dtypes import dtype_parsing, dtypes

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

call = client_session.call

# The formats of the struct module by the text of the dtype.
_FORMATS = {"|b1": "?", "|i1": "b", "|u1": "B", "<f2": "e", "<f4": "f", "<f8": "d"}
_FORMATS.update({"<i2": "h", "<i4": "i", "<i8": "q", "<u2": "H", "<u4": "I", "<u8": "Q"})


class ArrayData:
    """The methods of an array that fetch its contents; each of them makes a copy."""

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
        """Return the contents as bytes."""
        if order == "C":
            return self._fetch().getvalue()
        return bytes(call("ndarray.tobytes", self, order))

    def tolist(self) -> Any:
        """Return the contents as nested lists of Python numbers."""
        dtype = self.dtype
        format_ = _FORMATS.get(dtype.str)
        if format_ is None or not self.size:
            return call("ndarray.tolist", self)
        nested: Any = list(unpack(f"<{self.size}{format_}", self._fetch().getbuffer()))
        for length in self._shape[:0:-1]:
            nested = [nested[i : i + length] for i in range(0, len(nested), length)]
        return nested if self._shape else nested[0]

    def _fetch(self) -> io.BytesIO:
        """Return a copy of the contents, in C order."""
        if self.nbytes >= MIN_BYTES and self.handle is not None:
            arena = self.channel.arena
            if arena is not None:
                return arena.download(self.channel, self)
        _, _, content = client_session.session_call("session.fetch", self)
        return io.BytesIO(content)

    def item(self, *args: Any) -> Any:
        """Return one element as a Python number."""
        return call("ndarray.item", self, *args)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np  # the caller is NumPy, so it is imported already

        if copy is False:
            raise ValueError(
                "the contents of an array of a server cannot be exported without a copy"
            )
        flat = np.frombuffer(self._fetch().getbuffer(), dtype_parsing.spec_of(self.dtype))
        array = flat.reshape(self.shape)
        return array if dtype is None else array.astype(dtype)

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def __buffer__(self, flags: int) -> memoryview:
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8 or self.dtype.str[0] == ">":
            raise BufferError(f"memoryview has no format for {self.dtype.name}; use tobytes()")
        content: Any = self._fetch().getbuffer()
        view: memoryview = content.cast(self.dtype.char, list(self.shape))
        return view

    def dumps(self) -> bytes:
        """Return a pickle of the array."""
        import pickle  # here, because it takes long to import and few programs need it

        return pickle.dumps(self)

    def dump(self, file: Any) -> None:
        """Write a pickle of the array to a file of this process."""
        import pickle

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
        return unpickle_array, (self.dtype.description, self.shape, self._fetch().getvalue())


def unpickle_array(description: Any, shape: tuple[int, ...], content: bytes) -> Any:
    """Make an array with the contents of a pickle."""
    from shm_echo.mechestim.remote.connection.packed_array import PackedArray

    return client_session.session_call("session.array", PackedArray(description, shape, content))
