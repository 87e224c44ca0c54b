"""Price rules of `random`: one FLOP for each number drawn.

The number of draws is that of the result, from `size` if given, otherwise from the broadcast
distribution parameters. A permutation of n things, and a choice of them without replacement, cost
`n*ceil(log2(n))`. The module functions, `RandomState` and `Generator` share these rules.

Parameters that do not broadcast to `size` raise, as do negative sizes and unknown arguments. The
sizes of the results are in `shm_echo.mechestim.costs.memory.sampling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import Any

from shm_echo.mechestim.costs.operands import (
    Shape,
    as_shape,
    axis_length,
    broadcast,
    ceil_log2,
    is_array,
    normalize_axes,
    normalize_axis,
    numel,
    shape,
    size,
)

_NUMBERS = frozenset({int, float, type(None)})


@dataclass(frozen=True)
class Sampler:
    """The signature of a sampling function, and so the rule of its price: `numel(output)`.

    Attributes:
        params: Names of the distribution parameters; a trailing `=` marks one that has a default.
        tail: The parameter whose last axis is the last axis of every draw, as in `dirichlet`.
        flat: True if parameters must be single numbers, and the tail a vector.
        loose: True if parameters may be larger than `size`, as NumPy allows for integers.
        more: Names of the arguments after `size`, in order.
    """

    params: tuple[str, ...] = ()
    tail: str = ""
    flat: bool = False
    loose: bool = False
    more: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        """Return `numel(output)`."""
        return numel(self.output(self.bind(args, kwargs)))

    @cached_property
    def _parameters(self) -> tuple[str, ...]:
        return tuple(name.rstrip("=") for name in self.params)

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(name for name in self.params if name[-1] != "=")

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*self._parameters, "size", *self.more)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name.

        Raises:
            TypeError: an argument is unknown, given twice or missing.
        """
        names = self._names
        if len(args) > len(names):
            raise TypeError(f"takes {len(names)} arguments, got {len(args)}")
        bound = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in bound or name not in names:
                raise TypeError(f"argument {name!r} is unknown or given twice")
            bound[name] = value
        for name in self._required:
            if name not in bound:
                raise TypeError(f"misses {name}")
        return bound

    def parameters(self, bound: dict[str, Any]) -> list[Any]:
        """Return the distribution parameters other than plain numbers."""
        given = [bound.get(name) for name in self._parameters]
        return [x for x in given if type(x) not in _NUMBERS]

    def output(self, bound: dict[str, Any]) -> Shape:
        """Return the shape of the result."""
        shapes = [shape(x) for x in self.parameters(bound)]
        tail: Shape = ()
        if self.tail:
            tail, shapes = self._split(bound)
        base = broadcast(*shapes)
        given, out = bound.get("size"), bound.get("out")
        if given is not None:
            base = self._sized(base, as_shape(given))
        if out is not None:
            target = shape(out)
            if base != target and (given is not None or broadcast(base, target) != target):
                raise ValueError(f"out has shape {target}, not {base}")
            base = target
        return (*base, *tail)

    def _sized(self, base: Shape, dims: Shape) -> Shape:
        """Return `dims` after checking that parameters of shape `base` fit."""
        if self.loose:
            if numel(dims):
                broadcast(base, dims)
        elif broadcast(base, dims) != dims:
            raise ValueError(f"parameters of shape {base} do not fit size {dims}")
        return dims

    def _split(self, bound: dict[str, Any]) -> tuple[Shape, list[Shape]]:
        """Return the axis of every draw, and the shapes that broadcast."""
        vector = shape(bound[self.tail])
        rest = [shape(bound[name]) for name in self._parameters if name != self.tail]
        if not vector or (self.flat and (len(vector) > 1 or any(rest))):
            raise ValueError(f"{self.tail} has the wrong number of axes: shape {vector}")
        return vector[-1:], [] if self.flat else [vector[:-1], *rest]


def multivariate_normal(
    mean: Any,
    cov: Any,
    size: Any = None,
    check_valid: Any = "warn",
    tol: Any = 1e-8,
    *,
    method: Any = "svd",
) -> int:
    """`numel(output)`: N numbers a draw, N the length of `mean`.

    Source: the operation table of mechestim.
    """
    return numel(normal_shape(mean, cov, size))


def multivariate_normal_legacy(
    mean: Any, cov: Any, size: Any = None, check_valid: Any = "warn", tol: Any = 1e-8
) -> int:
    """`numel(output)`: N numbers a draw, N the length of `mean`.

    Source: the operation table of mechestim.
    """
    return numel(normal_shape(mean, cov, size))


def normal_shape(mean: Any, cov: Any, size: Any) -> Shape:
    """Return the shape of draws from a multivariate normal distribution."""
    vector = shape(mean)
    if len(vector) != 1 or shape(cov) != vector * 2:
        raise ValueError(f"mean of shape {vector} and cov of shape {shape(cov)} do not fit")
    return (*(() if size is None else as_shape(size)), *vector)


def from_dimensions(*dims: Any) -> int:
    """`numel(output)`: the product of the dimensions, 1 without any.

    Source: the operation table of mechestim.
    """
    return numel(as_shape(dims))


def byte_string(length: Any) -> int:
    """`length`: one for each byte. NumPy takes small negative lengths too, for a few bytes.

    Source: the operation table of mechestim.
    """
    return max(0, int(length))


def population(a: Any, axis: Any = 0) -> tuple[int, Shape]:
    """Return the number of items along `axis` of `a`, and the shape of one.

    A single integer stands for the numbers below it.
    """
    dims = shape(a)
    if not dims:
        return max(0, index(a)), ()
    axis = normalize_axis(axis, len(dims))
    return dims[axis], dims[:axis] + dims[axis + 1 :]


def choice(
    a: Any,
    size: Any = None,
    replace: Any = True,
    p: Any = None,
    axis: Any = 0,
    shuffle: Any = True,
) -> int:
    """`numel(output)` with replacement; `n*ceil(log2(n))` without, n the population.

    Source: the operation table of mechestim.
    """
    n, one = population(a, axis)
    drawn = 1 if size is None else numel(as_shape(size))
    if p is not None and shape(p) != (n,):
        raise ValueError(f"p has shape {shape(p)} for a population of {n}")
    if n == 0 and drawn:
        raise ValueError("nothing to choose from")
    if replace:
        return drawn * numel(one)
    if drawn > n:
        raise ValueError(f"cannot choose {drawn} of {n} without replacement")
    return n * ceil_log2(n)


def choice_of_vector(a: Any, size: Any = None, replace: Any = True, p: Any = None) -> int:
    """`numel(output)` with replacement; `n*ceil(log2(n))` without, n the population.

    Source: the operation table of mechestim.
    """
    if len(shape(a)) > 1:
        raise ValueError("a must be 1-dimensional")
    return choice(a, size, replace, p)


def permutation(x: Any, axis: Any = 0) -> int:
    """`n*ceil(log2(n))`, n the length along `axis`, or the integer `x` itself.

    Source: the operation table of mechestim.
    """
    n, _ = population(x, axis)
    return n * ceil_log2(n)


def permutation_of_rows(x: Any) -> int:
    """`n*ceil(log2(n))`, n the number of rows, or the integer `x` itself.

    Source: the operation table of mechestim.
    """
    return permutation(x)


def shuffle(x: Any, axis: Any = 0) -> int:
    """`n*ceil(log2(n))`, n the length along `axis`.

    Source: the operation table of mechestim.
    """
    if not is_array(x) and not hasattr(x, "__setitem__"):
        raise TypeError(f"a {type(x).__name__} cannot be shuffled in place")
    n = axis_length(shape(x), index(axis)) if is_array(x) else len(x)
    return n * ceil_log2(n)


def shuffle_rows(x: Any) -> int:
    """`n*ceil(log2(n))`, n the number of rows.

    Source: the operation table of mechestim.
    """
    return shuffle(x)


def permuted(x: Any, *, axis: Any = None, out: Any = None) -> int:
    """`numel(input)`.

    Source: the operation table of mechestim.
    """
    normalize_axes(axis, len(shape(x)))
    if not shape(x):
        raise TypeError("a single number cannot be permuted")
    if out is not None and shape(out) != shape(x):
        raise ValueError(f"out has shape {shape(out)}, not {shape(x)}")
    return size(x)
