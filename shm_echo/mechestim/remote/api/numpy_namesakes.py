"""Names of NumPy that are not operations, in client mode: `errstate`, `finfo`, `s_`, ...

Answers that depend on the server's NumPy come from the server; the others are computed here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.namespaces import decorate
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays.array import RemoteArray, make_scalar
from shm_echo.mechestim.remote.connection import error_decoding, session_options
from shm_echo.mechestim.remote.dtypes import dtypes

exceptions = SimpleNamespace(**{cls.__name__: cls for cls in error_decoding.NUMPY_NAMESAKES})


class _Options:
    """Changes options of this thread or task for the length of a block; a decorator, too.

    Subclasses have the variable with the options, the operation that changes them on the server,
    and their position in `SessionOptions`.
    """

    __slots__ = ("_options", "_tokens")
    variable: ContextVar[dict[str, Any] | None]
    op: str
    position: int

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._tokens: list[Token[dict[str, Any] | None]] = []

    @classmethod
    def changed(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Change options on the server; return all options of this kind."""
        return client_session.change_options(cls.op, cls.position, options)

    def __enter__(self) -> Any:
        self._tokens.append(self.variable.set(self.changed(self._options)))

    def __exit__(self, *_: object) -> None:
        self.variable.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return decorate(function, lambda: type(self)(**self._options))


class errstate(_Options):
    """Sets the handling of floating-point errors: `errstate(divide="ignore")`, as in NumPy."""

    __slots__ = ()
    variable, op, position = session_options.errors, "session.seterr", session_options.ERRORS


class printoptions(_Options):
    """Sets the printing of arrays: `printoptions(precision=3)`, as in NumPy."""

    __slots__ = ()
    variable, op = session_options.printing, "session.print_options"
    position = session_options.PRINTING

    def __enter__(self) -> dict[str, Any]:
        super().__enter__()
        return get_printoptions()


def get_printoptions() -> dict[str, Any]:
    """Return the print options of this thread or task."""
    return printoptions.changed({})


def set_printoptions(**options: Any) -> None:
    """Change the print options of this thread or task."""
    session_options.printing.set(printoptions.changed(options))


class _Info:
    """Limits of a dtype, as attributes."""

    def __init__(self, dtype: Any) -> None:
        kind = type(self).__name__
        if isinstance(dtype, RemoteArray):
            dtype = dtype.dtype
        elif not isinstance(dtype, (str, type, dtypes.dtype)):
            dtype = type(dtype)
        for name, value in client_session.session_call(
            f"session.{kind}", dtypes.dtype(dtype)
        ).items():
            setattr(self, name, value)

    if TYPE_CHECKING:  # the server names the attributes

        def __getattr__(self, name: str) -> Any: ...


class finfo(_Info):
    """Limits of a floating-point dtype: `eps`, `max`, `min`, `tiny`, `bits`, ..."""


class iinfo(_Info):
    """Limits of an integer dtype: `min`, `max`, `bits`."""


class _IndexExpression:
    """`s_[1:, ::2]` is the key that these brackets stand for."""

    def __init__(self, always_tuple: bool) -> None:
        self._always_tuple = always_tuple

    def __getitem__(self, key: Any) -> Any:
        return (key,) if self._always_tuple and not isinstance(key, tuple) else key


s_ = _IndexExpression(False)
index_exp = _IndexExpression(True)


class ndindex:
    """Iterates over the indices of an array of this shape, in C order."""

    def __init__(self, *shape: Any) -> None:
        lengths = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        self._indices = itertools.product(*(range(int(length)) for length in lengths))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return self._indices

    def __next__(self) -> tuple[int, ...]:
        return next(self._indices)


class ndenumerate:
    """Iterates over the indices of an array, each with its element."""

    def __init__(self, arr: Any) -> None:
        array = arr if isinstance(arr, RemoteArray) else client_session.call("asarray", arr)
        flat = client_session.call("ndarray.flatten", array).tolist()
        values = (make_scalar(array.channel, array.dtype, value) for value in flat)
        self._pairs = zip(ndindex(array.shape), values, strict=True)

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        return self._pairs

    def __next__(self) -> tuple[tuple[int, ...], Any]:
        return next(self._pairs)


class Grid:
    """`mgrid`, `ogrid`, `r_` and `c_`: the server makes the arrays that their brackets describe."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, key: Any) -> Any:
        return client_session.session_call("session.grid", self._name, key)

    def __len__(self) -> int:
        return 0


mgrid, ogrid, r_, c_ = Grid("mgrid"), Grid("ogrid"), Grid("r_"), Grid("c_")

NAMES = (
    *("errstate", "printoptions", "get_printoptions", "set_printoptions", "finfo", "iinfo"),
    *("s_", "index_exp", "ndindex", "ndenumerate", "mgrid", "ogrid", "r_", "c_", "exceptions"),
)
