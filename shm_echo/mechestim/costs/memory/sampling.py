"""Upper bounds of the memory that `random` takes, with the signatures of its functions.

`drawn` and `parameters_copied` serve every `costs.flops.sampling.Sampler`;
the others have the signature of the operation that they are named after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.costs.dtypes import describe, itemsize
from shm_echo.mechestim.costs.flops.sampling import (
    Sampler,
    byte_string,
    from_dimensions,
    normal_shape,
    population,
)
from shm_echo.mechestim.costs.operands import as_shape, broadcast, numel, shape, size

NUMBER = 8
"""Bytes of a float64 or an int64, which samplers return unless `dtype` is given."""


def drawn(sampler: Sampler) -> Callable[..., int]:
    """Return the rule for the result of `sampler`: its output at the width of `dtype`."""

    def result(*args: Any, **kwargs: Any) -> int:
        bound = sampler.bind(args, kwargs)
        if bound.get("out") is not None:
            return 0
        dtype = bound.get("dtype")
        width = NUMBER if dtype is None else describe(dtype)[1]
        return numel(sampler.output(bound)) * width

    return result


def parameters_copied(sampler: Sampler) -> Callable[..., int]:
    """Return the rule for scratch: array parameters as floats, and three arrays for checks."""

    def scratch(*args: Any, **kwargs: Any) -> int:
        bound = sampler.bind(args, kwargs)
        arrays = [shape(x) for x in sampler.parameters(bound) if shape(x)]
        if not arrays:
            return 0
        checked = sum(map(numel, arrays)) if sampler.tail else 3 * numel(broadcast(*arrays))
        return NUMBER * (sum(map(numel, arrays)) + checked)

    return scratch


def hypergeometric_scratch(
    colors: Any, nsample: Any, size: Any = None, method: Any = "marginals"
) -> int:
    """One index for each item in the urn with the method "count"; a copy of `colors` otherwise."""
    kinds = numel(shape(colors)) * NUMBER
    if method != "count":
        return kinds
    urn = colors.sum() if hasattr(colors, "sum") else sum(colors)
    return kinds + NUMBER * max(0, int(urn))


def multivariate_normal(mean: Any, cov: Any, size: Any = None, *_: Any, **__: Any) -> int:
    """The draws."""
    return NUMBER * numel(normal_shape(mean, cov, size))


def multivariate_normal_scratch(mean: Any, cov: Any, size: Any = None, *_: Any, **__: Any) -> int:
    """Standard normal draws, the factors of `cov` and the workspace of their decomposition."""
    return NUMBER * (numel(normal_shape(mean, cov, size)) + 20 * numel(shape(cov)))


def floats(*dims: Any) -> int:
    """A float64 for each draw of rand and randn."""
    return NUMBER * from_dimensions(*dims)


def byte_result(length: Any) -> int:
    """The bytes themselves."""
    return max(4, byte_string(length))


def choice(
    a: Any,
    size: Any = None,
    replace: Any = True,
    p: Any = None,
    axis: Any = 0,
    shuffle: Any = True,
) -> int:
    """The chosen items, at the width of `a`."""
    _, one = population(a, axis)
    count = 1 if size is None else numel(as_shape(size))
    return count * numel(one) * (itemsize(a) if shape(a) else NUMBER)


def choice_scratch(
    a: Any,
    size: Any = None,
    replace: Any = True,
    p: Any = None,
    axis: Any = 0,
    shuffle: Any = True,
) -> int:
    """Indices, a shuffled population without replacement, cumulative probabilities."""
    n, _one = population(a, axis)
    count = 1 if size is None else numel(as_shape(size))
    copies = 4 * count + (0 if replace else 2 * n) + (0 if p is None else 4 * n)
    return NUMBER * copies + (numel(shape(a)) * itemsize(a) if not hasattr(a, "dtype") else 0)


def permutation(x: Any, axis: Any = 0) -> int:
    """A copy of `x`, or the integers below it."""
    n, one = population(x, axis)
    return n * numel(one) * itemsize(x) if shape(x) else n * NUMBER


def permutation_scratch(x: Any, axis: Any = 0) -> int:
    """The order, and one row to swap with."""
    n, one = population(x, axis)
    return n * NUMBER + numel(one) * itemsize(x)


def shuffle_scratch(x: Any, axis: Any = 0) -> int:
    """One row to swap with, or a copy if the axis is not the first."""
    return size(x) * itemsize(x) if hasattr(x, "dtype") else 0


def permuted(x: Any, *, axis: Any = None, out: Any = None) -> int:
    """A copy of `x`; no memory with `out`."""
    return size(x) * itemsize(x) if out is None else 0


def permuted_scratch(x: Any, *, axis: Any = None, out: Any = None) -> int:
    """A contiguous copy of `x`."""
    return size(x) * itemsize(x)


def generator_state(*_: Any, **__: Any) -> int:
    """The state of a Mersenne Twister: 624 words of 32 bits, and its position."""
    return 624 * 4 + 8
