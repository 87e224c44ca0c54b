"""Prices without running anything: `mechestim.flops`.

Every function takes sizes and returns the charge of one call of the operation at weight 1; it uses
no budget and no array. Prices and charges come from the same formulas. A call of a counted
operation costs at least 1.

>>> svd_cost(256, 256, k=10)
655360
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from shm_echo.mechestim.costs.flops import interpolation, polynomials, windows
from shm_echo.mechestim.costs.flops.dense import (
    cholesky_cost,
    cond_cost,
    count,
    det_cost,
    eig_cost,
    eigh_cost,
    eigvals_cost,
    eigvalsh_cost,
    inv_cost,
    lstsq_cost,
    matrix_power_cost,
    matrix_rank_cost,
    pinv_cost,
    qr_cost,
    slogdet_cost,
    solve_cost,
    svd_cost,
    svdvals_cost,
    tensorinv_cost,
    tensorsolve_cost,
    trace_cost,
)
from shm_echo.mechestim.costs.flops.einsum import einsum_cost
from shm_echo.mechestim.costs.flops.fft import fft_cost, fftn_cost, hfft_cost, rfft_cost, rfftn_cost
from shm_echo.mechestim.costs.flops.matrix_chain import multi_dot as _multi_dot
from shm_echo.mechestim.costs.flops.norms import matrix_norm_cost, norm_cost, vector_norm_cost
from shm_echo.mechestim.costs.operands import as_shape, numel
from shm_echo.mechestim.symmetry.info import SymmetryInfo

__all__ = [
    "SymmetryInfo",
    "bartlett_cost",
    "blackman_cost",
    "cholesky_cost",
    "cond_cost",
    "det_cost",
    "eig_cost",
    "eigh_cost",
    "eigvals_cost",
    "eigvalsh_cost",
    "einsum_cost",
    "fft_cost",
    "fftn_cost",
    "hamming_cost",
    "hanning_cost",
    "hfft_cost",
    "inv_cost",
    "kaiser_cost",
    "lstsq_cost",
    "matrix_norm_cost",
    "matrix_power_cost",
    "matrix_rank_cost",
    "multi_dot_cost",
    "norm_cost",
    "pinv_cost",
    "pointwise_cost",
    "poly_cost",
    "polyadd_cost",
    "polyder_cost",
    "polydiv_cost",
    "polyfit_cost",
    "polyint_cost",
    "polymul_cost",
    "polysub_cost",
    "polyval_cost",
    "qr_cost",
    "reduction_cost",
    "rfft_cost",
    "rfftn_cost",
    "roots_cost",
    "slogdet_cost",
    "solve_cost",
    "svd_cost",
    "svdvals_cost",
    "tensorinv_cost",
    "tensorsolve_cost",
    "trace_cost",
    "unwrap_cost",
    "vector_norm_cost",
]


def pointwise_cost(shape: Sequence[int], symmetry_info: SymmetryInfo | None = None) -> int:
    """An operation element by element, such as exp or add: `numel(output)`.

    With symmetry: the number of elements that are distinct by it.

    >>> pointwise_cost((256, 256))
    65536
    >>> pointwise_cost((10, 10), SymmetryInfo(((0, 1),), (10, 10)))
    55
    """
    dims = as_shape(shape)
    if symmetry_info is None:
        return max(1, numel(dims))
    if tuple(symmetry_info.shape) != dims:
        raise ValueError(f"the symmetry is that of shape {symmetry_info.shape}, not of {dims}")
    return max(1, symmetry_info.unique_elements)


def reduction_cost(
    input_shape: Sequence[int],
    axis: int | tuple[int, ...] | None = None,
    symmetry_info: SymmetryInfo | None = None,
) -> int:
    """A reduction, such as sum or max: `numel(input)`, for every `axis`.

    With symmetry: the number of elements that are distinct by it. std and var cost twice as much.

    >>> reduction_cost((1000, 100))
    100000
    """
    del axis
    return pointwise_cost(input_shape, symmetry_info)


def multi_dot_cost(shapes: Sequence[Sequence[int]]) -> int:
    """A chain of matrix products in the cheapest order: the sum of `2*m*k*n` over its products.

    Source: the matrix-chain problem, T. H. Cormen et al., *Introduction to Algorithms*, 3rd ed.,
    MIT Press, 2009, section 15.2.

    >>> multi_dot_cost([(3, 4), (4, 5), (5, 6)])
    300
    """
    return max(1, _multi_dot([_of(*as_shape(shape)) for shape in shapes]))


def polyval_cost(deg: int, m: int) -> int:
    """A polynomial of degree `deg` at `m` points: `2*m*deg`, by Horner's rule.

    >>> polyval_cost(2, 100)
    400
    """
    return max(1, polynomials.polyval(_of(count("deg", deg) + 1), _of(count("m", m))))


def polyadd_cost(n1: int, n2: int) -> int:
    """The sum of polynomials of n1 and n2 coefficients: `max(n1, n2)`.

    >>> polyadd_cost(3, 5)
    5
    """
    return max(1, polynomials.polyadd(*_coefficients(n1, n2)))


def polysub_cost(n1: int, n2: int) -> int:
    """The difference of polynomials of n1 and n2 coefficients: `max(n1, n2)`.

    >>> polysub_cost(3, 5)
    5
    """
    return polyadd_cost(n1, n2)


def polymul_cost(n1: int, n2: int) -> int:
    """The product of polynomials of n1 and n2 coefficients: `n1*n2`.

    >>> polymul_cost(3, 5)
    15
    """
    return max(1, polynomials.polymul(*_coefficients(n1, n2)))


def polydiv_cost(n1: int, n2: int) -> int:
    """Quotient and remainder of polynomials of n1 and n2 coefficients: `n1*n2`.

    >>> polydiv_cost(5, 3)
    15
    """
    return max(1, polynomials.polydiv(*_coefficients(n1, n2)))


def polyder_cost(n: int) -> int:
    """A derivative of a polynomial of n coefficients: `n`.

    >>> polyder_cost(4)
    4
    """
    return max(1, polynomials.derivative(_of(count("n", n))))


def polyint_cost(n: int) -> int:
    """An antiderivative of a polynomial of n coefficients: `n`.

    >>> polyint_cost(4)
    4
    """
    return max(1, polynomials.integral(_of(count("n", n))))


def poly_cost(n: int) -> int:
    """The coefficients of the polynomial with n given roots: `n^2`.

    >>> poly_cost(3)
    9
    """
    return max(1, polynomials.poly(_of(count("n", n))))


def roots_cost(n: int) -> int:
    """The roots of a polynomial of degree n: `10*n^3`, the eigenvalues of its companion matrix.

    >>> roots_cost(2)
    80
    """
    return max(1, polynomials.roots(_of(count("n", n) + 1)))


def polyfit_cost(m: int, deg: int) -> int:
    """A polynomial of degree `deg` fitted to `m` points: `2*m*(deg+1)^2`, least squares.

    >>> polyfit_cost(100, 2)
    1800
    """
    points = _of(count("m", m))
    return max(1, polynomials.polyfit(points, points, count("deg", deg)))


def bartlett_cost(n: int) -> int:
    """A Bartlett window of n points: `n`.

    >>> bartlett_cost(256)
    256
    """
    return max(1, windows.cosine(count("n", n)))


def blackman_cost(n: int) -> int:
    """A Blackman window of n points: `3*n`.

    >>> blackman_cost(256)
    768
    """
    return max(1, windows.blackman(count("n", n)))


def hamming_cost(n: int) -> int:
    """A Hamming window of n points: `n`.

    >>> hamming_cost(256)
    256
    """
    return bartlett_cost(n)


def hanning_cost(n: int) -> int:
    """A Hann window of n points: `n`.

    >>> hanning_cost(256)
    256
    """
    return bartlett_cost(n)


def kaiser_cost(n: int) -> int:
    """A Kaiser window of n points: `3*n`.

    >>> kaiser_cost(256)
    768
    """
    return max(1, windows.kaiser(count("n", n), 0.0))


def unwrap_cost(shape: Sequence[int]) -> int:
    """Phases unwrapped along an axis of an array of `shape`: `numel(input)`.

    >>> unwrap_cost((3, 5))
    15
    """
    return max(1, interpolation.unwrap(_of(*as_shape(shape))))


def _of(*shape: int) -> Any:
    """Return an operand of that shape, for a rule that reads nothing else."""
    return SimpleNamespace(shape=shape)


def _coefficients(*lengths: int) -> list[Any]:
    return [_of(count(f"n{i}", n)) for i, n in enumerate(lengths, 1)]
