"""`mechestim` is `shm_echo.mechestim`: a public module is one object under both names.

Each test runs in a fresh interpreter, because an import shows in `sys.modules`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, run_script

# Public modules, and all of the package, by the part of their names that both names share.
_MODULES = """
import importlib, importlib.util, pkgutil, sys
from mechestim._finder import PUBLIC
for name in [name for name in sys.modules if "mechestim" in name]:
    del sys.modules[name]
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "AliasFinder"]
REAL, ALIAS = "shm_echo.mechestim", "mechestim"

def modules():
    return ["." + name for name in PUBLIC]

def internal():
    folder = importlib.util.find_spec(REAL).submodule_search_locations
    names = [i.name.removeprefix(REAL) for i in pkgutil.iter_modules(folder, REAL + ".")]
    return [name for name in names if name not in modules()]
"""


def run(text: str, *args: str, env: dict[str, str] | None = None) -> str:
    return run_script(_MODULES + text, *args, env=env)


# ---------------------------------------------------------------- one object


@pytest.mark.parametrize("order", ["alias first", "real first", "mixed"])
def test_every_module_is_one_object_whichever_name_is_imported_first(order: str) -> None:
    seen = run(
        """
import random
order = sys.argv[1]
pairs = [(ALIAS + n, REAL + n) for n in modules()]
if order == "mixed":
    random.Random(7).shuffle(pairs)
for i, pair in enumerate(pairs):
    real_first = order == "real first" or (order == "mixed" and i % 2 == 0)
    for name in reversed(pair) if real_first else pair:
        importlib.import_module(name)
for alias, real in [(ALIAS, REAL), *pairs]:
    module = sys.modules[real]
    assert sys.modules[alias] is module, alias
    assert module.__name__ == module.__spec__.name == real, (real, module.__spec__)
files = [m.__file__ for n, m in sys.modules.items() if n.startswith(REAL)]
assert len(files) == len(set(files)) > len(pairs)
print(len(pairs))
""",
        order,
    )
    assert int(seen) == 6


@pytest.mark.parametrize(
    "statement",
    [
        "import mechestim.errors; found = mechestim.errors",
        "import mechestim.errors as found",
        "from mechestim import errors as found",
        "import mechestim; import shm_echo.mechestim.errors; found = mechestim.errors",
        "import importlib; found = importlib.import_module('mechestim.errors')",
        "import importlib; found = importlib.import_module('.errors', 'mechestim')",
        "found = __import__('mechestim.errors', fromlist=['x'])",
        "import shm_echo.mechestim.errors; import mechestim.errors as found",
        "import pkgutil; found = pkgutil.resolve_name('mechestim.errors')",
    ],
)
def test_every_form_of_import_returns_the_one_module(statement: str) -> None:
    run(f"""
{statement}
import shm_echo.mechestim.errors as real
assert found is real
from mechestim.errors import SymmetryError
assert SymmetryError is real.SymmetryError
""")


def test_from_import_of_a_public_module_loads_no_numpy() -> None:
    run("""
for name in PUBLIC:
    exec(f"from mechestim import {name} as found")
    assert found is sys.modules["shm_echo.mechestim." + name], name
assert "numpy" not in sys.modules
""")


def test_internal_modules_have_the_long_name_only() -> None:
    run("""
assert {".accounting", ".costs", ".local", ".remote", ".service", ".wire"} <= set(internal())
import mechestim
for name in internal():
    importlib.import_module(REAL + name)
    for attempt in (
        lambda: importlib.import_module(ALIAS + name),
        lambda: importlib.import_module(ALIAS + name + ".deeper"),
    ):
        try:
            attempt()
        except ModuleNotFoundError as error:
            assert f"No module named {ALIAS + name!r}" in str(error), error
            assert "is internal" in str(error) and "errors, fft" in str(error)
        else:
            raise AssertionError(name)
    assert ALIAS + name not in sys.modules
""")


def test_the_package_lists_its_own_modules() -> None:
    """`_PUBLIC` are the public ones, `_INTERNAL` all others; no operation has such a name."""
    run("""
import shm_echo.mechestim as package
from shm_echo.mechestim.registry import OPS
assert package._PUBLIC == PUBLIC
assert {"." + name for name in package._INTERNAL} == set(internal())
assert not package._INTERNAL & {name.partition(".")[0] for name in OPS}
""")


def test_from_import_of_an_internal_module_loads_no_numpy() -> None:
    run("""
for name in ("wire", "errors", "registry", "costs", "accounting", "symmetry", "backend_choice"):
    exec(f"from shm_echo.mechestim import {name} as found")
    assert found is sys.modules["shm_echo.mechestim." + name], name
assert "numpy" not in sys.modules
assert not any(name.startswith("shm_echo.mechestim.local") for name in sys.modules)
""")


def test_the_package_offers_no_internal_module() -> None:
    run("""
import mechestim
for name in sorted(mechestim._INTERNAL):
    if REAL + "." + name not in sys.modules:
        assert not hasattr(mechestim, name), name
assert "numpy" not in sys.modules
before = dir(mechestim)
for name in internal():
    importlib.import_module(REAL + name)
assert dir(mechestim) == before
assert not mechestim._INTERNAL & set(before)
star = {}
exec("from mechestim import *", star)
assert not mechestim._INTERNAL & set(star)
""")


def test_an_error_that_was_imported_by_one_name_is_caught_by_the_other() -> None:
    run("""
from mechestim.errors import NoBudgetContextError
import shm_echo.mechestim.errors as real
try:
    raise real.NoBudgetContextError()
except NoBudgetContextError as error:
    assert type(error).__module__ == "shm_echo.mechestim.errors"
""")


def test_importing_deeper_modules_leaves_the_names_of_the_package_alone() -> None:
    run("""
import mechestim
before = mechestim.budget
assert callable(before)
for name in internal():
    importlib.import_module(REAL + name)
from shm_echo.mechestim.accounting import context
assert mechestim.budget is before is context.budget
""")


def test_threads_that_import_by_both_names_at_once_get_the_same_modules() -> None:
    run("""
import threading
import mechestim
names = [prefix + n for n in modules() for prefix in (ALIAS, REAL)]
barrier = threading.Barrier(8)
found = [{} for _ in range(8)]

def work(i):
    barrier.wait()
    for name in names[i * 7:] + names[:i * 7]:
        found[i][name.removeprefix("shm_echo.")] = importlib.import_module(name)

threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert found[0] and all(f == found[0] for f in found)
for n in modules():
    assert sys.modules[REAL + n].__spec__.name == REAL + n
""")


# ---------------------------------------------------------------- the import system around it


def test_importing_the_alias_loads_no_numpy() -> None:
    run("import mechestim, mechestim.errors; assert 'numpy' not in sys.modules")


def test_looking_for_a_module_does_not_import_it() -> None:
    run("""
import mechestim
spec = importlib.util.find_spec("mechestim.stats")
assert spec.name == "mechestim.stats" and spec.origin.endswith("stats.py"), spec
assert not any(name.endswith("mechestim.stats") for name in sys.modules)
assert importlib.util.find_spec("mechestim.nope") is None
""")


def test_the_error_for_a_missing_module_has_the_imported_name() -> None:
    run("""
for name in ("mechestim.nope", "mechestim.errors.nope"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == name and f"No module named {name!r}" in str(error), error
    else:
        raise AssertionError(name)
""")


def test_the_package_is_the_same_after_its_removal_from_sys_modules() -> None:
    run("""
import mechestim
finders = list(sys.meta_path)
del sys.modules["mechestim"]
import mechestim as again
assert again is mechestim is sys.modules["shm_echo.mechestim"]
assert sys.meta_path == finders
""")


def test_reloading_by_either_name_keeps_the_module_and_runs_it_again() -> None:
    run("""
import mechestim, mechestim.errors
import shm_echo.mechestim.errors as real
old = real.MechEstimError
assert importlib.reload(mechestim.errors) is real
assert real.MechEstimError is not old
assert sys.modules["mechestim.errors"] is sys.modules["shm_echo.mechestim.errors"] is real
assert importlib.reload(mechestim) is mechestim is sys.modules["shm_echo.mechestim"]
import mechestim.errors as later
assert later is real and real.__spec__.name == "shm_echo.mechestim.errors"
""")


def test_walking_the_packages_by_the_alias_ends_with_its_public_modules() -> None:
    run("""
import mechestim
errors = []
walked = [i.name for i in pkgutil.walk_packages(mechestim.__path__, "mechestim.", errors.append)]
assert set(walked) >= {ALIAS + n for n in modules()} and len(walked) == len(set(walked))
loaded = {n[9:] for n in sys.modules if n.startswith("mechestim.")}
assert loaded <= {*modules(), "._finder"}, loaded
""")


def test_the_files_of_the_package_are_resources_of_the_alias() -> None:
    run("""
import importlib.resources, mechestim
assert importlib.resources.files("mechestim").joinpath("errors.py").is_file()
""")


# ---------------------------------------------------------------- running, pickling, reading


def test_a_module_can_be_run_by_the_alias() -> None:
    run("""
import runpy, mechestim
found = runpy.run_module("mechestim.stats", run_name="__main__", alter_sys=True)
assert found["__name__"] == "__main__" and found["__package__"] == "mechestim"
assert found["__file__"].endswith("shm_echo/mechestim/stats.py")
assert found["__spec__"].name == "mechestim.stats" and callable(found["__getattr__"])
assert "mechestim.stats" not in sys.modules
""")


def test_python_m_reports_a_missing_module() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m"]
    done = subprocess.run(
        [*command, "mechestim.nope"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "No module named mechestim.nope" in done.stderr


def test_pydoc_shows_the_package_by_its_short_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pydoc", "mechestim"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "counts FLOPs and enforces a budget" in done.stdout


def test_pickles_carry_the_real_name_and_those_with_the_alias_load_too() -> None:
    run("""
import pickle
import mechestim.errors
from mechestim.errors import BudgetExhaustedError
text = pickle.dumps(BudgetExhaustedError, protocol=0)
assert b"shm_echo.mechestim" in text and pickle.loads(text) is BudgetExhaustedError
by_alias = text.replace(b"shm_echo.mechestim", b"mechestim")
assert by_alias != text and pickle.loads(by_alias) is BudgetExhaustedError
error = pickle.loads(pickle.dumps(BudgetExhaustedError("exp", flop_cost=3, flops_remaining=2)))
assert type(error) is BudgetExhaustedError and error.flop_cost == 3
""")


def test_a_pickle_loads_where_only_the_other_name_was_imported() -> None:
    pickled = run("""
import pickle
from mechestim.errors import SymmetryError
print(pickle.dumps(SymmetryError((0, 1), 0.5)).hex())
""")
    run(
        """
import pickle
import shm_echo.mechestim.errors as real
assert type(pickle.loads(bytes.fromhex(sys.argv[1]))) is real.SymmetryError
assert "mechestim" not in sys.modules
""",
        pickled.strip(),
    )


def test_sources_are_found_by_the_alias() -> None:
    run("""
import inspect
import mechestim
from mechestim import errors
assert inspect.getsource(errors.MechEstimError).startswith("class MechEstimError")
assert inspect.getsource(mechestim) and inspect.getsource(errors).startswith('"'*3)
assert inspect.getmodule(errors.MechEstimError) is errors
assert inspect.getsourcefile(errors).endswith("shm_echo/mechestim/errors.py")
""")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_and_parent_raise_the_same_classes(method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(f"""
import multiprocessing
import mechestim.errors

def work(kind):
    import shm_echo.mechestim.errors as real
    assert kind is real.BudgetExhaustedError is mechestim.errors.BudgetExhaustedError
    raise kind("exp", flop_cost=3, flops_remaining=2)

if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        try:
            pool.apply(work, (mechestim.errors.BudgetExhaustedError,))
        except mechestim.errors.BudgetExhaustedError as error:
            print(error.op_name, error.flop_cost, error.flops_remaining)
        pool.close()
        pool.join()
""")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "exp 3 2\n", "")
