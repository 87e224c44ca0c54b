"""The function of `linalg` that does more than NumPy's: `svd` with `k`."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.registry import OPS

_SVD = OPS["linalg.svd"]
_numpy_svd: Any = np.linalg.svd


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    k: int | None = None,
) -> Any:
    """Return the singular value decomposition; with `k`, only the `k` largest values.

    Costs `m*n*k` FLOPs for each m x n matrix; k is min(m, n) unless given.

    Args:
        a: A matrix, or a stack of them.
        full_matrices: Make U and Vh square. With `k` they are m x k and k x n in any case.
        compute_uv: Compute U and Vh too.
        hermitian: Assume that `a` is Hermitian.
        k: The number of singular values to keep, from 1 to min(m, n).

    Raises:
        ValueError: `k` is out of range.
        LinAlgError: The decomposition does not converge.
    """
    return call(_SVD, _svd, (a, full_matrices, compute_uv, hermitian, k), {})


def _svd(a: Any, full_matrices: bool, compute_uv: bool, hermitian: bool, k: int | None) -> Any:
    if k is None:
        return _numpy_svd(a, full_matrices, compute_uv, hermitian)
    k = index(k)
    short = min(np.shape(a)[-2:], default=0)
    if not 1 <= k <= short:
        raise ValueError(f"k must satisfy 1 <= k <= min(m, n) = {short}, got k={k}")
    if not compute_uv:
        return _numpy_svd(a, False, False, hermitian)[..., :k].copy()
    parts = _numpy_svd(a, False, True, hermitian)
    u, s, vh = parts
    # Copies, because a slice would keep the whole decomposition in memory.
    return type(parts)(u[..., :k].copy(), s[..., :k].copy(), vh[..., :k, :].copy())
