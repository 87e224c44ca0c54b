"""The registry: the one place that knows every operation.

The local library, the client, the server's allow-list, the type stubs and the docs are all made
from `OPS`, the table of all operations by name. Nothing here imports NumPy. Adding an operation is
one entry in the module of its family and one case in the tests.
"""

from __future__ import annotations

import importlib

from shm_echo.mechestim.registry.op import Category as Category
from shm_echo.mechestim.registry.op import Op as Op
from shm_echo.mechestim.registry.op import Rule as Rule

_FAMILIES = (
    *("contraction", "creation", "fft", "functional", "inspection", "interpolation", "linalg"),
    *("pointwise", "polynomials", "random", "reductions", "shaping", "sorting", "statistics"),
    *("stats", "unsupported", "windows", "writes"),
)


def _collect() -> dict[str, Op]:
    ops: dict[str, Op] = {}
    for family in _FAMILIES:
        for op in importlib.import_module(f"{__name__}.{family}").OPS:
            if op.name in ops:
                raise ValueError(f"the operation {op.name!r} is in the registry twice")
            ops[op.name] = op
    return ops


OPS: dict[str, Op] = _collect()
"""Every operation by its name."""


def get(name: str) -> Op:
    """Return the operation called `name`.

    Raises:
        KeyError: there is no such operation."""
    return OPS[name]


def names(prefix: str = "") -> tuple[str, ...]:
    """Return the sorted names of all operations that start with `prefix`."""
    return tuple(sorted(name for name in OPS if name.startswith(prefix)))


def nearest(name: str, n: int = 3) -> list[str]:
    """Return the `n` names of supported operations that are most like `name`, best first."""
    from difflib import get_close_matches  # used on errors only; not worth its import otherwise

    known = [op.name for op in OPS.values() if op.category is not Category.UNSUPPORTED]
    return get_close_matches(name, known, n)
