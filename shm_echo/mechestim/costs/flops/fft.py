"""Price rules of `fft`: `5*n*ceil(log2(n))` for each transform of length n.

Half of that for real input or output (n // 2 in place of n outside the logarithm); the logarithm is
at least 1. A transform over several axes is priced by the product N of their lengths. Each
transform of a stack is charged. Source: J. W. Cooley and J. W. Tukey, Math. Comp. 19 (1965),
doi:10.1090/S0025-5718-1965-0178586-1, whose radix-2 algorithm takes 5*n*log2(n) real operations: C.
Van Loan, *Computational Frameworks for the Fast Fourier Transform*, SIAM, 1992, section 1.4,
doi:10.1137/1.9781611970999.

`fft_cost` and the others that end in `_cost` are public in `mechestim.flops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from shm_echo.mechestim.costs.flops.dense import count
from shm_echo.mechestim.costs.operands import (
    Shape,
    as_shape,
    ceil_log2,
    normalize_axis,
    numel,
    shape,
)

_NORMS = (None, "backward", "ortho", "forward")


def fft_cost(n: int) -> int:
    """One complex transform of length n: `5*n*ceil(log2(n))`.

    >>> fft_cost(1024)
    51200
    """
    n = count("n", n)
    return max(1, 5 * n * ceil_log2(n))


def rfft_cost(n: int) -> int:
    """One transform between n real numbers and half a spectrum: `5*(n//2)*ceil(log2(n))`.

    >>> rfft_cost(1024)
    25600
    """
    n = count("n", n)
    return max(1, 5 * (n // 2) * ceil_log2(n))


def fftn_cost(shape: Sequence[int]) -> int:
    """One complex transform over all axes of `shape`: `5*N*ceil(log2(N))`, N its size.

    >>> fftn_cost((32, 32))
    51200
    """
    return fft_cost(numel(as_shape(shape)))


def rfftn_cost(shape: Sequence[int]) -> int:
    """One real transform over all axes of `shape`: `5*(N//2)*ceil(log2(N))`, N its size.

    >>> rfftn_cost((32, 32))
    25600
    """
    return rfft_cost(numel(as_shape(shape)))


def hfft_cost(n_out: int) -> int:
    """One transform of a Hermitian signal to n_out reals: `5*n_out*ceil(log2(n_out))`.

    >>> hfft_cost(16)
    320
    """
    return fft_cost(n_out)


def along_axis(a: Any, n: Any, axis: Any, norm: Any, default: Any = None) -> tuple[int, int]:
    """Return the number of transforms of one call, and their length.

    `default` gives the length from that of the axis when `n` is None; it is the length of the
    axis itself otherwise. Raises for an axis, a length or a norm that NumPy rejects.
    """
    dims = shape(a)
    axis = normalize_axis(axis, len(dims))
    if not dims:
        raise ValueError("a transform needs an axis, the operand has none")
    length = dims[axis] if n is None else index(n)
    if n is None and default is not None:
        length = default(dims[axis])
    _check(length, norm)
    return numel(dims[:axis] + dims[axis + 1 :]), length


def _check(length: int, norm: Any) -> None:
    if length < 1:
        raise ValueError(f"a transform has at least 1 point, not {length}")
    if norm not in _NORMS:
        raise ValueError(f"unknown norm {norm!r}")


def hermitian_length(half: int) -> int:
    """Return the length of the real signal whose half spectrum has `half` points."""
    return 2 * (half - 1)


def fft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
    """`5*n*ceil(log2(n))` for each transform of length n. Also the rule of ifft and ihfft.

    Source: the operation table of mechestim.
    """
    transforms, length = along_axis(a, n, axis, norm)
    return transforms * fft_cost(length)


def rfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
    """`5*(n//2)*ceil(log2(n))` for each transform of n real numbers.

    Source: the operation table of mechestim.
    """
    transforms, length = along_axis(a, n, axis, norm)
    return transforms * rfft_cost(length)


def irfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
    """`5*(n//2)*ceil(log2(n))` for each transform to n reals, 2*(length - 1) unless given.

    Source: the operation table of mechestim.
    """
    transforms, length = along_axis(a, n, axis, norm, hermitian_length)
    return transforms * rfft_cost(length)


def hfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
    """`5*n*ceil(log2(n))` for each transform to n reals, 2*(length - 1) unless given.

    Source: the operation table of mechestim.
    """
    transforms, length = along_axis(a, n, axis, norm, hermitian_length)
    return transforms * hfft_cost(length)


def over_axes(
    dims: Shape, s: Any, axes: Any, norm: Any, inverse_real: bool = False
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Return the transforms of one call over several axes: their number, lengths and axes.

    `s` and `axes` as in NumPy: the last `len(s)` axes when `axes` is None; -1 in `s`, or
    None, stands for the whole axis. `inverse_real` takes the last length as that of the real
    result.
    """
    lengths = None if s is None else list(s)
    if axes is None:
        axes = range(len(dims)) if lengths is None else range(-len(lengths), 0)
    places = tuple(normalize_axis(axis, len(dims)) for axis in axes)
    if lengths is not None and len(lengths) != len(places):
        raise ValueError("s and axes have different lengths")
    result = [
        dims[place] if lengths is None or lengths[i] in (-1, None) else index(lengths[i])
        for i, place in enumerate(places)
    ]
    if inverse_real and (lengths is None or lengths[-1] is None):
        before = dict(zip(places[:-1], result, strict=False))  # transformed already, if named twice
        half = dims[places[-1]] if lengths is None else before.get(places[-1], dims[places[-1]])
        result[-1] = hermitian_length(half)
    for length in result:
        _check(length, norm)
    untouched = numel(n for place, n in enumerate(dims) if place not in places)
    return untouched, tuple(result), places


def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> int:
    """`5*N*ceil(log2(N))` for each transform, N the product of its lengths. Also ifftn's rule.

    Source: the operation table of mechestim.
    """
    transforms, lengths, _ = over_axes(shape(a), s, axes, norm)
    return transforms * fftn_cost(lengths) if lengths else 0


def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> int:
    """`5*N*ceil(log2(N))` for each transform, N the product of its lengths. Also ifft2's rule.

    Source: the operation table of mechestim.
    """
    return fftn(a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> int:
    """`5*(N//2)*ceil(log2(N))` for each transform, N the product of its lengths.

    Source: the operation table of mechestim.
    """
    transforms, lengths, _ = over_axes(shape(a), s, axes, norm)
    _last_axis(lengths)
    return transforms * rfftn_cost(lengths)


def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> int:
    """`5*(N//2)*ceil(log2(N))` for each transform, N the product of its lengths.

    Source: the operation table of mechestim.
    """
    return rfftn(a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> int:
    """`5*(N//2)*ceil(log2(N))` for each transform, N the product of the result's lengths.

    Source: the operation table of mechestim.
    """
    transforms, lengths, _ = over_axes(shape(a), s, axes, norm, inverse_real=True)
    _last_axis(lengths)
    return transforms * rfftn_cost(lengths)


def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> int:
    """`5*(N//2)*ceil(log2(N))` for each transform, N the product of the result's lengths.

    Source: the operation table of mechestim.
    """
    return irfftn(a, s, axes, norm)


def _last_axis(lengths: tuple[int, ...]) -> None:
    if not lengths:
        raise IndexError("a real transform needs an axis")
