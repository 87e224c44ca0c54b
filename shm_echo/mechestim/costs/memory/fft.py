"""Upper bounds of the memory that `fft` takes, with the signatures of its functions.

Results are complex, or real for the inverse real transforms, at the width of the operand and at
least 8 bytes a real number. A transform over several axes holds two arrays as large as the largest
stage. The plan of one transform of length n takes at most 256 bytes a point, Bluestein's algorithm
for prime lengths included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim.costs.dtypes import element, floating
from shm_echo.mechestim.costs.flops.fft import along_axis, hermitian_length, over_axes
from shm_echo.mechestim.costs.operands import numel, shape, size

_PLAN = 256  # bytes of a plan for each point


def real_width(a: Any) -> int:
    """Return the bytes of one real number of the result."""
    return floating(a) // 2 if element(a)[0] == "c" else floating(a)


def one_axis(
    real: bool = False, inverse_real: bool = False
) -> tuple[Callable[..., int], Callable[..., int]]:
    """Return the rules for result and scratch of a transform along one axis.

    Args:
        real: True if the result is real.
        inverse_real: True if the length is that of the real result.
    """
    default = hermitian_length if inverse_real else None
    words = 1 if real else 2

    def result(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
        transforms, length = along_axis(a, n, axis, norm, default)
        if out is not None and not real:  # hfft allocates its result even if `out` is given
            return 0
        return transforms * length * words * real_width(a)

    def scratch(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> int:
        transforms, length = along_axis(a, n, axis, norm, default)
        largest = max(size(a), transforms * length)
        # Two complex arrays: the converted operand and the padded one.
        return 2 * 2 * real_width(a) * largest + _PLAN * length

    return result, scratch


def several_axes(
    real: bool = False, inverse_real: bool = False, default_axes: Any = None
) -> tuple[Callable[..., int], Callable[..., int]]:
    """Return the rules of a transform over several axes; arguments as for `one_axis`."""
    words = 1 if real else 2

    def stages(a: Any, s: Any, axes: Any, norm: Any) -> tuple[int, int, int]:
        """Return the elements of the result and of the largest stage, and the longest transform."""
        dims = shape(a)
        _, lengths, places = over_axes(dims, s, axes, norm, inverse_real)
        final = list(dims)
        largest = list(dims)
        for place in set(places):  # an axis that is named twice has its longest length
            final[place] = max(n for at, n in zip(places, lengths, strict=True) if at == place)
            largest[place] = max(largest[place], final[place])
        return numel(final), numel(largest), max(lengths, default=0)

    def result(
        a: Any, s: Any = None, axes: Any = default_axes, norm: Any = None, out: Any = None
    ) -> int:
        final, _, _ = stages(a, s, axes, norm)
        return 0 if out is not None else final * words * real_width(a)

    def scratch(
        a: Any, s: Any = None, axes: Any = default_axes, norm: Any = None, out: Any = None
    ) -> int:
        _, largest, longest = stages(a, s, axes, norm)
        # Three complex arrays: two stages and a converted operand.
        return 3 * 2 * real_width(a) * largest + _PLAN * longest

    return result, scratch


def frequencies(n: Any, d: Any = 1.0, device: Any = None) -> int:
    """One float for each of n frequencies."""
    return 8 * max(0, int(n))
