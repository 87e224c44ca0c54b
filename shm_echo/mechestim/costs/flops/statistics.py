"""Prices of histograms, counts per bin and covariances.

Placing one item among `b` bins is a binary search, `ceil(log2(b))`, at least 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o


def bin_count(bins: Any) -> int:
    """Return the number of bins; 1 for the name of a rule, whose result depends on values."""
    if isinstance(bins, str):
        return 1
    if o.ndim(bins) == 0:
        count = index(bins)
        if count < 1:
            raise ValueError(f"bins must be positive, not {count}")
        return count
    if o.ndim(bins) != 1:
        raise ValueError("bin edges have to have one dimension")
    return max(1, o.size(bins) - 1)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> int:
    """n*ceil(log2(bins)) for n items; n when `bins` names a rule.

    Source: the operation table of mechestim.
    """
    if weights is not None and o.shape(weights) != o.shape(a):
        raise ValueError("weights should have the shape of a")
    return o.size(a) * o.ceil_log2(bin_count(bins))


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> int:
    """numel(a).

    Source: the operation table of mechestim.
    """
    bin_count(bins)
    return o.size(a)


def bins_per_axis(bins: Any, axes: int) -> list[int]:
    """Return the number of bins along each of `axes` axes."""
    if o.is_array(bins) and o.ndim(bins) == 0:
        return [index(bins)] * axes
    try:
        given = len(bins)
    except TypeError:
        return [bin_count(bins)] * axes
    if given != axes:
        raise ValueError(f"bins are given for {given} axes, the sample has {axes}")
    return [bin_count(b) for b in bins]


def sample_shape(sample: Any) -> tuple[int, int]:
    """Return the number of points of a sample, and of coordinates of each.

    An array holds a point per row; a sequence holds an array per coordinate.
    """
    shape = o.shape(sample)
    if len(shape) == 1:
        return shape[0], 1
    if hasattr(sample, "shape"):
        points, axes = shape
        return points, axes
    axes, points = shape
    return points, axes


def histogramdd(sample: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """n*sum(ceil(log2(b_i))) for n points, b_i bins along axis i.

    Source: the operation table of mechestim.
    """
    points, axes = sample_shape(sample)
    return points * sum(o.ceil_log2(b) for b in bins_per_axis(bins, axes))


def plane_bins(bins: Any) -> list[int]:
    """Return the number of bins along the two axes of a plane; one array of edges serves both."""
    if o.is_array(bins) and o.ndim(bins) == 1 and o.size(bins) > 2:
        return [bin_count(bins)] * 2
    if isinstance(bins, Sequence) and len(bins) not in (1, 2):
        return [bin_count(bins)] * 2
    return bins_per_axis(bins, 2)


def histogram2d(x: Any, y: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """n*(ceil(log2(bx))+ceil(log2(by))) for n points.

    Source: the operation table of mechestim.
    """
    if o.size(x) != o.size(y):
        raise ValueError("x and y must have the same length")
    return o.size(x) * sum(o.ceil_log2(b) for b in plane_bins(bins))


def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> int:
    """numel(x).

    Source: the operation table of mechestim.
    """
    if o.ndim(x) != 1:
        raise ValueError("x has to have one dimension")
    if weights is not None and o.size(x) and o.shape(weights) != o.shape(x):
        raise ValueError("weights should have the length of x")
    if index(minlength) < 0:
        raise ValueError("minlength must not be negative")
    return o.size(x)


def digitize(x: Any, bins: Any, right: Any = False) -> int:
    """n*ceil(log2(len(bins))) for n items.

    Source: the operation table of mechestim.
    """
    if o.ndim(bins) != 1:
        raise ValueError("bins have to have one dimension")
    return o.size(x) * o.ceil_log2(o.size(bins))


def variables(m: Any, y: Any = None, rowvar: Any = True) -> tuple[int, int]:
    """Return the numbers of variables and of observations of each in a covariance."""
    f, s = _matrix(m)
    if not rowvar and o.ndim(m) != 1:
        f, s = s, f
    if y is None:
        return f, s
    more, same = _matrix(y)
    if not rowvar and more != 1:  # a single row is a variable already and is not transposed
        more, same = same, more
    if f == 0:  # without variables in m, NumPy does not check y
        return 0, s
    if same != s:
        raise ValueError(f"m has {s} observations of each variable, y has {same}")
    return f + more, s


def _matrix(m: Any) -> tuple[int, int]:
    """Return the rows and columns of an array of variables; a vector is one row."""
    shape = o.shape(m)
    if len(shape) > 2:
        raise ValueError("an array of variables has at most two dimensions")
    rows, columns = shape if len(shape) == 2 else (1, o.numel(shape))
    return rows, columns


def cov(m: Any, y: Any = None, rowvar: Any = True, *_: Any, **__: Any) -> int:
    """f^2*s for f variables and s observations of each.

    Source: the operation table of mechestim.
    """
    f, s = variables(m, y, rowvar)
    return f * f * s


def corrcoef(x: Any, y: Any = None, rowvar: Any = True, *_: Any, **__: Any) -> int:
    """f^2*s for f variables and s observations of each.

    Source: the operation table of mechestim.
    """
    f, s = variables(x, y, rowvar)
    return f * f * s
