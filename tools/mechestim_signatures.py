"""Makes `shm_echo/mechestim/registry/_signatures_generated.py` from the installed NumPy.

The table is checked in, so that the stubs, the client and the docs know every signature without
NumPy. It is made with one minor version of NumPy, which the table names; with another one installed
the table is left as it is.

A default that is an object of NumPy's, or marks that nothing was given, is written as `...`.
"""

from __future__ import annotations

import inspect
import re
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from shm_echo.mechestim.registry import OPS, Category

TARGET = Path(__file__).parent.parent / "shm_echo/mechestim/registry/_signatures_generated.py"

# What NumPy's own signature does not say, or where ours has more.
BY_HAND = {
    "einsum": "(subscripts, /, *operands, out=None, dtype=None, order='K', casting='safe', "
    "optimize='auto', symmetric_axes=None)",
    "einsum_path": "(subscripts, /, *operands, optimize='auto')",
    "fromstring": "(string, dtype=float, count=-1, *, sep, like=None)",
    "linalg.svd": "(a, full_matrices=True, compute_uv=True, hermitian=False, k=None)",
    "ndarray.__setitem__": "(self, key, value, /)",
}
_SHAPES = {"lognorm": "s, ", "truncnorm": "a, b, "}  # parameters beside loc and scale

_HEAD = '''"""The call signature of every operation, and of every method of an array.

Made by ``tools/mechestim_signatures.py`` from NumPy {version}; not edited by hand. ``...`` stands
for a default that only NumPy can name.
"""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

NUMPY = "{version}"
"""The minor version of NumPy that the signatures are those of."""

SIGNATURES: dict[str, str] = {{
'''


def numpy_minor() -> str:
    """The installed NumPy's major and minor version."""
    return ".".join(np.__version__.split(".")[:2])


def resolve(dotted: str) -> Any:
    """Return `numpy.<dotted>`; raise AttributeError when NumPy has no such name."""
    return reduce(getattr, dotted.split("."), np)


def signature(name: str, numpy_name: str) -> str | None:
    """The signature of operation `name`, or `None` when nothing tells it."""
    if name in BY_HAND:
        return BY_HAND[name]
    if name.startswith("stats."):
        _, distribution, function = name.split(".")
        point = "q" if function == "ppf" else "x"
        return f"({point}, {_SHAPES.get(distribution, '')}loc=0, scale=1)"
    try:
        return render(inspect.signature(resolve(numpy_name)))
    except (AttributeError, TypeError, ValueError):
        return None


def render(found: inspect.Signature) -> str:
    """A signature as Python text, without annotations."""
    parameters = [
        p.replace(
            annotation=p.empty, default=p.empty if p.default is p.empty else _Shown(p.default)
        )
        for p in found.parameters.values()
    ]
    return str(inspect.Signature(parameters))


class _Shown:
    """A default that prints as it should be read."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        if isinstance(value, type):
            return value.__name__ if value.__module__ == "builtins" else repr(value.__name__)
        if value is None or isinstance(value, (bool, int, float, str, tuple)):
            text = repr(value)
            return text if re.fullmatch(r"[^<>\n]*", text) else "..."
        return "..."


def methods() -> dict[str, str]:
    """The signatures of the public methods of an array, by `ndarray.<name>`."""
    found = {}
    for name in dir(np.ndarray):
        member = getattr(np.ndarray, name)
        if not name.startswith("_") and callable(member):
            text = signature(f"ndarray.{name}", f"ndarray.{name}")
            found[f"ndarray.{name}"] = text or "(self, *args, **kwargs)"
    return found


def table() -> dict[str, str]:
    """Every signature that the installed NumPy tells, by name."""
    found = methods()
    for op in OPS.values():
        if op.category is Category.UNSUPPORTED:
            continue
        text = signature(op.name, op.numpy)
        if text is not None:
            found[op.name] = text
    return found


def text() -> str:
    """The whole module."""
    lines = [f"    {_quoted(name)}: {_quoted(value)},\n" for name, value in sorted(table().items())]
    return _HEAD.format(version=numpy_minor()) + "".join(lines) + "}\n"


def _quoted(value: str) -> str:
    """A literal with double quotes."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def files() -> dict[Path, str]:
    """The table by its path; nothing where another minor version of NumPy is installed.

    Without a table, the installed version makes the first one.
    """
    made_with = (
        re.search(r'^NUMPY = "(.+)"$', TARGET.read_text(), re.M) if TARGET.exists() else None
    )
    if made_with is not None and made_with[1] != numpy_minor():
        return {}
    return {TARGET: text()}
