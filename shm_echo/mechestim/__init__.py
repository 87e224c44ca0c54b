"""mechestim: a NumPy-compatible library that counts FLOPs and enforces a budget.

>>> import mechestim as me
>>> with me.BudgetContext(flop_budget=10**6, quiet=True) as budget:
...     x = me.zeros((256,))
...     W = me.random.randn(256, 256)
...     h = me.einsum("ij,j->i", W, x)
>>> budget.flops_used
196608

Every arithmetic operation is priced from the shapes of its operands and charged before it runs.
Nothing is imported until it is used: NumPy comes with the first operation.
"""

from __future__ import annotations

import importlib
from typing import Any

from shm_echo.mechestim import backend_choice as _choice

# The module of each public name that is not an operation.
_HOMES = {
    "BudgetContext": "accounting.context",
    "budget": "accounting.context",
    "namespace": "accounting.namespaces",
    "budget_summary": "accounting.summaries",
    "budget_summary_dict": "accounting.summaries",
    "budget_reset": "accounting.summaries",
    "budget_live": "accounting.live",
    "OpRecord": "accounting.account",
    "configure": "accounting.settings",
    "MechEstimError": "errors",
    "MechEstimWarning": "errors",
    "BudgetExhaustedError": "errors",
    "TimeExhaustedError": "errors",
    "NoBudgetContextError": "errors",
    "UnsupportedFunctionError": "errors",
    "SymmetryError": "errors",
    "SymmetryLossWarning": "errors",
    "SymmetryInfo": "symmetry.info",
    "PathInfo": "costs.flops.einsum",
    "StepInfo": "costs.flops.einsum",
}
# The module of the backend that has the name, where local and remote mode have their own.
_BACKEND_HOMES = {
    "SymmetricTensor": "symmetric",
    "as_symmetric": "symmetric",
    "is_symmetric": "symmetric",
}
# The public modules; `from mechestim import errors` reads them as attributes.
_PUBLIC = ("errors", "fft", "flops", "linalg", "random", "stats")
# The other modules. `from shm_echo.mechestim import wire` reads the attribute before it imports the
# module. Without this list, `__getattr__` would import the backend, and NumPy with it, to look for
# an operation of this name.
_INTERNAL = frozenset(
    (
        *("accounting", "adaptive_spin", "backend_choice", "costs", "distributions", "local"),
        *("registry", "remote", "service", "symmetry", "wire"),
    )
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    elif name in _BACKEND_HOMES:
        found = getattr(getattr(_choice.backend(), _BACKEND_HOMES[name]), name)
    elif name in _PUBLIC:
        found = importlib.import_module(f"{__name__}.{name}")
    elif name == "backend":
        found = _choice.backend_name()
    elif name == "__version__":
        from shm_echo import __version__ as found
    elif name == "__all__":
        return __dir__()
    elif name.startswith("__") or name in _INTERNAL:
        raise AttributeError(f"module 'mechestim' has no attribute {name!r}", name=name)
    else:
        found = _choice.namespace().attribute("", name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(
        {
            *_HOMES,
            *_BACKEND_HOMES,
            *_PUBLIC,
            *_choice.namespace().names(""),
            "backend",
        }
    )
