"""Names of NumPy that are no operations, for a process without NumPy: ``errstate``, ``finfo``,
``s_``, ...

What depends on the server's NumPy is asked of it; what does not is computed here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.namespaces import decorate
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.arrays.array import RemoteArray, scalar
from shm_echo.mechestim.remote.connection import error_decoding, session_options
from shm_echo.mechestim.remote.dtypes import dtypes

exceptions = SimpleNamespace(**{cls.__name__: cls for cls in error_decoding.TWINS})


class _Options:
    """Options of this thread or task, for the length of a block; a decorator, too.

    Subclasses say of which variable (``of``), how the server calls changing them (``word``) and
    where they stand in what is wanted of it (``part``).
    """

    __slots__ = ("_options", "_tokens")
    of: ContextVar[dict[str, Any] | None]
    word: str
    part: int

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._tokens: list[Token[dict[str, Any] | None]] = []

    @classmethod
    def after(cls, options: dict[str, Any]) -> dict[str, Any]:
        """All of them, once these are changed."""
        return client_session.changed(cls.word, cls.part, options)

    def __enter__(self) -> Any:
        self._tokens.append(self.of.set(self.after(self._options)))

    def __exit__(self, *_: object) -> None:
        self.of.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return decorate(function, lambda: type(self)(**self._options))


class errstate(_Options):
    """How floating-point errors are treated inside: ``errstate(divide="ignore")``, as in NumPy."""

    __slots__ = ()
    of, word, part = session_options.errors, "session.seterr", 3


class printoptions(_Options):
    """How arrays are printed inside: ``printoptions(precision=3)``, as in NumPy."""

    __slots__ = ()
    of, word, part = session_options.printing, "session.print_options", 4

    def __enter__(self) -> dict[str, Any]:
        super().__enter__()
        return get_printoptions()


def get_printoptions() -> dict[str, Any]:
    """The print options of this thread or task."""
    return printoptions.after({})


def set_printoptions(**options: Any) -> None:
    """Change the print options of this thread or task."""
    session_options.printing.set(printoptions.after(options))


class _Info:
    """Limits of a dtype, as attributes."""

    def __init__(self, dtype: Any) -> None:
        kind = type(self).__name__
        if isinstance(dtype, RemoteArray):
            dtype = dtype.dtype
        elif not isinstance(dtype, (str, type, dtypes.dtype)):
            dtype = type(dtype)
        for name, value in client_session.word(f"session.{kind}", dtypes.dtype(dtype)).items():
            setattr(self, name, value)

    if TYPE_CHECKING:  # what there is comes from the server

        def __getattr__(self, name: str) -> Any: ...


class finfo(_Info):
    """Limits of a floating-point dtype: ``eps``, ``max``, ``min``, ``tiny``, ``bits``, ..."""


class iinfo(_Info):
    """Limits of an integer dtype: ``min``, ``max``, ``bits``."""


class _IndexExpression:
    """``s_[1:, ::2]`` is the key that those brackets stand for."""

    def __init__(self, always_tuple: bool) -> None:
        self._always_tuple = always_tuple

    def __getitem__(self, key: Any) -> Any:
        return (key,) if self._always_tuple and not isinstance(key, tuple) else key


s_ = _IndexExpression(False)
index_exp = _IndexExpression(True)


class ndindex:
    """Every index of an array of this shape, in C order."""

    def __init__(self, *shape: Any) -> None:
        lengths = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        self._indices = itertools.product(*(range(int(length)) for length in lengths))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return self._indices

    def __next__(self) -> tuple[int, ...]:
        return next(self._indices)


class ndenumerate:
    """Every index of an array with its element."""

    def __init__(self, arr: Any) -> None:
        array = arr if isinstance(arr, RemoteArray) else client_session.call("asarray", arr)
        flat = client_session.call("ndarray.flatten", array).tolist()
        values = (scalar(array.channel, array.dtype, value) for value in flat)
        self._pairs = zip(ndindex(array.shape), values, strict=True)

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        return self._pairs

    def __next__(self) -> tuple[tuple[int, ...], Any]:
        return next(self._pairs)


class Grid:
    """``mgrid``, ``ogrid``, ``r_`` and ``c_``: what their brackets say is made by the server."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, key: Any) -> Any:
        return client_session.word("session.grid", self._name, key)

    def __len__(self) -> int:
        return 0


mgrid, ogrid, r_, c_ = Grid("mgrid"), Grid("ogrid"), Grid("r_"), Grid("c_")

NAMES = (
    *("errstate", "printoptions", "get_printoptions", "set_printoptions", "finfo", "iinfo"),
    *("s_", "index_exp", "ndindex", "ndenumerate", "mgrid", "ogrid", "r_", "c_", "exceptions"),
)
