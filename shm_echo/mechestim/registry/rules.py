"""The modules of ``costs``, for entries to name their rules by: imported when a rule is asked for.

A client needs the names of the operations and never a price, and a program uses a few operations of
several hundred. So ``rules.sorting.sort`` is no function yet: it remembers where the function is,
and :func:`resolved` imports it. A call remembers its arguments, for the rules that a maker makes:
``rules.sizes.copies(2)``. To a type checker all of them are what they stand for, so a name or an
argument that is wrong is found before anything runs; a test asks for every rule.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shm_echo.mechestim.costs import contraction as contraction
    from shm_echo.mechestim.costs import contraction_sizes as contraction_sizes
    from shm_echo.mechestim.costs import creation as creation
    from shm_echo.mechestim.costs import einsum as einsum
    from shm_echo.mechestim.costs import fft as fft
    from shm_echo.mechestim.costs import fft_sizes as fft_sizes
    from shm_echo.mechestim.costs import indexing as indexing
    from shm_echo.mechestim.costs import interpolation as interpolation
    from shm_echo.mechestim.costs import linalg as linalg
    from shm_echo.mechestim.costs import linalg_sizes as linalg_sizes
    from shm_echo.mechestim.costs import matrix_chain as matrix_chain
    from shm_echo.mechestim.costs import norms as norms
    from shm_echo.mechestim.costs import pointwise as pointwise
    from shm_echo.mechestim.costs import polynomials as polynomials
    from shm_echo.mechestim.costs import reductions as reductions
    from shm_echo.mechestim.costs import results as results
    from shm_echo.mechestim.costs import sampling as sampling
    from shm_echo.mechestim.costs import sampling_sizes as sampling_sizes
    from shm_echo.mechestim.costs import shaping as shaping
    from shm_echo.mechestim.costs import sizes as sizes
    from shm_echo.mechestim.costs import sorting as sorting
    from shm_echo.mechestim.costs import statistics as statistics
    from shm_echo.mechestim.costs import stats as stats
    from shm_echo.mechestim.costs import windows as windows


class Later:
    """A rule by where it is, or by what makes it of which arguments; an item of what is made.

    Args:
        origin: the name of a module, or what is called or indexed.
        what: a name in the module; the arguments by position; or an index, without ``options``.
        options: the arguments by name.
    """

    __slots__ = ("_found", "_options", "_origin", "_what")
    _found: Any

    def __init__(
        self, origin: str | Later, what: Any, options: dict[str, Any] | None = None
    ) -> None:
        self._origin = origin
        self._what = what
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Later:
        return Later(self, args, kwargs)

    def __getitem__(self, index: int) -> Later:
        return Later(self, index)

    def resolve(self) -> Any:
        """What this stands for; the same object every time."""
        try:
            return self._found
        except AttributeError:
            self._found = self._find()
            return self._found

    def _find(self) -> Any:
        if isinstance(self._origin, str):
            return getattr(importlib.import_module(self._origin), self._what)
        found = self._origin.resolve()
        if self._options is None:
            return found[self._what]
        options = {name: resolved(value) for name, value in self._options.items()}
        return found(*map(resolved, self._what), **options)


class _Module:
    """A module of ``costs`` that has not been imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Later:
        if name.startswith("__"):
            raise AttributeError(name)
        found = Later(self._name, name)
        setattr(self, name, found)  # the next entry that names it gets the same
        return found


def resolved(rule: Any) -> Any:
    """The rule itself, where ``rule`` only stands for it."""
    return rule.resolve() if isinstance(rule, Later) else rule


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = _Module(f"shm_echo.mechestim.costs.{name}")
    return found
