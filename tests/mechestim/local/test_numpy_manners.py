"""Counted arrays behave as NumPy's where being a subclass, or a 0-d array, could show."""

from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest

import shm_echo.mechestim as me
from tests.mechestim.backend_mode import LOCAL


def test_an_array_is_resized_in_place() -> None:
    x = me.eye(3)
    x.resize((4, 5))
    assert x.shape == (4, 5)
    assert x.ravel()[:9].tolist() == np.eye(3).ravel().tolist()
    assert not x.ravel()[9:].any()
    x.resize(2000)  # larger than the bytes that NumPy copies instead of taking them over
    x[0] = 7.0
    x.resize(2, refcheck=True)
    assert x.tolist() == [7.0, 0.0]


def test_an_array_that_other_arrays_reference_is_not_resized() -> None:
    x = me.arange(6)
    other = x
    with pytest.raises(ValueError, match="referenced"):
        x.resize(9)
    del other
    view = x[1:]
    with pytest.raises(ValueError, match="referenced"):
        x.resize(9)
    with pytest.raises(ValueError, match="does not own its data"):
        view.resize(9)
    del view
    if LOCAL:  # a client's is a copy
        plain = np.asarray(x)
        with pytest.raises(ValueError, match="referenced"):
            x.resize(9)
        assert plain.tolist() == x.tolist()
    x.resize(9, refcheck=False)
    assert x.tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 0]


def test_a_scalar_is_not_resized() -> None:
    total = me.arange(3).sum()
    with pytest.raises(ValueError, match="resize"):
        total.resize(5)
    assert total == 3


@pytest.mark.local_only("memory")
def test_the_size_of_an_array_includes_its_elements() -> None:
    assert sys.getsizeof(me.zeros(1000)) > 8000
    assert sys.getsizeof(me.zeros(1000)[...]) < 1000


@pytest.mark.local_only("memory")
def test_pickle_sends_the_elements_out_of_band() -> None:
    for x in (me.arange(1000.0), me.asfortranarray(me.ones((20, 30)))):
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(x, protocol=5, buffer_callback=buffers.append)
        assert len(buffers) == 1
        assert len(data) < 1000
        again = pickle.loads(data, buffers=buffers)
        assert type(again) is me.ndarray
        assert np.shares_memory(again, x)
        assert again.flags.f_contiguous == x.flags.f_contiguous


def test_a_0d_result_is_a_scalar_to_numpy() -> None:
    total = me.arange(3.0).sum()
    assert me.isscalar(total)
    assert me.piecewise(me.array(4), me.array(4) > 3, [4, 0]) == 4
    with pytest.raises(TypeError):
        me.add(1.0, 2.0, out=total)
    assert total == 3.0


def test_integer_overflow_of_scalars_warns_as_in_numpy() -> None:
    with pytest.warns(RuntimeWarning, match="overflow encountered in scalar multiply"):
        me.array([2**62])[0] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (me.array([2**62]) * 4).tolist() == [0]


def test_flat_is_an_iterator() -> None:
    x = me.array([[1, 2], [3, 4]])
    flat = x.flat
    assert next(flat) == 1
    assert (flat.index, flat.coords, len(flat)) == (1, (0, 1), 4)
    assert list(flat) == [2, 3, 4]
    with pytest.raises(TypeError):
        del x.flat[0]


def test_writing_to_flat_with_an_empty_index_is_an_error() -> None:
    x = me.array([[1, 2], [3, 4]])
    with pytest.raises(IndexError, match="0-D index is not supported"):
        x.flat[()] = 5
    assert x.tolist() == [[1, 2], [3, 4]]


@pytest.mark.local_only("objects")
def test_flat_gives_the_objects_of_an_array_themselves() -> None:
    thing = object()
    assert list(me.array([thing, None], dtype=object).flat) == [thing, None]


@pytest.mark.local_only("objects")
def test_vectorize_keeps_the_arrays_that_its_function_returns() -> None:
    y = me.arange(3)
    assert me.vectorize(lambda x: y, otypes=[object])([None]).item() is y


def test_a_warning_of_our_own_names_the_users_line() -> None:
    me.configure(check_nan_inf=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", me.MechEstimWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            me.log(me.array([-1.0]))
    finally:
        me.configure(check_nan_inf=False)
    assert [(one.category, one.filename) for one in caught] == [(me.MechEstimWarning, __file__)]


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "25s"])
@pytest.mark.parametrize("kind", ["M8", "m8"])
def test_dates_and_durations_are_pythons_own_in_lists_and_items(kind: str, unit: str) -> None:
    for numbers in (
        [1, 7],
        [-3, 10**6],
        [2**62, -(2**63)],
    ):  # beyond the years of datetime, and NaT
        theirs = np.array(numbers, "i8").view(f"{kind}[{unit}]")
        ours = me.array(numbers, dtype="i8").view(f"{kind}[{unit}]")
        assert repr(ours.tolist()) == repr(theirs.tolist())
        assert repr(ours.reshape(1, 2).tolist()) == repr(theirs.reshape(1, 2).tolist())
        assert repr(ours.item(0)) == repr(theirs.item(0))
        assert repr(ours[1].item()) == repr(theirs[1].item())
