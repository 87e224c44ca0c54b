"""A 0-d result behaves like the scalar that NumPy returns, and counts."""

from __future__ import annotations

import copy
import json
import math
import operator
import pickle
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mechestim as me
from tests.mechestim.backend_mode import LOCAL, same_class

VALUES = {
    "bool": (True, False),
    "int8": (-7, 0, 100),
    "int64": (-7, 0, 2**53 + 1),
    "uint8": (0, 250),
    "float16": (2.5, -0.0),
    "float32": (0.1, -3.75),
    "float64": (0.1, -2.5, 1e300, float("inf")),
    "complex64": (1 + 2j,),
    "complex128": (1 - 2j, 0j),
}
PAIRS = [(dtype, value) for dtype, each in VALUES.items() for value in each]
NUMBERS = [(dtype, value) for dtype, value in PAIRS if "complex" not in dtype]


def scalar(dtype: str, value: Any) -> tuple[Any, Any]:
    """Return the maximum of one element (for complex, the element) in NumPy and in mechestim."""
    plain = np.array([value], dtype=dtype)
    counted = me.array([value], dtype=dtype)
    return plain[0], counted[0]


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (np.generic, np.ndarray)):
        assert isinstance(ours, me.ndarray)
        assert ours.dtype == theirs.dtype
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
    else:
        assert type(ours) is type(theirs)
        assert repr(ours) == repr(theirs)


def agree(ask: Callable[[Any], Any], dtype: str, value: Any) -> None:
    """Assert that `ask` gives the same result or error for both scalars."""
    plain, counted = scalar(dtype, value)
    try:
        right = ask(plain)
    except Exception as error:
        with pytest.raises(Exception, match=".") as caught:
            ask(counted)
        assert same_class(type(caught.value), type(error))
        assert str(caught.value).replace("ndarray", "scalar") == str(error).replace(
            "ndarray", "scalar"
        ) or type(error) in (TypeError, AttributeError)
    else:
        same(ask(counted), right)


QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "hash": hash,
    "bool": bool,
    "float": float,
    "int": int,
    "complex": complex,
    "index": operator.index,
    "round": round,
    "round to 1": lambda x: round(x, 1),
    "round to -1": lambda x: round(x, -1),
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "sqrt of abs": lambda x: math.sqrt(abs(x)),
    "isfinite": math.isfinite,
    "hypot": lambda x: math.hypot(x, 1.0),
    "len": len,
    "iter": iter,
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "tobytes": lambda x: x.tobytes(),
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": lambda x: x.size,
    "nbytes": lambda x: x.nbytes,
    "itemsize": lambda x: x.itemsize,
    "strides": lambda x: x.strides,
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
    "conj": lambda x: x.conj(),
    "T": lambda x: x.T,
    "reshape": lambda x: x.reshape(1),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "astype": lambda x: x.astype("float32"),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(),
    "all": lambda x: x.all(),
    "cumsum": lambda x: x.cumsum(),
    "squeeze": lambda x: x.squeeze(),
    "view": lambda x: x.view(x.dtype),
    "getitem ()": lambda x: x[()],
    "getitem ...": lambda x: x[...],
    "getitem None": lambda x: x[None],
    "getitem 0": lambda x: x[0],
    "setitem": lambda x: operator.setitem(x, (), 1),
    "is_integer": lambda x: x.is_integer(),
    "as_integer_ratio": lambda x: x.as_integer_ratio(),
    "bit_count": lambda x: x.bit_count(),
    "hex": lambda x: x.hex(),
    "format": lambda x: f"{x}",
    "format .3f": lambda x: f"{x:.3f}",
    "format >10": lambda x: f"{x:>10}",
    "format d": lambda x: f"{x:d}",
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "abs": abs,
    "add": lambda x: x + 1,
    "radd": lambda x: 1 + x,
    "mul": lambda x: x * 2.5,
    "pow": lambda x: x**2,
    "rpow": lambda x: 2**x if abs(x) < 100 else 0,
    "pow with modulus": lambda x: pow(x, 2, 5),
    "sub": lambda x: x - np.float32(1),
    "truediv": lambda x: x / 4,
    "floordiv": lambda x: x // 2,
    "mod": lambda x: x % 3,
    "divmod": lambda x: divmod(x, 3)[1],
    "lshift": lambda x: x << 1,
    "and": lambda x: x & 3,
    "lt": lambda x: x < 1,
    "ge": lambda x: x >= 1.5,
    "eq": lambda x: x == 0,
    "eq text": lambda x: x == "text",
    "eq None": lambda x: x == None,  # noqa: E711
    "ne None": lambda x: x != None,  # noqa: E711
    "in tuple": lambda x: x in (0, 100, True),
    "as dict key": lambda x: {x: "found"}.get(x.item()),
    "in set": lambda x: x in {x.item()},
    "range": lambda x: list(range(x)) if abs(x) < 1000 else None,
    "list index": lambda x: ["a", "b"][x],
    "repeat": lambda x: "ab" * x if abs(x) < 1000 else None,
    "json of item": lambda x: json.dumps(x.item()),
    "sum()": lambda x: sum([x, x]),
    "max()": lambda x: max(x, 1),
    "sorted": lambda x: sorted([x, 1])[0],
    "isinstance float": lambda x: isinstance(x.item(), float),
    "fmean": lambda x: statistics.fmean([x, 1]),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "array of": lambda x: np.array([x, x]).tobytes(),
    "asarray": lambda x: np.asarray(x).tobytes(),
    "dtype.type": lambda x: x.dtype.type(x).tobytes(),
    "no such attribute": lambda x: x.nonsense,
}
if LOCAL:  # a client's has a buffer from Python 3.12 on
    QUESTIONS["memoryview"] = lambda x: memoryview(x).tobytes()


# NumPy's complex scalars drop their imaginary part here, with a warning; counted ones raise.
_REAL = frozenset({"float", "int", "isfinite", "hypot", "fmean", "floor", "ceil", "trunc"})
# NumPy 2.0 still takes its booleans for integers here.
_NO_BOOL = frozenset({"index", "range", "list index"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_a_scalar_behaves_as_numpys(question: str) -> None:
    for dtype, value in NUMBERS if question in _REAL else PAIRS:
        if dtype == "bool" and question in _NO_BOOL:
            continue
        agree(QUESTIONS[question], dtype, value)


@pytest.mark.parametrize(("dtype", "value"), PAIRS)
def test_a_scalar_is_a_counted_array(dtype: str, value: Any) -> None:
    plain, counted = scalar(dtype, value)
    assert isinstance(counted, me.ndarray)
    assert counted.shape == ()
    assert type(counted.item()) is type(plain.item())


def test_reductions_indexing_and_operators_give_scalars() -> None:
    x = me.array([[1.0, 2.0], [3.0, 4.0]])
    result = {
        "sum": x.sum(),
        "me.sum": me.sum(x),
        "np.sum": np.sum(x),
        "index": x[0, 1],
        "row sum": x.sum(axis=0)[1],
        "scalar + scalar": x[0, 0] + x[0, 1],
        "scalar * number": x[0, 0] * 2,
        "dot": x[0] @ x[1],
        "exp": me.exp(x[0, 0]),
        "norm": me.linalg.norm(x),
        "det": me.linalg.det(x),
        "of a 0-d array": me.exp(me.array(1.0)),
        "iteration": next(iter(x[0])),
        "flat": next(iter(x.flat)),
        "random": me.random.rand(3)[0],
    }
    for what, one in result.items():
        assert isinstance(one, me.ndarray), what
        assert isinstance(hash(one), int), what
        assert repr(one).startswith("np.float64("), what


def test_a_0d_array_is_no_scalar() -> None:
    result = me.array(2.5)
    assert isinstance(result, me.ndarray)
    with pytest.raises(TypeError, match="unhashable"):
        hash(result)
    result[()] = 3.0
    assert float(result) == 3.0
    result += 1.0
    assert float(result) == 4.0


def test_a_scalar_cannot_be_changed() -> None:
    one = me.array([1.0, 2.0])[0]
    kept = one
    with pytest.raises(TypeError, match="does not support item assignment"):
        one[()] = 5.0
    one += 1.0
    assert (float(one), float(kept)) == (2.0, 1.0)
    assert one is not kept


def test_scalars_work_where_python_wants_numbers() -> None:
    n = me.array([3, 5]).max()
    assert list(range(n)) == [0, 1, 2, 3, 4]
    assert "abcdefgh"[n] == "f"
    assert [0] * n == [0] * 5
    assert me.zeros(n).shape == (5,)
    assert me.zeros((2, n)).shape == (2, 5)
    assert np.zeros(n).shape == (5,)
    assert math.factorial(n) == 120
    assert {n: 1}[5] == 1
    assert {5: 1}[n] == 1
    assert n in {5}
    x = me.array([0.5])[0]
    assert math.sin(x) == math.sin(0.5)
    assert f"{x:.2%}" == "50.00%"
    assert round(me.array([2.5])[0]) == 2
    assert isinstance(round(me.array([2.5])[0]), int)
    assert math.isclose(x, 0.5)
    assert json.dumps({"loss": x.item()}) == '{"loss": 0.5}'


def test_arithmetic_of_scalars_is_charged_and_inspection_is_free() -> None:
    x = me.array([1.5, 2.5])
    with me.BudgetContext(100, quiet=True) as books:
        one = x[0]
        text = f"{one} {one!r} {one:.1f}"
        assert text == "1.5 np.float64(1.5) 1.5"
        assert (float(one), int(one), bool(one), hash(one)) == (1.5, 1, True, hash(1.5))
        assert math.floor(one) == 1
        assert one.item() == 1.5
        copy.deepcopy(one)
        pickle.dumps(one)
        assert books.flops_used == 0
        one + 1
        assert books.flops_used == 1
        assert -one < 2  # two operations
        assert books.flops_used == 3
        me.exp(one)
        np.exp(one)
        one**2
        assert books.flops_used == 6


def test_comparisons_of_scalars_decide_branches() -> None:
    x = me.array([1.0, float("nan")])
    assert x[0] == 1.0
    assert x[1] != x[1]
    assert (x[0] if x[0] > 0 else None) is not None
    assert max(x[0], me.array([3.0])[0]) == 3.0
    assert sorted([x[0], me.array([0.5])[0]])[0] == 0.5
