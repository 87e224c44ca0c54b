"""Cases: an operation and its arguments as data, and the functions that build the arrays.

Nothing here imports NumPy. An array is built through the functions of the module under test
(`xp.array(list, dtype=...)`, `reshape`, slices), so that the same case runs on plain NumPy, on
the local library and on a client without NumPy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class A:
    """An array.

    `fill` names the data, `layout` their order in memory: `C`, `F`, `reversed` (negative strides),
    `strided` (every other element) or `broadcast` (stride 0 and read-only).
    """

    shape: tuple[int, ...]
    dtype: str = "float64"
    fill: str = "mixed"
    layout: str = "C"
    seed: int = 0
    high: int = 3  # what "index" stays below


def arr(*shape: int, **fields: Any) -> A:
    """Return `arr(3, 4, dtype="int8")` for `A((3, 4), "int8")`."""
    return A(shape, **fields)


@dataclass(frozen=True)
class L:
    """The array of a given nested list."""

    values: Any
    dtype: str | None = None


@dataclass(frozen=True)
class Same:
    """The same object as the positional argument `index`."""

    index: int


@dataclass(frozen=True)
class Sc:
    """A scalar of a type: `xp.float32(2.5)`."""

    dtype: str
    value: Any


@dataclass(frozen=True)
class Dt:
    """A dtype object."""

    name: str


@dataclass(frozen=True)
class Fn:
    """A callback, by its name in `callbacks.py`."""

    name: str


@dataclass(frozen=True)
class Call:
    """The result of another function of the module: `Call("random.default_rng", (7,))`."""

    name: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Case:
    """One call.

    `started` marks a failing call whose kernel or callback has run. `close` compares up to
    rounding, `unset` compares no values (`empty`).
    """

    op: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    started: bool = False
    close: bool = False
    unset: bool = False

    def __str__(self) -> str:
        parts = [_show(value) for value in self.args]
        parts += [f"{key}={_show(value)}" for key, value in self.kwargs.items()]
        return f"{self.op}({', '.join(parts)})"

    def but(self, **fields: Any) -> Case:
        """Return a copy with other fields."""
        return replace(self, **fields)


def case(op: str, /, *args: Any, **kwargs: Any) -> Case:
    """Return the case `op(*args, **kwargs)`."""
    return Case(op, args, kwargs)


def _show(value: Any) -> str:
    if isinstance(value, A):
        extra = [
            part for part, usual in ((value.fill, "mixed"), (value.layout, "C")) if part != usual
        ]
        return f"{value.dtype}{list(value.shape)}{'/'.join(['', *extra])}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(_show(item) for item in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside},)"
    return repr(value)


# Building ----


def build(case: Case, xp: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of `case`, created by the module `xp`."""
    args: list[Any] = []
    for value in case.args:
        args.append(_built(value, xp, args))
    return args, {key: _built(value, xp, args) for key, value in case.kwargs.items()}


def _built(value: Any, xp: Any, args: list[Any]) -> Any:
    if isinstance(value, A):
        return array(value, xp)
    if isinstance(value, L):
        return (
            xp.array(value.values)
            if value.dtype is None
            else xp.array(value.values, dtype=value.dtype)
        )
    if isinstance(value, Same):
        return args[value.index]
    if isinstance(value, Sc):
        return getattr(xp, value.dtype)(value.value)
    if isinstance(value, Dt):
        return xp.dtype(value.name)
    if isinstance(value, Fn):
        from tests.mechestim.parity.callbacks import CALLBACKS

        return CALLBACKS[value.name](xp)
    if isinstance(value, Call):
        return member(xp, value.name)(*[_built(item, xp, args) for item in value.args])
    if isinstance(value, slice):
        return slice(*[_built(part, xp, args) for part in (value.start, value.stop, value.step)])
    if isinstance(value, (list, tuple)):
        return type(value)([_built(item, xp, args) for item in value])
    if isinstance(value, dict):
        return {key: _built(item, xp, args) for key, item in value.items()}
    return value


def member(xp: Any, dotted: str) -> Any:
    """Return `xp.linalg.svd` for `"linalg.svd"`."""
    found = xp
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def array(spec: A, xp: Any) -> Any:
    """Return the array that `spec` describes, created by `xp`."""
    shape, layout = spec.shape, spec.layout
    if layout == "F":
        return _filled(spec, shape[::-1], xp).transpose()
    if layout == "reversed":
        return _filled(spec, shape, xp)[tuple(slice(None, None, -1) for _ in shape)]
    if layout == "strided":
        return _filled(spec, (*shape[:-1], 2 * shape[-1]), xp)[..., ::2]
    if layout == "broadcast":
        return xp.broadcast_to(_filled(spec, (1, *shape[1:]), xp), shape)
    return _filled(spec, shape, xp)


def _filled(spec: A, shape: tuple[int, ...], xp: Any) -> Any:
    return xp.array(values(spec, shape), dtype=spec.dtype).reshape(shape)


@functools.cache
def values(spec: A, shape: tuple[int, ...]) -> list[Any]:
    """Return the data of an array of `shape`, flat."""
    count = math.prod(shape)
    if spec.fill in _MATRICES:
        rows, columns = shape[-2:]
        step = 2 if spec.layout == "strided" else 1
        each = [
            _MATRICES[spec.fill](i, j // step, matrix + spec.seed)
            for matrix in range(count // max(1, rows * columns))
            for i in range(rows)
            for j in range(columns)
        ]
    else:
        fill = _FILLS[spec.fill]
        each = [fill(i, spec) for i in range(count)]
    return [_cast(value, i, spec) for i, value in enumerate(each)]


def _wild(i: int, spec: A) -> float:
    """Return a number between -14 and 14 that looks random."""
    return ((i * 7919 + spec.seed * 104729 + 3571) % 1009 - 504) / 37.0


def _odd(i: int, spec: A) -> float:
    """Return numbers with NaN, infinities and both zeros among them."""
    return (NAN, 1.5, -INF, 0.0, -0.0, INF, -2.25, 7.0)[(i + spec.seed) % 8]


_FILLS: dict[str, Callable[[int, A], Any]] = {
    "mixed": _wild,
    "odd": _odd,
    "nan": lambda i, spec: NAN,
    "some nan": lambda i, spec: NAN if i % 3 == 1 else _wild(i, spec),
    "positive": lambda i, spec: abs(_wild(i, spec)) + 0.25,
    "unit": lambda i, spec: _wild(i, spec) / 14.5,
    "probability": lambda i, spec: (abs(_wild(i, spec)) + 0.25) / 15.0,
    "sorted": lambda i, spec: i * 1.25 - 2.0 + spec.seed,
    "index": lambda i, spec: (i * 5 + spec.seed) % spec.high,
    "few": lambda i, spec: (i * 5 + spec.seed) % 4,
    "small": lambda i, spec: (i * 5 + spec.seed) % 4 + 1,
    "zero": lambda i, spec: 0,
    "one": lambda i, spec: 1,
}


def _definite(i: int, j: int, k: int) -> float:
    return (4.0 + k + i) * (i == j) + 1.0 / (1 + i + j)


_MATRICES: dict[str, Callable[[int, int, int], float]] = {
    "definite": _definite,
    "diagonal": lambda i, j, k: float(i == j),
    "singular": lambda i, j, k: float((i + 1) * (j + 1)),
    "regular": lambda i, j, k: (3.0 + k) * (i == j) + ((3 * i + 5 * j + k) % 7) / 7.0,
}


def _cast(value: Any, i: int, spec: A) -> Any:
    """Return `value` as a Python number that `spec.dtype` holds."""
    kind = spec.dtype
    if kind == "bool":
        return i % 3 != 1 if spec.fill in ("mixed", "positive", "sorted") else bool(value)
    if kind.startswith("uint"):
        return 0 if value != value else int(min(abs(value), 200))
    if kind.startswith(("int", ">i")):
        return 0 if value != value else int(max(min(value, 100), -100))
    if kind.startswith("complex"):
        plain = spec.fill in (*_MATRICES, "index", "zero", "one")
        return complex(value, 0.0 if plain else _wild(i + 1, spec) / 2)
    return float(value)
