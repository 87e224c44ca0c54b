"""Arrays that live on the server: handles with every operator and method of the local ones.

A `RemoteArray` knows its shape and dtype; everything else is a request. A `RemoteScalar` is a 0-d
result: it carries its value and needs no memory on the server. When the last reference to an array
goes, its handle is noted, and the next request lets the server free it.
"""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays import operators, protocols
from shm_echo.mechestim.remote.arrays.array_data import ArrayData
from shm_echo.mechestim.remote.arrays.flat import Flat
from shm_echo.mechestim.remote.dtypes import dtypes

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

call = client_session.call

# NumPy's text, which local mode has, too.
_REFERENCED = (
    "cannot resize an array that references or is referenced\n"
    "by another array in this way.\n"
    "Use the np.resize function or refcheck=False"
)

# Attributes of Python's numbers that a scalar has, each with the dtypes (characters) that have it.
_INTEGERS, _FLOATS = "bhilBHIL", "efdg"
_NUMBER_ATTRIBUTES = {
    "is_integer": _INTEGERS + _FLOATS,
    "as_integer_ratio": _FLOATS,
    "bit_count": _INTEGERS,
    "numerator": _INTEGERS,
    "denominator": _INTEGERS,
    "hex": "d",
    "fromhex": "d",
}


class _Probe:
    """Counts the references to an object with one name, from inside its method."""

    def references(self) -> int:
        return sys.getrefcount(self)


# Measured, because versions of Python differ in the references that a call itself holds.
_probe = _Probe()
_REFERENCES_IN_METHOD = _probe.references()


class RemoteArray(ArrayData):
    """An array of the server: `mechestim.ndarray` in client mode."""

    __slots__ = ("__weakref__", "_shape", "channel", "dtype", "ext", "handle")
    __array_priority__ = 0.0  # as NumPy's arrays, which give precedence to __array_ufunc__
    __hash__ = None  # type: ignore[assignment]
    symmetry_info: Any = None  # overridden by SymmetricTensor

    channel: Channel
    handle: int | None
    dtype: dtypes.dtype
    ext: Any  # its form in a message, once it was sent; else None
    _shape: tuple[int, ...]

    def __del__(self) -> None:
        try:
            if self.handle is not None:
                self.channel.free(self.handle, math.prod(self._shape) * self.dtype.itemsize)
        # An exception interrupted the making of the array, or the interpreter is shutting down.
        except (AttributeError, TypeError):
            return

    # Facts that the handle carries

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions."""
        return self._shape

    @shape.setter
    def shape(self, value: Any) -> None:
        call("ndarray.shape.set", self, value)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * int(self.dtype.itemsize)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    # Requests

    @property
    def strides(self) -> tuple[int, ...]:
        """The bytes from one element to the next, by dimension."""
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
        """An iterator over the elements in C order, which can be indexed."""
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        call("ndarray.flat.set", self, slice(None), value)

    @property
    def base(self) -> Any:
        """The array whose memory this one is a view of; None if it owns its memory."""
        return call("ndarray.base.get", self)

    @property
    def flags(self) -> Any:
        """The memory layout of the array on the server."""
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

    def resize(self, /, *new_shape: Any, refcheck: Any = True) -> None:
        """Change shape and size in place; new elements are zero."""
        shape = new_shape[0] if len(new_shape) == 1 else new_shape
        lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
        if (
            refcheck
            and sys.getrefcount(self) > _REFERENCES_IN_METHOD
            and math.prod(lengths) != self.size
        ):
            raise ValueError(_REFERENCED)
        call("ndarray.resize", self, *new_shape, refcheck=refcheck)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


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

    def resize(self, /, *new_shape: Any, refcheck: Any = True) -> None:
        """Raise ValueError: a 0-d result is a value."""
        raise ValueError("cannot resize this array: it does not own its data")

    def __trunc__(self) -> int:
        if self.dtype.char != "d":
            raise TypeError(f"type numpy.{self.dtype.name} doesn't define __trunc__ method")
        return math.trunc(float(self))

    def __round__(self, ndigits: Any = None) -> Any:
        return call("ndarray.__round__", self, ndigits)

    def item(self, *args: Any) -> Any:
        """Return the value as a Python number."""
        return self._value if self.handle is None else super().item(*args)

    def tolist(self) -> Any:
        """Return the value as a Python number."""
        return self.item()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(f"{self.dtype.name!r} scalar does not support item assignment")

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_scalar, (self.dtype.description, self.item())

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in RemoteArray.__slots__ or name in RemoteScalar.__slots__:
                raise AttributeError(name)  # the making of the scalar was interrupted
            if self.dtype.char not in _NUMBER_ATTRIBUTES.get(name, ""):
                kind = self.dtype.type.__name__
                raise AttributeError(f"'numpy.{kind}' object has no attribute {name!r}", name=name)
            if name == "is_integer" and self.dtype.kind in "iu":
                return lambda: True
            return getattr(self.item(), name)


def make_scalar(channel: Channel | None, dtype: dtypes.dtype, value: Any) -> RemoteScalar:
    """Return a 0-d result that carries its value."""
    scalar = RemoteScalar.__new__(RemoteScalar)
    scalar.channel = channel  # type: ignore[assignment]
    scalar.handle = scalar.ext = None
    scalar.dtype = dtype
    scalar._shape = ()
    scalar._value = value
    return scalar


def make_bool(value: bool) -> RemoteScalar:
    """Return `mechestim.True_` or `False_`, without a session: naming them opens none."""
    return make_scalar(None, dtypes.dtype("bool"), value)


def _unpickle_scalar(description: Any, value: Any) -> Any:
    return make_scalar(client_session.channel(), dtypes.from_description(description), value)


operators.install(RemoteArray, RemoteScalar)
protocols.install(RemoteArray)
