"""Upper bounds of memory for histograms, counts and covariances.

The size of the result of `bincount` depends on values: its rule reads the largest of them, so it
serves only callers that may read the values of an array.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import describe, floating
from shm_echo.mechestim.costs.flops import statistics as st
from shm_echo.mechestim.costs.memory.bounds import INDEX

# A bound of the bins that a rule by name, such as "fd", computes from values.
_AUTOMATIC_BINS = 1 << 20


def places(x: Any, bins: Any, right: Any = False) -> int:
    """digitize: one index for each element."""
    return o.size(x) * INDEX


def places_scratch(x: Any, bins: Any, right: Any = False) -> int:
    """Scratch of digitize: both operands in one type, and the bins reversed."""
    return (2 * o.size(x) + 3 * o.size(bins)) * floating(x, bins)


def histogram(a: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """histogram: counts and edges."""
    return _edges(bins) * 2 * 16


def _edges(bins: Any) -> int:
    return _AUTOMATIC_BINS if isinstance(bins, str) else st.bin_count(bins) + 1


def bin_edges(a: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """histogram_bin_edges: the edges."""
    return _edges(bins) * 16


def grid(sample: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """histogramdd: a count for each cell of the grid, and the edges along every axis."""
    axes = st.sample_shape(sample)[1]
    return _cells(st.bins_per_axis(bins, axes))


def plane(x: Any, y: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """histogram2d: a count for each cell, and the edges along both axes."""
    return _cells(st.plane_bins(bins))


def _cells(bins: list[int]) -> int:
    cells = o.numel([b + 2 for b in bins])  # outliers have cells of their own while counting
    return (cells + sum(bins) + 2 * len(bins)) * 16


def grid_scratch(sample: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """Scratch of histogramdd: the counts once more, and each point's cell."""
    points, axes = st.sample_shape(sample)
    return _cells(st.bins_per_axis(bins, axes)) + points * (axes + 2) * INDEX


def plane_scratch(x: Any, y: Any, bins: Any = 10, *_: Any, **__: Any) -> int:
    """Scratch of histogram2d: the counts once more, and each point's cell."""
    return _cells(st.plane_bins(bins)) + o.size(x) * 6 * INDEX


def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> int:
    """bincount: one count for every number up to the largest value."""
    largest = 0
    if o.size(x):
        largest = int(x.max()) if hasattr(x, "max") else int(max(x))
    return max(largest + 1, index(minlength)) * 8


def covariances(m: Any, y: Any = None, rowvar: Any = True, *_: Any, **kwargs: Any) -> int:
    """cov: one number for each pair of variables."""
    f = st.variables(m, y, rowvar)[0]
    dtype = kwargs.get("dtype")
    return f * f * (_observed(m, y) if dtype is None else describe(dtype)[1])


def _observed(m: Any, y: Any) -> int:
    return floating(m) if y is None else floating(m, y)


def correlations(x: Any, y: Any = None, rowvar: Any = True, *_: Any, **kwargs: Any) -> int:
    """corrcoef: one number for each pair of variables."""
    return covariances(x, y, rowvar, **kwargs)


def observations_scratch(
    m: Any = None, y: Any = None, rowvar: Any = True, *_: Any, **kwargs: Any
) -> int:
    """Scratch of cov and corrcoef: the observations centred, weighted and conjugated."""
    m = kwargs["x"] if m is None else m
    f, s = st.variables(m, y, rowvar)
    return (4 * f * s + 2 * f * f) * _observed(m, y)
