"""Runs the parity cases in this process and prints the outcome of each, as lines of JSON.

Run as a program: `python -m tests.mechestim.remote.parity_runner PER_OP [OP ...]`. The same
program runs locally and as a client without NumPy, and must print the same. Nothing
here imports NumPy.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import mechestim as me
from tests.mechestim.parity.cases import CASES, some
from tests.mechestim.parity.specs import Case, build, member


def described(value: Any, unset: bool = False) -> Any:
    """Return a form of a result that does not depend on the process that computed it."""
    if isinstance(value, type):
        return ["type", value.__name__]
    if isinstance(value, me.ndarray):
        contents = None if unset else _contents(value)
        return ["array", str(value.dtype), list(value.shape), contents]
    if isinstance(value, tuple):
        return [type(value).__name__, [described(item, unset) for item in value]]
    if isinstance(value, list):
        return ["list", [described(item, unset) for item in value]]
    if isinstance(value, dict):
        return ["dict", {str(key): described(item, unset) for key, item in value.items()}]
    if hasattr(value, "itemsize") and hasattr(value, "kind") and hasattr(value, "names"):
        return ["dtype", str(value)]
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):  # a plain scalar of NumPy
        return described(me.asarray(value), unset)
    if isinstance(value, (int, float, complex, str, bytes, type(None), slice, range)):
        return [type(value).__name__, repr(value)]
    return [type(value).__name__]


def _contents(value: Any) -> str:
    """Return every bit of an array of numbers; the text of any other array."""
    if value.dtype.kind in "biufc" and value.dtype.char not in "gG":  # those have unset bytes
        return str(value.tobytes().hex())
    return repr(value.tolist())


def perform(op: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Perform an operation; for an attribute of an object, return its value."""
    if op.count(".") > 1 and op.startswith("random."):
        found = getattr(args[0], op.rpartition(".")[2])
        return found(*args[1:], **kwargs) if callable(found) else found
    return member(me, op)(*args, **kwargs)


def play(case: Case) -> dict[str, Any]:
    """Run one case and return its outcome."""
    if case.op.startswith("random."):
        me.random.seed(99)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args, kwargs = build(case, me)
    outcome: dict[str, Any] = {"case": str(case)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with me.BudgetContext(10**15, quiet=True) as budget:
            try:
                result = perform(case.op, args, kwargs)
                outcome["result"] = described(result, case.unset)
            except Exception as error:
                outcome["error"] = [type(error).__name__, str(error)]
            outcome["operations"] = {
                name: [entry["flop_cost"], entry["calls"]]
                for name, entry in budget.summary_dict()["operations"].items()
            }
    outcome["warned"] = [[one.category.__name__, str(one.message)] for one in caught]
    if not case.unset:
        outcome["args"] = [described(item) for item in args]
    return outcome


def main() -> None:
    per_op = int(sys.argv[1])
    names = sys.argv[2:] or sorted(CASES)
    if me.backend == "remote":
        assert "numpy" not in sys.modules
    for name in names:
        for case in some(name, per_op):
            print(json.dumps(play(case)), flush=True)


if __name__ == "__main__":
    main()
