"""Arrays stay counted through views, copies and pickles; inspecting is free, writing is not."""

from __future__ import annotations

import copy
import io
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mechestim as me
from tests.mechestim.backend_mode import LOCAL

DATA = np.arange(12.0).reshape(3, 4) - 4.0

VIEWS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda x: x[1:],
    "step": lambda x: x[:, ::2],
    "reversed": lambda x: x[::-1],
    "row": lambda x: x[0],
    "ellipsis": lambda x: x[..., 0],
    "new axis": lambda x: x[:, None],
    "transpose": lambda x: x.transpose(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "reshape": lambda x: x.reshape(4, 3),
    "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x.squeeze(),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "diagonal": lambda x: x.diagonal(),
    "view": lambda x: x.view(),
    "view of another type": lambda x: x.view("int64"),
    "np.transpose": np.transpose,
    "np.broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "np.atleast_3d": np.atleast_3d,
    "np.moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "np.flip": np.flip,
    "np.expand_dims": lambda x: np.expand_dims(x, 0),
    "np.split": lambda x: np.split(x, 3)[1],
    "row of an iteration": lambda x: list(x)[1],
    "getfield": lambda x: x.getfield("float64"),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": lambda x: x.copy(),
    "flatten": lambda x: x.flatten(),
    "astype": lambda x: x.astype("float32"),
    "byteswap": lambda x: x.byteswap(),
    "fancy": lambda x: x[[0, 2]],
    "mask": lambda x: x[np.array([True, False, True])],
    "take": lambda x: x.take([0, 1]),
    "repeat": lambda x: x.repeat(2),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 5": lambda x: pickle.loads(pickle.dumps(x, protocol=5)),
    "deepcopy of a container": lambda x: copy.deepcopy({"w": [x]})["w"][0],
    "np.copy": np.copy,
    "np.concatenate": lambda x: np.concatenate([x, x]),
    "np.tile": lambda x: np.tile(x, 2),
    "compress": lambda x: x.compress([True, False, True], axis=0),
    "np.zeros_like": np.zeros_like,
}
LOOKS: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "format": lambda x: f"{x}",
    "print": lambda x: print(x, file=io.StringIO()),
    "tolist": lambda x: x.tolist(),
    "tobytes": lambda x: x.tobytes(),
    "item": lambda x: x.item(3),
    "len": len,
    "shape": lambda x: (x.shape, x.ndim, x.size, x.dtype, x.strides, x.nbytes, x.itemsize),
    "flags": lambda x: x.flags.c_contiguous,
    "iteration": lambda x: list(x),
    "unpacking": lambda x: (lambda a, b, c: None)(*x),
    "flat": lambda x: list(x.flat),
    "np.array2string": np.array2string,
    "np.array_repr": np.array_repr,
    "np.array_str": np.array_str,
    "np.shape": np.shape,
    "np.ndim": np.ndim,
    "np.shares_memory": lambda x: np.shares_memory(x, x),
    "np.isnan": np.isnan,
    "dump": lambda x: x.dumps(),
    "buffer": bytes,
    "hash of id": id,
    "setflags": lambda x: x.setflags(write=True),
    "ndenumerate": lambda x: list(me.ndenumerate(x)),
    "big summary": lambda x: repr(me.zeros((100, 100))),
    "base": lambda x: x[1:].base,
}


if (
    LOCAL
):  # a client's functions of NumPy are those that the server knows, its buffers Python 3.12's
    VIEWS["sliding_window_view"] = lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1)
    LOOKS["memoryview"] = lambda x: memoryview(x).tolist()


@pytest.fixture
def x() -> Any:
    return me.array(DATA)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_view_is_a_counted_array_of_the_same_memory_and_free(name: str, x: Any) -> None:
    with me.BudgetContext(1, quiet=True) as books:
        view = VIEWS[name](x)
    assert books.flops_used == 0
    assert isinstance(view, me.ndarray)
    assert me.shares_memory(view, x)
    plain = VIEWS[name](DATA)
    assert (view.shape, view.strides, view.dtype) == (plain.shape, plain.strides, plain.dtype)
    with me.BudgetContext(10**6, quiet=True) as books:
        np.negative(view)
    assert books.flops_used == view.size


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_copy_is_a_counted_array_of_its_own_memory_and_free(name: str, x: Any) -> None:
    with me.BudgetContext(1, quiet=True) as books:
        result = COPIES[name](x)
    assert books.flops_used == 0
    assert isinstance(result, me.ndarray)
    assert type(result) is type(x)
    plain = COPIES[name](DATA)
    assert not np.shares_memory(np.asarray(result), np.asarray(x))
    assert (result.shape, result.dtype) == (plain.shape, plain.dtype)
    assert np.asarray(result).tobytes() == plain.tobytes()
    with me.BudgetContext(10**6, quiet=True) as books:
        result + result
    assert books.flops_used == result.size


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_inspecting_an_array_is_free(name: str, x: Any) -> None:
    with me.BudgetContext(1, quiet=True) as books:
        books.deduct("spent before", flop_cost=1)
        seen = LOOKS[name](x)
        assert books.flops_used == 1
    if name in ("repr", "str", "format", "tolist", "tobytes", "len", "np.array2string"):
        assert seen == LOOKS[name](DATA)


def test_parts_of_an_array_keep_their_class(x: Any) -> None:
    assert [type(row) for row in x] == [type(x)] * 3
    assert all(isinstance(one, me.ndarray) for one in x.flat)
    assert all(isinstance(one, me.ndarray) for one in x[0])
    assert isinstance(x.flat[3], me.ndarray)
    assert isinstance(x.flat[1:3], me.ndarray)
    assert isinstance(np.nditer(x).value, np.ndarray)


def test_reductions_and_functions_of_numpy_stay_counted(x: Any) -> None:
    for result in (
        np.exp(x),
        np.sum(x, axis=0),
        np.sum(x),
        np.linalg.norm(x, axis=1),
        np.add.reduce(x),
        np.add.accumulate(x),
        np.add.outer(x, x),
        np.add.reduceat(x, [0, 1]),
        np.concatenate([x, DATA]),
        np.where(x > 0, x, 0.0),
        np.fft.fft(x),
        np.einsum("ij->ji", x),
        np.einsum("ij,kj->ik", x, x),
        np.matmul(x, x.T),
        DATA @ x.T,
        DATA + x,
        x + DATA,
        2.0 - x,
        [[1.0] * 4] * 3 + x,
        np.float64(2) * x,
        np.percentile(x, 30, axis=0),
        np.frexp(x)[0],
        divmod(x, 2.0)[1],
        np.nonzero(x)[0],
        np.linalg.svd(x).S,
        np.unique(x, return_counts=True)[1],
        np.histogram(x)[0],
    ):
        assert isinstance(result, me.ndarray)


# Membership, equality, truth ----


def test_membership_compares_every_element_and_is_charged(x: Any) -> None:
    with me.BudgetContext(1000, quiet=True) as books:
        assert -4.0 in x
        assert 99.0 not in x
    assert books.flops_used > 0


def test_the_truth_of_an_array_is_numpys(x: Any) -> None:
    with pytest.raises(ValueError, match="truth value of an array"):
        bool(x)
    assert bool(me.array([1.0]))
    assert not bool(me.array(0.0))
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


# Writing ----

MASK = DATA > 0
WRITES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "one element": (lambda x: operator.setitem(x, (0, 1), 9.0), 1),
    "a row": (lambda x: operator.setitem(x, 1, 9.0), 4),
    "a slice": (lambda x: operator.setitem(x, (slice(None), slice(1, 3)), 9.0), 6),
    "everything": (lambda x: operator.setitem(x, ..., 9.0), 12),
    "rows by index": (lambda x: operator.setitem(x, [0, 2, 0], 9.0), 12),
    "elements by index": (lambda x: operator.setitem(x, ([0, 1], [2, 3]), 9.0), 2),
    "a mask": (lambda x: operator.setitem(x, MASK, 9.0), 12),
    "a mask of ours": (lambda x: operator.setitem(x, me.array(MASK), 9.0), 12),
    "a mask of rows": (lambda x: operator.setitem(x, [True, False, False], 9.0), 12),
    "nothing": (lambda x: operator.setitem(x, slice(0, 0), 9.0), 1),
    "fill": (lambda x: x.fill(3.0), 12),
    "put": (lambda x: x.put([0, 5], [1.0, 2.0]), 2),
    "np.put": (lambda x: np.put(x, [0, 5], 1.0), 2),
    "np.place": (lambda x: np.place(x, MASK, [7.0]), 12),
    "np.putmask": (lambda x: np.putmask(x, MASK, 7.0), 12),
    "np.copyto": (lambda x: np.copyto(x, 7.0), 12),
    "np.copyto of ours into plain": (lambda x: np.copyto(DATA.copy(), x), 12),
    "np.fill_diagonal": (lambda x: np.fill_diagonal(x, 7.0), 3),
    "np.put_along_axis": (lambda x: np.put_along_axis(x, np.array([[1], [0], [2]]), 7.0, 1), 3),
    "flat": (lambda x: operator.setitem(x.flat, 5, 7.0), 1),
    "flat, all": (lambda x: setattr(x, "flat", 7.0), 12),
    "flat, a slice": (lambda x: operator.setitem(x.flat, slice(2, 6), 7.0), 4),
    "real": (lambda x: setattr(x, "real", 7.0), 12),
    "+=": (lambda x: operator.iadd(x, 1.0), 12),
    "+= into a view": (lambda x: operator.iadd(x[1:], 1.0), 8),
    "x[0] += 1": (lambda x: operator.setitem(x, 0, x[0] + 1.0), 8),
    "out=": (lambda x: np.negative(x, out=x), 12),
    "ufunc.at": (lambda x: np.add.at(x, [0, 0, 1], 1.0), 12),
    "sort": (lambda x: x.sort(), 3 * 4 * 2),
    "partition": (lambda x: x.partition(1), 12),
}


@pytest.mark.parametrize("name", sorted(WRITES))
def test_writing_costs_as_many_flops_as_elements_are_named(name: str, x: Any) -> None:
    write, cost = WRITES[name]
    plain = DATA.copy()
    write(plain)
    with me.BudgetContext(1000, quiet=True) as books:
        write(x)
    assert books.flops_used == cost
    assert np.asarray(x).tobytes() == plain.tobytes()


@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_write_that_does_not_fit_the_budget_writes_nothing(name: str, x: Any) -> None:
    write, cost = WRITES[name]
    with me.BudgetContext(cost, quiet=True) as books:
        books.deduct("spent before", flop_cost=1)
        with pytest.raises(me.BudgetExhaustedError):
            write(x)
            write(x)  # of two charges, the first may fit
    assert books.flops_used <= cost
    if "[0] += " not in name:
        assert np.asarray(x).tobytes() == DATA.tobytes()


@pytest.mark.parametrize("kind", ["all false", "all true"])
def test_a_mask_costs_its_own_size_for_any_values(kind: str, x: Any) -> None:
    mask = np.full(DATA.shape, kind == "all true")
    with me.BudgetContext(1000, quiet=True) as books:
        x[mask] = 1.0
        x[me.array(mask)] += 1.0  # reading is free; the sum costs what was read
    assert (
        books.summary_dict()["operations"]["ndarray.__setitem__"]
        == {
            "flop_cost": 24,
            "flops": 24,
            "calls": 2,
        }
        or books.summary_dict()["operations"]["ndarray.__setitem__"]["flop_cost"] == 24
    )


# In place on plain arrays ----


def test_adding_in_place_to_a_plain_array_keeps_its_identity(x: Any) -> None:
    for write in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow):
        plain = np.abs(DATA) + 1.0
        kept, other = plain, np.abs(x) + 1.0
        right = write(plain.copy(), np.abs(DATA) + 1.0)
        with me.BudgetContext(1000, quiet=True) as books:
            plain = write(plain, other)
        assert plain is kept
        assert type(plain) is np.ndarray
        assert books.flops_used == 12
        assert np.array_equal(plain, right)


def test_out_is_returned_itself_plain_or_counted(x: Any) -> None:
    plain, ours = np.empty_like(DATA), me.zeros((3, 4))
    for out in (plain, ours):
        assert me.exp(x, out=out) is out
        assert np.exp(x, out=out) is out
        assert np.exp(DATA, out=out) is out
        assert np.add.reduce(x, axis=0, out=out[0]).shape == (4,)
        assert me.add(x, 1.0, out) is out
        assert me.clip(x, 0, 1, out=out) is out
        row = out[0]
        assert me.sum(x, axis=0, out=row) is row
        assert x.sum(axis=0, out=row) is row
        assert me.cumsum(x, axis=0, out=out) is out


def test_plain_arrays_come_back_counted_except_as_out(x: Any) -> None:
    plain = DATA.copy()
    for result in (
        me.asarray(plain),
        me.asarray(a=plain),
        me.asanyarray(plain),
        me.ascontiguousarray(plain),
        me.require(plain),
        me.atleast_1d(plain),
        me.atleast_2d(x, plain)[1],
        me.broadcast_arrays(plain, plain)[0],
        me.ravel(plain),
        me.nan_to_num(plain, copy=False),
        me.squeeze(plain),
        me.meshgrid(plain[0], plain[0])[0],
        me.split(plain, 3)[0],
    ):
        assert isinstance(result, me.ndarray)
    first, second = np.empty_like(plain), np.empty_like(plain)
    for given in ({"out": (first, second)}, {}):
        positional = () if given else (first, second)
        for result in (
            me.divmod(x, 2.0, *positional, **given),
            np.divmod(x, 2.0, *positional, **given),
            me.modf(plain, *positional, **given),
        ):
            assert result[0] is first
            assert result[1] is second


def test_operators_defer_to_types_with_their_own_arithmetic(x: Any) -> None:
    class Unit:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> str:
            return "mine"

        def __rmatmul__(self, other: Any) -> str:
            return "mine too"

        def __rdivmod__(self, other: Any) -> str:
            return "all mine"

    class Quantity:
        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> str:
            return f"{ufunc.__name__} by the quantity"

    with me.BudgetContext(10, quiet=True) as books:
        assert x + Unit() == "mine"
        assert x @ Unit() == "mine too"
        assert divmod(x, Unit()) == "all mine"
        assert x + Quantity() == "add by the quantity"
        assert np.add(x, Quantity()) == "add by the quantity"
    assert books.flops_used == 0
