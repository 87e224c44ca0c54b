"""Bounds of memory for registry entries: the modules of `costs.memory`, imported when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.registry.rules.lazy import LazyModule

if TYPE_CHECKING:
    from shm_echo.mechestim.costs.memory import bounds as bounds
    from shm_echo.mechestim.costs.memory import contraction as contraction
    from shm_echo.mechestim.costs.memory import creation as creation
    from shm_echo.mechestim.costs.memory import fft as fft
    from shm_echo.mechestim.costs.memory import interpolation as interpolation
    from shm_echo.mechestim.costs.memory import linalg as linalg
    from shm_echo.mechestim.costs.memory import polynomials as polynomials
    from shm_echo.mechestim.costs.memory import reductions as reductions
    from shm_echo.mechestim.costs.memory import sampling as sampling
    from shm_echo.mechestim.costs.memory import shaping as shaping
    from shm_echo.mechestim.costs.memory import sorting as sorting
    from shm_echo.mechestim.costs.memory import statistics as statistics


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = LazyModule(f"shm_echo.mechestim.costs.memory.{name}")
    return found
