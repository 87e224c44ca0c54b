"""The docstring of every price rule names its source."""

from __future__ import annotations

import inspect

from shm_echo.mechestim.registry import OPS


def test_every_price_rule_names_its_source() -> None:
    silent = {
        f"{op.cost.__module__}.{op.cost.__qualname__}"
        for op in OPS.values()
        if inspect.isfunction(op.cost)
        and op.cost.__module__.startswith("shm_echo.mechestim.costs")
        and "<locals>" not in op.cost.__qualname__
        and "Source" not in (inspect.getdoc(op.cost) or "")
    }
    assert silent == set()
