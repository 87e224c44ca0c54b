"""The functions of NumPy that compute without calling a hook are pinned: a new one is noticed.

`docs/reference/not-counted.md` lists them; the functions that are free or take no array are pinned
here. The verdicts are those of one minor release of NumPy, and are reviewed with each new one.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.local.functions import twin
from tests.mechestim.parity.crawl import (
    functions,
    verdict_on_function,
    verdict_on_member,
    verdict_on_plain_method,
)
from tests.support.scripts import ROOT

pytestmark = pytest.mark.local_only("numpy functions")

PINNED_WITH = "2.4"
PAGE = (ROOT / "docs/reference/not-counted.md").read_text()

pinned = pytest.mark.skipif(
    not np.__version__.startswith(f"{PINNED_WITH}."),
    reason=f"the list is that of NumPy {PINNED_WITH}, this is {np.__version__}",
)

# The first column of the tables: "np.asarray(x)", "plain.dot(x)", "x.base".
_LISTED = re.findall(r"`(\w+)\.(\w+)", "\n".join(re.findall(r"^\| (.*?) \|", PAGE, re.M)))
OPEN_FUNCTIONS = {name for owner, name in _LISTED if owner == "np"} - {"random"}
OPEN_PLAIN_METHODS = {name for owner, name in _LISTED if owner == "plain"}
WAYS_OUT = {name for owner, name in _LISTED if owner == "x"}

# Not charged, and no operation of the registry: they return a shape, a type or a text.
FREE_FUNCTIONS = frozenset(
    [
        "array2string",
        "array_repr",
        "array_str",
        "format_float_positional",
        "format_float_scientific",
        "row_stack",
    ]
)
# Accept no array of numbers: they take sizes, types, texts or functions, or are classes.
DEAF_FUNCTIONS = frozenset(
    [
        "binary_repr",
        "datetime_as_string",
        "datetime_data",
        "dtype",
        "eye",
        "finfo",
        "flatiter",
        "fromfunction",
        "frompyfunc",
        "fromstring",
        "full",
        "get_printoptions",
        "getbufsize",
        "geterr",
        "geterrcall",
        "identity",
        "iinfo",
        "isdtype",
        "isnat",
        "issubdtype",
        "kaiser",
        "mask_indices",
        "ndindex",
        "nested_iters",
        "promote_types",
        "recarray",
        "typename",
        "ufunc",
        "vectorize",
        "linalg.tensorinv",
    ]
)
# Attributes and methods that move, show or describe the data. The arrays they return are counted.
FREE_MEMBERS = frozenset(
    [
        "T",
        "mT",
        "__array_finalize__",
        "__array_interface__",
        "__array_namespace__",
        "__array_priority__",
        "__array_struct__",
        "__array_wrap__",
        "__bool__",
        "__class__",
        "__class_getitem__",
        "__complex__",
        "__copy__",
        "__deepcopy__",
        "__dir__",
        "__dlpack__",
        "__dlpack_device__",
        "__doc__",
        "__float__",
        "__getitem__",
        "__getstate__",
        "__hash__",
        "__init__",
        "__init_subclass__",
        "__int__",
        "__iter__",
        "__len__",
        "__reduce__",
        "__repr__",
        "__sizeof__",
        "__str__",
        "astype",
        "byteswap",
        "choose",
        "compress",
        "copy",
        "ctypes",
        "data",
        "device",
        "diagonal",
        "dtype",
        "dumps",
        "flags",
        "flat",
        "flatten",
        "getfield",
        "item",
        "itemsize",
        "nbytes",
        "ndim",
        "nonzero",
        "ravel",
        "repeat",
        "reshape",
        "resize",
        "setflags",
        "shape",
        "size",
        "squeeze",
        "strides",
        "swapaxes",
        "take",
        "tobytes",
        "tolist",
        "transpose",
        "view",
        "__buffer__",
        "__release_buffer__",
    ]
)
# Called by the interpreter or by NumPy with arguments of their own.
DEAF_MEMBERS = frozenset(
    [
        "__array_function__",
        "__array_ufunc__",
        "__delattr__",
        "__delitem__",
        "__format__",
        "__getattribute__",
        "__index__",
        "__new__",
        "__reduce_ex__",
        "__setattr__",
        "__setstate__",
        "__subclasshook__",
        "to_device",
        "__buffer__",
        "__release_buffer__",
        "__static_attributes__",
        "__firstlineno__",
    ]
)
_FILES = ("dump", "tofile")
# A plain array does nothing of its own with the values: a modulus, a memo, a flag.
IDLE_PLAIN_METHODS = frozenset(
    [
        "__ipow__",
        "__deepcopy__",
        "byteswap",
        "__array_wrap__",
        "__array_finalize__",
        "__class_getitem__",
        "__init__",
        "__reduce__",
        "setflags",
        "__init_subclass__",
    ]
)


@pinned
def test_every_function_of_numpy_is_counted_free_refused_or_listed_as_not_counted() -> None:
    verdicts = {name: verdict_on_function(name, function) for name, function in functions()}
    mine = {name: v for name, v in verdicts.items() if not name.startswith("random.")}
    found = {
        verdict: {name for name, v in mine.items() if v == verdict}
        for verdict in set(mine.values())
    }
    assert found["open"] == OPEN_FUNCTIONS
    assert found["deaf"] == DEAF_FUNCTIONS
    by_name = dict(functions())
    assert {name for name in found["free"] if twin(by_name[name]) is None} == FREE_FUNCTIONS
    assert "refused" not in found
    assert len(found["counted"]) > 200


@pinned
def test_every_member_of_ndarray_is_counted_free_or_listed_as_not_counted() -> None:
    verdicts = {name: verdict_on_member(name) for name in dir(np.ndarray) if name not in _FILES}
    found = {
        verdict: {name for name, v in verdicts.items() if v == verdict}
        for verdict in set(verdicts.values())
    }
    assert found["open"] == {"__array__", "base"}
    assert found["open"] <= WAYS_OUT
    assert found["free"] <= FREE_MEMBERS
    assert found["deaf"] <= DEAF_MEMBERS
    assert "refused" not in found
    assert len(found["counted"]) > 75


@pinned
def test_every_method_of_a_plain_array_is_hooked_or_listed_as_not_counted() -> None:
    verdicts = {
        name: verdict_on_plain_method(name) for name in dir(np.ndarray) if name not in _FILES
    }
    silent = {name for name, verdict in verdicts.items() if verdict in ("open", "free")}
    assert silent - IDLE_PLAIN_METHODS == OPEN_PLAIN_METHODS


@pinned
def test_numpys_own_random_numbers_are_not_counted() -> None:
    scale = me.array([1.0, 2.0])
    with me.BudgetContext(100, quiet=True) as books:
        result = (
            np.random.default_rng(0).normal(scale),
            np.random.normal(scale),
            np.random.rand(2),
        )
        assert all(type(one) is np.ndarray for one in result)
        assert books.flops_used == 0
        assert isinstance(me.random.normal(scale), me.ndarray)
        assert books.flops_used == 2


# The page has a sentence on each. `p` is a plain array, `x` a counted one.
OPEN_EXPRESSIONS = (
    "np.lib.stride_tricks.as_strided(x)",
    "np.rec.array(x)",
    "np.polynomial.polynomial.polyval(2.0, x)",
    "np.sum([x, x])",
    "np.add([x, x], 1)",
    "np.fft.fft([x, x])",
    "np.linalg.det([[x[0], x[1]], [x[1], x[0]]])",
    "np.roll(p, me.array(1))",
    "np.ndarray.dot(x, x)",
    "x.view(np.ndarray)",
    "np.array([x[0], x[1]])",
)
COUNTED_EXPRESSIONS = (
    "p + x",
    "p @ x",
    "x @ p",
    "np.dot(p, x)",
    "np.searchsorted(p, x)",
    "np.copyto(p, x)",
    "np.put(p, [0], x[0])",
    "sum(x)",
    "max(x)",
    "sorted(x)",
    "9.0 in x",
    "me.sum([x, x])",
    "np.sum(np.stack([x, x]))",
    "np.vectorize(lambda a: a + 1)(x)",
    "np.frompyfunc(lambda a: a + 1, 1, 1)(x)",
    "np.poly1d(x)(2.0)",
    "np.float64(2) * x",
    "np.ndarray.sum(x)",
)


@pinned
@pytest.mark.parametrize("expression", OPEN_EXPRESSIONS)
def test_an_expression_that_the_page_calls_not_counted_is_not(expression: str) -> None:
    with me.BudgetContext(10**6, quiet=True) as books:
        result = eval(expression, {"np": np, "me": me}, operands())
        assert isinstance(result, (np.ndarray, np.generic))
        assert not isinstance(result, me.ndarray)
    assert books.flops_used == 0


@pytest.mark.parametrize("expression", COUNTED_EXPRESSIONS)
def test_an_expression_that_the_page_calls_counted_is(expression: str) -> None:
    with me.BudgetContext(10**6, quiet=True) as books:
        eval(expression, {"np": np, "me": me}, operands())
    assert books.flops_used > 0


def operands() -> dict[str, Any]:
    return {"x": me.array([1.0, 2.0, 4.0]), "p": np.array([1.0, 2.0, 4.0])}


def test_an_unknown_numpy_function_is_refused() -> None:
    x = me.array([1.0, 2.0])
    with me.BudgetContext(100, quiet=True) as books:
        with pytest.raises(me.UnsupportedFunctionError, match="no counted twin"):
            np.lib.scimath.sqrt(x)
    assert books.flops_used == 0
