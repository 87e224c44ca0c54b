"""All cases, by operation."""

from __future__ import annotations

from typing import Any

try:
    import numpy as np
except ImportError:  # a client has none, and its server has to know
    np = None  # type: ignore[assignment]

from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity import (
    cases_binary,
    cases_creation,
    cases_fft,
    cases_linalg,
    cases_numerics,
    cases_questions,
    cases_random,
    cases_reductions,
    cases_shaping,
    cases_sorting,
    cases_stats,
    cases_unary,
    cases_writes,
)
from tests.mechestim.parity.specs import Case

_SOURCES = (
    cases_binary,
    cases_creation,
    cases_fft,
    cases_linalg,
    cases_numerics,
    cases_questions,
    cases_random,
    cases_reductions,
    cases_shaping,
    cases_sorting,
    cases_stats,
    cases_unary,
    cases_writes,
)


CASES: dict[str, list[Case]] = {}
"""The cases of every operation."""

FAMILIES: dict[str, list[str]] = {}
"""The operations of every file of cases, by the subject of the file."""

ABSENT: set[str] = set()
"""The operations whose function the installed NumPy does not have: nothing to compare with."""


def _present(op: str) -> bool:
    if np is None:
        return True
    found: Any = np
    for part in OPS[op].numpy.split(".") if op in OPS and OPS[op].numpy else ():
        found = getattr(found, part, None)
    return found is not None


for _source in _SOURCES:
    _names = FAMILIES.setdefault(_source.__name__.rpartition("cases_")[2], [])
    for _one in _source.cases():
        if _one.op in ABSENT or not _present(_one.op):
            ABSENT.add(_one.op)
            continue
        if _one.op not in CASES:
            _names.append(_one.op)
        CASES.setdefault(_one.op, []).append(_one)


def some(name: str, most: int) -> list[Case]:
    """Return at most `most` cases of an operation, evenly spread, some with `out`."""
    every = CASES[name]
    chosen = [one for one in every if "out" in one.kwargs][: most // 3]
    rest = [one for one in every if "out" not in one.kwargs]
    left = most - len(chosen)
    return chosen + rest[:: max(1, len(rest) // left)][:left]
