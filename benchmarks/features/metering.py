"""mechestim and flopscope: the trials behind the cells of their columns.

Their interfaces are so near each other that one text tries both. `FEATURES_VENVS` names a folder
with flopscope's server and client, each in a virtual environment of its own, as
`mechestim_remote.py --venvs` makes it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trial import NO, YES, main

LIBRARY = os.environ.get("FEATURES_LIBRARY", "mechestim")
OURS = LIBRARY == "mechestim"
IMPORTS = (
    "import mechestim as f, mechestim as fnp"
    if OURS
    else "import flopscope as f, flopscope.numpy as fnp"
)
VENVS = Path(os.environ.get("FEATURES_VENVS", "."))
PATIENCE = 90.0


def library() -> tuple[Any, Any]:
    """Return the module with the budgets, and the one with NumPy's names."""
    names: dict[str, Any] = {}
    exec(IMPORTS, names)
    return names["f"], names["fnp"]


# ---------------------------------------------------------------- in the program's own process


def priced() -> str:
    """Check that equal shapes cost the same, and that an operation over budget does not run."""
    f, fnp = library()
    with f.BudgetContext(flop_budget=1_900_000, quiet=True) as budget:
        numbers = fnp.arange(10_000.0).reshape(100, 100)
        others = fnp.arange(5.0, 10_005.0).reshape(100, 100)
        used = [budget.flops_used]
        for x in (numbers, others):
            fnp.sqrt(x * 1.5)
            used.append(budget.flops_used)
        try:
            numbers @ numbers
        except f.BudgetExhaustedError:
            equal = used[1] - used[0] == used[2] - used[1] > 0
            return YES if equal and budget.flops_used == used[2] else "look again"
    return NO


def numpy_functions() -> str:
    import numpy as np

    f, fnp = library()
    with f.BudgetContext(flop_budget=10**6, quiet=True) as budget:
        x = fnp.arange(16.0).reshape(4, 4)
        used = []
        for call in (np.exp, np.add.reduce, np.linalg.svd):
            before = budget.flops_used
            call(x)
            used.append(budget.flops_used - before)
    return YES if all(used) else NO


def written() -> str:
    f, fnp = library()
    with f.BudgetContext(flop_budget=10**6, quiet=True):
        x = fnp.arange(4.0)
        try:
            x[0] = 5.0
            x += 1.0
        except TypeError:
            return NO
    return YES if float(x[0]) == 6.0 else "look again"


def symmetric() -> str:
    f, fnp = library()
    tag = {"symmetric_axes": (0, 1)} if OURS else {"symmetry": (0, 1)}
    with f.BudgetContext(flop_budget=10**6, quiet=True) as budget:
        x = fnp.arange(100.0).reshape(10, 10)
        y = f.as_symmetric(x + x.T, **tag)
        before = budget.flops_used
        fnp.exp(x)
        plain = budget.flops_used - before
        fnp.exp(y)
        return YES if budget.flops_used - before - plain < plain else NO


def time_limit() -> str:
    f, fnp = library()
    start = time.monotonic()
    with f.BudgetContext(flop_budget=10**15, quiet=True, wall_time_limit_s=0.3):
        try:
            while time.monotonic() - start < 10:
                fnp.exp(fnp.arange(1000.0))
        except f.TimeExhaustedError:
            return YES
    return NO


# ---------------------------------------------------------------- over a server


@contextlib.contextmanager
def serving(*options: str) -> Iterator[dict[str, str]]:
    """Run a server; yield the environment of its clients."""
    with tempfile.TemporaryDirectory(prefix="features-") as folder:
        path = f"{folder}/server.sock"
        python = sys.executable if OURS else str(VENVS / "flopscope-server/bin/python")
        module = ["shm_echo.cli.main", "serve"] if OURS else ["flopscope_server"]
        server = subprocess.Popen(
            [python, "-m", *module, "--url", f"ipc://{path}", *options], stdout=subprocess.DEVNULL
        )
        try:
            while not os.path.exists(path):
                assert server.poll() is None
                time.sleep(0.05)
            yield {**os.environ, f"{LIBRARY.upper()}_SERVER_URL": f"ipc://{path}"}
        finally:
            server.kill()
            server.wait()


def client(environment: dict[str, str], text: str) -> subprocess.Popen[str]:
    """Start a program that opens a budget, prints `in` and waits for a line."""
    python = sys.executable if OURS else str(VENVS / "flopscope-client/bin/python")
    text = f"""
import sys
{IMPORTS}
with f.BudgetContext(flop_budget=10**18, quiet=True):
    x = fnp.ones((64, 64))
    x @ x
    print("in", flush=True)
    sys.stdin.readline()
{text}
"""
    return subprocess.Popen(
        [python, "-c", text],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def gets_in(environment: dict[str, str]) -> bool:
    process = client(environment, "")
    return process.communicate("\n", timeout=PATIENCE)[0] == "in\n"


def without_numpy() -> str:
    with serving() as environment:
        process = client(environment, "print('numpy' in sys.modules)")
        printed = process.communicate("\n", timeout=PATIENCE)[0]
    return {"in\nFalse\n": YES, "in\nTrue\n": NO}[printed]


def at_once() -> str:
    with serving() as environment:
        first = client(environment, "")
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        second = gets_in(environment)
        first.communicate("\n")
        alone = gets_in(environment)
    return YES if second else "one" if alone else "look again"


def killed_client() -> str:
    """Kill a client inside a budget; return the seconds until the server accepts the next one."""
    with serving() as environment:
        first = client(environment, "")
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        first.kill()
        first.wait()
        start = time.monotonic()
        while not gets_in(environment):
            if time.monotonic() - start > PATIENCE:
                return NO
            time.sleep(1)
        waited = time.monotonic() - start
    return YES if waited < 5 else f"after {round(waited, -1):.0f} s"


def ceiling() -> str:
    """Try to spend more than the server allows, in budgets that the program opens for itself."""
    options = ("--max-flop-budget", "1e6") if OURS else ()
    with serving(*options) as environment:
        text = """
    for _ in range(10):
        x @ x
print("done")
"""
        process = client(environment, text)
        printed, errors = process.communicate("\n", timeout=PATIENCE)
    if "done" in printed:
        return NO
    return YES if "FLOPs" in errors else "look again"


if __name__ == "__main__":
    main(
        {
            "priced": priced,
            "numpy_functions": numpy_functions,
            "written": written,
            "symmetric": symmetric,
            "time_limit": time_limit,
            "without_numpy": without_numpy,
            "at_once": at_once,
            "killed_client": killed_client,
            "ceiling": ceiling,
        }
    )
