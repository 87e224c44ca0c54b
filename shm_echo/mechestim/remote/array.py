"""Arrays that live on the server: handles with every operator and method of the local ones.

A :class:`RemoteArray` knows its shape and dtype; everything else is asked for. A
:class:`RemoteScalar` is a 0-d result: it carries its value and takes no place on the server. When
the last reference to a handle goes, its number is noted, and the next request tells the server.
"""

from __future__ import annotations

import io
import math
from struct import unpack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import ref

from shm_echo.mechestim.remote import dtypes, operators, session
from shm_echo.mechestim.remote.arena import LEAST
from shm_echo.mechestim.remote.channel import ARRAYS

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.channel import Channel

call = session.call


# How the struct module calls a dtype.
_CODES = {"|b1": "?", "|i1": "b", "|u1": "B", "<f2": "e", "<f4": "f", "<f8": "d"}
_CODES.update({"<i2": "h", "<i4": "i", "<i8": "q", "<u2": "H", "<u4": "I", "<u8": "Q"})


class RemoteArray:
    """An array of the server; what users see as ``mechestim.ndarray`` in client mode."""

    __slots__ = ("__weakref__", "_shape", "channel", "dtype", "ext", "handle")
    __array_priority__ = 10.0
    __hash__ = None  # type: ignore[assignment]

    channel: Channel
    handle: int | None
    dtype: dtypes.dtype
    ext: Any  # what stands for it in a message, once it was sent
    _shape: tuple[int, ...]

    def __del__(self) -> None:
        try:
            if self.handle is not None:
                self.channel.free(self.handle, math.prod(self._shape) * self.dtype.itemsize)
        except (AttributeError, TypeError):  # never completed, or the interpreter is going down
            return

    # What is known here

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        return self._shape

    @shape.setter
    def shape(self, value: Any) -> None:
        call("ndarray.shape.set", self, value)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * int(self.dtype.itemsize)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    # What is asked for

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, by dimension."""
        return tuple(call("ndarray.strides.get", self))

    @property
    def T(self) -> Any:
        """A view with the axes reversed."""
        return call("ndarray.T.get", self)

    @property
    def mT(self) -> Any:
        """A view with the last two axes swapped."""
        return call("ndarray.mT.get", self)

    @property
    def real(self) -> Any:
        """The real part."""
        return call("ndarray.real.get", self)

    @real.setter
    def real(self, value: Any) -> None:
        call("ndarray.real.set", self, value)

    @property
    def imag(self) -> Any:
        """The imaginary part."""
        return call("ndarray.imag.get", self)

    @imag.setter
    def imag(self, value: Any) -> None:
        call("ndarray.imag.set", self, value)

    @property
    def flat(self) -> Flat:
        """A 1-D face of the array, in C order."""
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        call("ndarray.flat.set", self, slice(None), value)

    @property
    def flags(self) -> Any:
        """How the array lies in memory, over there."""
        return SimpleNamespace(**call("ndarray.flags.get", self))

    def __bool__(self) -> bool:
        return bool(call("ndarray.__bool__", self))

    def __int__(self) -> int:
        return int(call("ndarray.__int__", self))

    def __float__(self) -> float:
        return float(call("ndarray.__float__", self))

    def __complex__(self) -> complex:
        return complex(call("ndarray.__complex__", self))

    def __index__(self) -> int:
        return int(call("ndarray.__index__", self))

    def __repr__(self) -> str:
        return str(call("ndarray.__repr__", self))

    def __str__(self) -> str:
        return str(call("ndarray.__str__", self))

    def __format__(self, spec: str) -> str:
        return str(call("ndarray.__format__", self, spec))

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (call("ndarray.__getitem__", self, i) for i in range(self.shape[0]))

    def __setitem__(self, key: Any, value: Any) -> None:
        call("ndarray.__setitem__", self, key, value)

    # Contents

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
        _, _, content = session.word("session.fetch", self)
        return io.BytesIO(content)

    def item(self, *args: Any) -> Any:
        """One element as a Python number."""
        return call("ndarray.item", self, *args)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np  # only where the caller has it already

        if copy is False:
            raise ValueError("an array of a server cannot be had without a copy")
        found = np.frombuffer(self._fetch().getbuffer(), _numpy_dtype(self.dtype.described))
        found = found.reshape(self.shape)
        return found if dtype is None else found.astype(dtype)

    def __buffer__(self, flags: int) -> memoryview:
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8 or self.dtype.str[0] == ">":
            raise BufferError(f"memoryview has no format for {self.dtype.name}; use tobytes()")
        content: Any = self._fetch().getbuffer()
        found: memoryview = content.cast(self.dtype.char, list(self.shape))
        return found

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (self.dtype.described, self.shape, self._fetch().getvalue())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Flat:
    """``x.flat``: a 1-D face of an array; writing to it writes to the array."""

    __slots__ = ("base",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: RemoteArray) -> None:
        self.base = array

    def copy(self) -> Any:
        """A 1-D copy."""
        return call("ndarray.flatten", self.base)

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Any:
        return iter(self.copy())

    def __getitem__(self, key: Any) -> Any:
        return call("ndarray.flat.get", self.base, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        call("ndarray.flat.set", self.base, key, value)

    def __eq__(self, other: object) -> Any:
        return self.copy() == other

    def __ne__(self, other: object) -> Any:
        return self.copy() != other


class RemoteScalar(RemoteArray):
    """A 0-d result: a number with a dtype, immutable and hashable."""

    __slots__ = ("_value",)

    _value: Any

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise TypeError(f"'{self.dtype.name}' object cannot be interpreted as an integer")
        return int(self.item())

    def __round__(self, ndigits: Any = None) -> Any:
        return call("ndarray.__round__", self, ndigits)

    def item(self, *args: Any) -> Any:
        """The number."""
        return self._value if self.handle is None else super().item(*args)

    def tolist(self) -> Any:
        """The number."""
        return self.item()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(f"{self.dtype.name!r} scalar does not support item assignment")

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled_scalar, (self.dtype.described, self.item())

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(self.item(), name)


def made(
    channel: Channel,
    handle: int,
    dtype: dtypes.dtype,
    shape: tuple[int, ...],
    axes: Any,
    is_scalar: bool,
) -> RemoteArray:
    """The array with this number: the object that stands for it already, or a new one."""
    found: Any = channel.object(handle)
    if found is None:
        if axes is not None:
            from shm_echo.mechestim.remote.symmetric import SymmetricTensor

            found = SymmetricTensor.__new__(SymmetricTensor)
            found.symmetric_axes = [tuple(group) for group in axes]
        else:
            cls = RemoteScalar if is_scalar else RemoteArray
            found = cls.__new__(cls)
        found.channel = channel
        found.handle = handle
        found.ext = None
        channel.live[handle] = ref(found)
    found.dtype = dtype
    found._shape = shape
    result: RemoteArray = found
    return result


def scalar(channel: Channel | None, dtype: dtypes.dtype, value: Any) -> RemoteScalar:
    """A 0-d result that carries its value."""
    found = RemoteScalar.__new__(RemoteScalar)
    found.channel = channel  # type: ignore[assignment]
    found.handle = found.ext = None
    found.dtype = dtype
    found._shape = ()
    found._value = value
    return found


def truth(value: bool) -> RemoteScalar:
    """``mechestim.True_`` or ``False_``: of no session, as no session is needed to name them."""
    return scalar(None, dtypes.dtype("bool"), value)


def _numpy_dtype(described: Any) -> Any:
    if isinstance(described, str):
        return described
    return [tuple(_numpy_dtype(part) for part in field) for field in described]


def restored(described: Any, shape: tuple[int, ...], content: bytes) -> Any:
    """The array that was pickled."""
    from shm_echo.mechestim.remote.values import Typed

    return session.word("session.array", Typed(described, shape, content))


def _unpickled_scalar(described: Any, value: Any) -> Any:
    return scalar(session.channel(), dtypes.dtype(described), value)


operators.install(RemoteArray, RemoteScalar)
ARRAYS.update((RemoteArray, RemoteScalar))
