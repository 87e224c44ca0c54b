"""The names of `mechestim` and their values are the same in both modes."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

import mechestim as me
from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.registry._signatures_generated import SIGNATURES
from tests.mechestim.remote.client_script import in_a_client, run_client
from tests.mechestim.remote.server_process import RunningServer

MODULES = ("", "linalg", "fft", "random", "stats", "flops")


def names() -> dict[str, list[str]]:
    """Return every public name, by module; each of them exists."""
    found = {}
    for module in MODULES:
        holder = getattr(me, module) if module else me
        found[module] = dir(holder)
        for name in found[module]:
            getattr(holder, name)
    return found


def facts() -> list[str]:
    """Statements about the names, as text; the same program in both modes."""
    lines: list[str] = []

    def say(*values: Any) -> None:
        lines.append(" ".join(str(value) for value in values))

    f4 = me.dtype("f4")
    say(f4, repr(f4), f4.name, f4.kind, f4.itemsize, f4.str, f4.char, f4 == "float32", f4.type)
    for spec in ("?", "i1", "<u2", ">i4", "f2", "g", "c8", "U3", "S4", "V5", "M8[s]", "m8[D]", str):
        say(repr(me.dtype(spec)), me.dtype(spec), me.dtype(spec).itemsize, me.dtype(spec).kind)
    say(repr(me.dtype([("a", "f4"), ("b", "i8")])), me.dtype([("a", "f4"), ("b", "i8")]).names)
    say(me.float32(3), repr(me.float32(3)), me.float32(3).dtype, me.int8(-1), me.bool(1))
    say(me.complex64(1j), me.str_("text"), me.datetime64("2020-02-29"), me.True_, me.False_)
    say(me.ones(2).dtype == "f8", me.ones(2, dtype=me.float16).dtype == me.dtype("f2"))
    for dtype in (me.float16, "f4", me.float64, "complex64"):
        limits = me.finfo(dtype)
        say(limits.eps, limits.max, limits.min, limits.tiny, limits.bits, limits.dtype)
    for dtype in ("i1", me.uint16, "int64"):
        say(me.iinfo(dtype).min, me.iinfo(dtype).max, me.iinfo(dtype).bits)
    say(me.result_type("f4", "i8"), me.promote_types("i4", "f4"), me.can_cast("i8", "f4"))
    say(me.can_cast(me.int8, me.int16), me.issubdtype(me.float32, me.floating))
    say(me.issubdtype("U3", me.character), issubclass(me.int8, me.signedinteger))
    say(me.pi, me.e, me.inf, me.nan, me.newaxis, me.euler_gamma, me.little_endian)
    say(me.add.nin, me.add.nout, me.add.nargs, me.add.identity, me.divmod.nout, me.add.types)
    say(me.matmul.signature, isinstance(me.add, me.ufunc), isinstance(me.sum, me.ufunc))
    with me.BudgetContext(10**6, quiet=True) as budget:
        x = me.arange(6.0).reshape(2, 3)
        say(me.add.reduce(x, axis=1), me.multiply.outer(x[0], x[1]), me.add.accumulate(x[0]))
        say(me.add.reduceat(x[0], [0, 2]), me.maximum.reduce(x, axis=None, initial=9.0))
        me.add.at(x, (0, [0, 0]), 1.0)
        say(x, budget.flops_used, budget.summary_dict()["operations"])
    generator = me.random.Generator(me.random.PCG64(5))
    say(generator.normal(size=2), type(generator.bit_generator).__name__)
    me.random.set_bit_generator(me.random.MT19937(3))
    say(me.random.rand(), type(me.random.get_bit_generator()).__name__)
    say(isinstance(me.random.Philox(1), me.random.BitGenerator), me.random.RandomState(3).rand())
    for wrong in ("nothing", "int", "linalg.nothing", "random.nothing", "save", "stats.nothing"):
        holder, _, name = wrong.rpartition(".")
        try:
            getattr(getattr(me, holder) if holder else me, name)
        except AttributeError as error:
            say(type(error).__name__, error)
    return lines


def remotely(server: RunningServer, expression: str) -> Any:
    """Return the value of `expression` in a client."""
    source = "import json; from tests.mechestim.remote.api import test_names as t\n"
    done = run_client(server.url, f"{source}print(json.dumps({expression}))")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_local_name_exists_in_a_client_and_no_other(server: RunningServer) -> None:
    local = names()
    if sys.version_info >= (3, 11):
        assert len(local[""]) > 400
    found = remotely(server, "t.names()")
    newer = set(found[""]) - set(local[""])  # a client does not know the server's NumPy
    for name in newer:
        try:
            getattr(me, name)
        except UnsupportedFunctionError as error:
            assert "the installed NumPy" in str(error)
        else:
            raise AssertionError(f"{name} is not listed")
    assert {**found, "": sorted(set(found[""]) - newer)} == local


def test_the_names_are_the_same_things(server: RunningServer) -> None:
    assert remotely(server, "[line for line in t.facts() if 'type(' not in line]") == [
        line.replace("numpy.", "mechestim.") for line in facts() if "type(" not in line
    ]


@in_a_client
def test_the_backend_has_a_name() -> None:
    assert me.backend == "remote"
    assert me.__version__


@in_a_client
def test_functions_ufuncs_and_methods_show_numpys_signatures() -> None:
    names = ("add", "einsum", "linalg.svd", "fft.fft", "random.normal", "sum", "stats.norm.pdf")
    for name in names:
        function: Any = me
        for part in name.split("."):
            function = getattr(function, part)
        signature = inspect.signature(function)
        text = SIGNATURES[name]
        assert [*signature.parameters] == [
            *inspect.signature(eval(f"lambda {text[1:-1]}: 0")).parameters
        ]
        assert function.__name__ == name.rpartition(".")[2]
        assert "FLOPs" in function.__doc__
    assert [*inspect.signature(me.ndarray.sum).parameters][:3] == ["self", "axis", "dtype"]


@in_a_client
def test_every_function_has_a_signature() -> None:
    for module in MODULES:
        holder = getattr(me, module) if module else me
        for name in dir(holder):
            value = getattr(holder, name)
            if callable(value) and not isinstance(value, type):
                assert inspect.signature(value) is not None, name


@in_a_client
def test_functions_and_types_are_pickled_by_name() -> None:
    import pickle

    for value in (me.add, me.sum, me.linalg.svd, me.float32, me.ndarray, me.BudgetContext):
        assert pickle.loads(pickle.dumps(value)) is value
