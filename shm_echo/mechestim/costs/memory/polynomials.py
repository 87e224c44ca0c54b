"""Upper bounds of memory for polynomials."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import floating, itemsize, promoted
from shm_echo.mechestim.costs.flops.polynomials import polyadd


def coefficient_sum(a1: Any, a2: Any) -> int:
    """polyadd and polysub: the longer one's coefficients."""
    return polyadd(a1, a2) * promoted(a1, a2, 0)


def coefficient_product(a1: Any, a2: Any) -> int:
    """polymul, convolve and correlate: both lengths together."""
    return (o.size(a1) + o.size(a2) + 1) * promoted(a1, a2, 0)


def quotient(u: Any, v: Any) -> int:
    """polydiv: the quotient and the remainder."""
    return 2 * (o.size(u) + o.size(v)) * floating(u, v)


def evaluated(p: Any, x: Any) -> int:
    """polyval: one number for each point and polynomial."""
    many = o.shape(p)[1:] if o.size(p) else ()
    return o.numel(o.broadcast(o.shape(x), many)) * promoted(p, x, 0)


def integral(p: Any, m: Any = 1, k: Any = None) -> int:
    """polyint: `m` more coefficients."""
    return (o.size(p) + int(m)) * floating(p)


def derivative(p: Any, m: Any = 1) -> int:
    """polyder: at most the coefficients of `p`, or one per pair if `p` has two dimensions."""
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
    """Scratch of polyfit: the matrix of powers, scaled, and a work copy of it and of `y`."""
    terms = int(deg) + 1
    return (4 * terms * o.size(x) + 3 * o.size(y) + 4 * terms**2) * floating(x, y)
