"""Prices in FLOPs for registry entries: the modules of `costs.flops`, imported when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.registry.rules.lazy import LazyModule

if TYPE_CHECKING:
    from shm_echo.mechestim.costs.flops import contraction as contraction
    from shm_echo.mechestim.costs.flops import einsum as einsum
    from shm_echo.mechestim.costs.flops import fft as fft
    from shm_echo.mechestim.costs.flops import indexing as indexing
    from shm_echo.mechestim.costs.flops import interpolation as interpolation
    from shm_echo.mechestim.costs.flops import linalg as linalg
    from shm_echo.mechestim.costs.flops import matrix_chain as matrix_chain
    from shm_echo.mechestim.costs.flops import norms as norms
    from shm_echo.mechestim.costs.flops import pointwise as pointwise
    from shm_echo.mechestim.costs.flops import polynomials as polynomials
    from shm_echo.mechestim.costs.flops import reductions as reductions
    from shm_echo.mechestim.costs.flops import sampling as sampling
    from shm_echo.mechestim.costs.flops import sorting as sorting
    from shm_echo.mechestim.costs.flops import statistics as statistics
    from shm_echo.mechestim.costs.flops import stats as stats
    from shm_echo.mechestim.costs.flops import windows as windows


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = LazyModule(f"shm_echo.mechestim.costs.flops.{name}")
    return found
