"""Prices of polynomials given by their coefficients, and of the matrices made from powers."""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o


def eigenvalue_cost(n: int) -> int:
    """`10*n^3`: the eigenvalues of a general n x n matrix.

    Source: Golub and Van Loan, Matrix Computations, the QR algorithm without eigenvectors.
    """
    return 10 * n**3


def polyval(p: Any, x: Any) -> int:
    """2*m*deg for m points: Horner's rule, a multiplication and an addition per degree.

    Coefficients with more axes are several polynomials, evaluated at the broadcast points.

    Source: the operation table of mechestim.
    """
    degrees, *many = o.shape(p)
    if degrees == 0:
        return 0
    return 2 * o.numel(o.broadcast(o.shape(x), tuple(many))) * (degrees - 1)


def polyadd(a1: Any, a2: Any) -> int:
    """max(n1,n2) for polynomials of n1 and n2 coefficients.

    Source: the operation table of mechestim.
    """
    first, second = o.shape(a1) or (1,), o.shape(a2) or (1,)
    if first[0] == second[0]:
        return o.numel(o.broadcast(first, second))
    short, long = sorted((first, second))
    if len(short) != 1:
        raise ValueError("a shorter polynomial's coefficients have one dimension")
    return o.numel(o.broadcast(long[:1], long))


def polymul(a1: Any, a2: Any) -> int:
    """n1*n2 for polynomials of n1 and n2 coefficients.

    Source: the operation table of mechestim.
    """
    return _vector(a1) * _vector(a2)


def _vector(p: Any) -> int:
    """Return the number of coefficients of a polynomial; a single number is a constant."""
    if o.ndim(p) > 1:
        raise ValueError("a polynomial's coefficients have one dimension")
    return o.size(p)


def polydiv(u: Any, v: Any) -> int:
    """n1*n2 for polynomials of n1 and n2 coefficients.

    Source: the operation table of mechestim.
    """
    return o.size(u) * o.size(v)


def derivative(p: Any, m: Any = 1) -> int:
    """n, the number of coefficients, for every order `m`.

    Source: the operation table of mechestim.
    """
    _check_order(m)
    if o.ndim(p) == 0:
        raise TypeError("p has to be a sequence of coefficients")
    return o.size(p)


def integral(p: Any, m: Any = 1, k: Any = None) -> int:
    """n, the number of coefficients, for every order `m`.

    Source: the operation table of mechestim.
    """
    _check_order(m)
    if o.ndim(p) != 1:
        raise ValueError("p has to be a sequence of coefficients")
    return o.size(p)


def _check_order(m: Any) -> None:
    if int(m) < 0:
        raise ValueError("the order must not be negative")


def poly(seq_of_zeros: Any) -> int:
    """n^2 for n roots: a convolution with two coefficients per root.

    The roots of a square matrix are its eigenvalues, which are charged too: 10*n^3 more.

    Source: the operation table of mechestim.
    """
    shape = o.shape(seq_of_zeros)
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] != 0:
        return shape[0] ** 2 + eigenvalue_cost(shape[0])
    if len(shape) != 1:
        raise ValueError("the roots have to be a sequence or a square matrix")
    return shape[0] ** 2


def roots(p: Any) -> int:
    """10*n^3 for degree n: the eigenvalues of the companion matrix.

    Source: the operation table of mechestim.
    """
    if o.ndim(p) != 1:
        raise ValueError("a polynomial's coefficients have one dimension")
    return eigenvalue_cost(max(0, o.size(p) - 1))


def polyfit(x: Any, y: Any, deg: Any, *_: Any, **__: Any) -> int:
    """2*m*(deg+1)^2 for m points, times the number of data sets when `y` has columns.

    Source: least squares by orthogonal factorisation of an m x (deg+1) matrix, to first order.
    """
    terms = int(deg) + 1
    if terms < 1 or o.ndim(x) != 1 or not 1 <= o.ndim(y) <= 2:
        raise ValueError("polyfit needs a degree of 0 or more, a vector x and vectors y")
    if o.shape(y)[0] != o.shape(x)[0] or o.size(x) == 0:
        raise ValueError("x and y must have the same length")
    return 2 * o.size(y) * terms**2


def vander(x: Any, N: Any = None, increasing: Any = False) -> int:
    """len(x)*(N-1): one multiplication per power above the zeroth; N is len(x) when not given.

    Source: the operation table of mechestim.
    """
    if o.ndim(x) != 1:
        raise ValueError("x has to have one dimension")
    columns = o.size(x) if N is None else index(N)
    if columns < 0:
        raise ValueError("N must not be negative")
    return o.size(x) * max(0, columns - 1)
