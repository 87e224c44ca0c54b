"""Upper bounds of memory for reductions, sorting, sets, histograms, polynomials and
interpolation.

Rules whose result is sized by values (:func:`bincount`) read the largest of them; that is why
they are asked only when an array's values may be read.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import describe, floating, itemsize, promoted
from shm_echo.mechestim.costs.flops import statistics as st
from shm_echo.mechestim.costs.flops.interpolation import cross_shape
from shm_echo.mechestim.costs.flops.polynomials import polyadd
from shm_echo.mechestim.costs.memory.bounds import INDEX, copy_of, first, second

_AUTOMATIC_BINS = 1 << 20


def _left(a: Any, axis: Any) -> int:
    """How many elements are left when ``axis`` of ``a`` is reduced."""
    shape = o.shape(a)
    if axis is None or not shape:
        return 1
    return o.numel(o.reduced_shape(shape, axis))


def total(a: Any, axis: Any = None, dtype: Any = None, *_: Any, **__: Any) -> int:
    """sum, prod, mean, std and var: one number for each slice."""
    return _left(a, axis) * max(promoted(a, dtype=dtype), floating(a))


def extremum(a: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """max, min, ptp and median: one number for each slice."""
    return _left(a, axis) * floating(a)


def positions(a: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """argmax, any, count_nonzero and their kin: one index or answer for each slice."""
    return _left(a, axis) * INDEX


def quantile(a: Any, q: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """One number for each slice and quantile."""
    return _left(a, axis) * o.size(q) * floating(a)


def average(a: Any, axis: Any = None, weights: Any = None, *_: Any, **__: Any) -> int:
    """One number for each slice, and the sum of the weights if asked for."""
    each = floating(a) if weights is None else promoted(a, weights, 0.0)
    return 2 * _left(a, axis) * each


def cumulative(a: Any, axis: Any = None, dtype: Any = None, *_: Any, **__: Any) -> int:
    """Running totals: one for each element."""
    return o.size(a) * promoted(a, 0, dtype=dtype)


def cumulative_standard(x: Any, /, *, axis: Any = None, dtype: Any = None, **_: Any) -> int:
    """Running totals, with one more in front of each slice if asked for."""
    count = o.size(x) + (1 if axis is None else _left(x, axis))
    return count * max(8, promoted(x, dtype=dtype))


def sorted_copy(a: Any, *_: Any, **__: Any) -> int:
    """sort and partition: the array again."""
    return copy_of(a)


def sorted_indices(a: Any, *_: Any, **__: Any) -> int:
    """argsort and argpartition: one index for each element."""
    return max(1, o.size(a)) * INDEX


def places(x: Any, bins: Any, right: Any = False) -> int:
    """digitize: one index for each element."""
    return o.size(x) * INDEX


def places_scratch(x: Any, bins: Any, right: Any = False) -> int:
    """Scratch of digitize: both operands in one type, and the bins reversed."""
    return (2 * o.size(x) + 3 * o.size(bins)) * floating(x, bins)


def lexsorted(keys: Any, axis: Any = -1) -> int:
    """lexsort: one index for each item."""
    return o.numel(o.shape(keys)[1:]) * INDEX


def found(a: Any, v: Any, *_: Any, **__: Any) -> int:
    """searchsorted: one index for each query."""
    return o.size(v) * INDEX


def distinct(*args: Any, **kwargs: Any) -> int:
    """unique: the elements, and three indices for each if all differ and all are asked for."""
    a = first(args, kwargs)
    return o.size(a) * (itemsize(a) + 3 * INDEX)


def both(*args: Any, **kwargs: Any) -> int:
    """Set operations: at most all elements of both, with their indices."""
    a, b = first(args, kwargs), second(args, kwargs)
    return (o.size(a) + o.size(b)) * (max(8, itemsize(a), itemsize(b)) + 2 * INDEX)


def both_scratch(*args: Any, **kwargs: Any) -> int:
    """Scratch of set operations: both sorted, joined, ordered and marked."""
    return 4 * both(*args, **kwargs)


def isin(element: Any, test_elements: Any, *_: Any, **__: Any) -> int:
    """isin: one answer for each element."""
    return o.size(element)


def membership_scratch(element: Any, test_elements: Any, *_: Any, **__: Any) -> int:
    """Scratch of isin: the sorted elements, or a table no larger than six times them."""
    return 4 * both(element, test_elements) + 8 * (o.size(element) + o.size(test_elements))


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


def coefficient_sum(a1: Any, a2: Any) -> int:
    """polyadd and polysub: the longer one's coefficients."""
    return polyadd(a1, a2) * promoted(a1, a2, 0)


def coefficient_product(a1: Any, a2: Any) -> int:
    """polymul, convolve and correlate: both lengths together."""
    return (o.size(a1) + o.size(a2) + 1) * promoted(a1, a2, 0)


def convolved(a: Any, v: Any, mode: Any = "full") -> int:
    """convolve and correlate: at most both lengths together."""
    return coefficient_product(a, v)


def quotient(u: Any, v: Any) -> int:
    """polydiv: the quotient and the remainder."""
    return 2 * (o.size(u) + o.size(v)) * floating(u, v)


def evaluated(p: Any, x: Any) -> int:
    """polyval: one number for each point and polynomial."""
    many = o.shape(p)[1:] if o.size(p) else ()
    return o.numel(o.broadcast(o.shape(x), many)) * promoted(p, x, 0)


def integral(p: Any, m: Any = 1, k: Any = None) -> int:
    """polyint: as many coefficients more as the order says."""
    return (o.size(p) + int(m)) * floating(p)


def derivative(p: Any, m: Any = 1) -> int:
    """polyder: no more coefficients than there were, or one per pair if p has two dimensions."""
    pairs = o.shape(p)[0] if o.ndim(p) > 1 else 1
    return o.size(p) * pairs * max(8, itemsize(p))


def from_roots(seq_of_zeros: Any) -> int:
    """poly: one coefficient more than there are roots, perhaps complex."""
    return (o.shape(seq_of_zeros)[0] + 1) * 2 * floating(seq_of_zeros)


def roots(p: Any) -> int:
    """roots: one root per degree, perhaps complex."""
    return o.size(p) * 2 * floating(p)


def companion(p: Any) -> int:
    """Scratch of roots: a square matrix and work copies of it."""
    return 3 * o.shape(p)[0] ** 2 * 2 * floating(p)


def eigenvalues(seq_of_zeros: Any) -> int:
    """Scratch of poly: work copies of a matrix, or of the coefficients so far."""
    return companion(seq_of_zeros)


def fitted(x: Any, y: Any, deg: Any, *_: Any, **__: Any) -> int:
    """polyfit: coefficients, residuals, rank, singular values and their covariance."""
    terms = int(deg) + 1
    columns = max(1, o.size(y) // max(1, o.size(x)))
    return (2 * terms * columns + terms + terms**2 * columns + columns + 8) * floating(x, y)


def fit_scratch(x: Any, y: Any, deg: Any, *_: Any, **__: Any) -> int:
    """Scratch of polyfit: the matrix of powers, scaled, and a work copy of it and of ``y``."""
    terms = int(deg) + 1
    return (4 * terms * o.size(x) + 3 * o.size(y) + 4 * terms**2) * floating(x, y)


def interpolated(x: Any, xp: Any, fp: Any, *_: Any, **__: Any) -> int:
    """interp: one number for each point."""
    return o.size(x) * floating(fp)


def differences(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> int:
    """diff: no more than the array with what is put at its ends."""
    extra = sum(o.size(v) for v in (prepend, append) if o.given(v))
    slices = 2 * o.size(a) // max(1, o.axis_length(o.shape(a), axis)) if extra else 0
    return (o.size(a) + extra + slices) * promoted(a, *filter(o.given, (prepend, append)))


def flat_differences(ary: Any, to_end: Any = None, to_begin: Any = None) -> int:
    """ediff1d: the differences, and what is put at their ends."""
    return (o.size(ary) + o.size(to_end) + o.size(to_begin)) * max(8, itemsize(ary))


def gradients(f: Any, *_: Any, axis: Any = None, **__: Any) -> int:
    """gradient: an array like ``f`` for every axis."""
    return len(o.normalize_axes(axis, o.ndim(f))) * o.size(f) * floating(f)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> int:
    """trapezoid: one number for each slice."""
    return _left(y, axis) * promoted(y, x if x is not None else dx, 0.0)


def trapezoid_scratch(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> int:
    """Scratch of trapezoid: the spacings, the sums of neighbours and their products."""
    spacings = 0 if x is None else o.size(x)
    return (3 * o.size(y) + spacings) * promoted(y, x if x is not None else dx, 0.0)


def crossed(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    """cross: a vector of 3, or one number, for each pair."""
    return o.numel(cross_shape(a, b, *args, **kwargs)) * promoted(a, b)


def crossed_scratch(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    """Scratch of cross: products of components, and promoted copies of both."""
    each = promoted(a, b)
    return 2 * crossed(a, b, *args, **kwargs) + (o.size(a) + o.size(b)) * each


def interp_scratch(x: Any, xp: Any, fp: Any, *_: Any, **__: Any) -> int:
    """Scratch of interp: operands as floats, sorted if periodic, and the slopes."""
    return (o.size(x) + 6 * o.size(xp)) * 16
