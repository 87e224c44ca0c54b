"""Any index reads and writes the elements that it does in NumPy; a write costs one FLOP each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import mechestim as me
from tests.mechestim.backend_mode import LOCAL

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHAPES = nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def arrays_and_keys(draw: Any) -> tuple[Any, Any]:
    """Draw an array, and an index that NumPy may or may not accept."""
    shape = draw(SHAPES)
    data = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    if draw(st.booleans()):
        data = data.T
    part = st.one_of(
        st.integers(-5, 5),
        st.slices(4),
        st.just(None),
        st.just(Ellipsis),
        st.lists(st.integers(-3, 3), max_size=3),
        st.booleans(),
        nps.arrays("int64", nps.array_shapes(max_dims=2, max_side=3), elements=st.integers(-2, 2)),
        nps.arrays("bool", nps.array_shapes(max_dims=2, max_side=4)),
    )
    wholes = [
        part,
        st.lists(part, max_size=4).map(tuple),
        nps.basic_indices(shape),
    ]
    if shape and all(shape):
        wholes += [nps.integer_array_indices(shape), nps.arrays("bool", shape)]
    return data, draw(st.one_of(wholes))


def counted(key: Any, own: bool) -> Any:
    """Return `key`, if `own` with counted arrays in it."""
    if isinstance(key, np.ndarray):
        return me.array(key) if own else key
    if isinstance(key, tuple):
        return tuple(counted(item, own) for item in key)
    return key


@quick
@given(case=arrays_and_keys(), own=st.booleans())
def test_reading_gives_what_numpy_gives_and_is_free(case: tuple[Any, Any], own: bool) -> None:
    plain, key = case
    ours = me.asarray(plain)
    with me.BudgetContext(1, quiet=True) as books:
        try:
            right = plain[key]
        except Exception as error:
            try:
                ours[counted(key, own)]
            except type(error) as raised:
                assert str(raised) == str(error)
            else:
                raise AssertionError(f"accepted {key!r}") from error
        else:
            got = ours[counted(key, own)]
            assert isinstance(got, me.ndarray)
            assert got.shape == np.shape(right)
            assert np.asarray(got).tobytes() == np.asarray(right).tobytes()
            if isinstance(right, np.ndarray):
                if LOCAL or ours.strides == plain.strides:  # a client's are sent in C order
                    assert got.strides == right.strides
                if LOCAL or got.ndim:  # a client's 0-d results are values
                    assert me.shares_memory(got, ours) == np.shares_memory(right, plain)
    assert books.flops_used == 0


@pytest.mark.filterwarnings("ignore:Out of bound index found")  # NumPy 2.0, nothing selected
@quick
@given(case=arrays_and_keys(), own=st.booleans())
def test_writing_changes_what_numpy_changes_and_costs_the_target(
    case: tuple[Any, Any], own: bool
) -> None:
    plain, key = case
    plain = plain.copy()
    ours = me.array(plain)
    with me.BudgetContext(10**6, quiet=True) as books:
        try:
            plain[key] = -1.0
        except Exception as error:
            try:
                ours[counted(key, own)] = -1.0
            except type(error) as raised:
                assert str(raised) == str(error)
            else:
                raise AssertionError(f"accepted {key!r}") from error
            if not any(isinstance(part, np.ndarray) for part in parts(key)):
                assert books.flops_used == 0  # an array of indices is looked at on the way
        else:
            ours[counted(key, own)] = -1.0
            assert books.flops_used >= max(1, np.size(plain[key]))
            if not has_mask(key):
                assert books.flops_used == max(1, np.size(plain[key]))
    assert np.asarray(ours).tobytes() == plain.tobytes()


def parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def has_mask(key: Any) -> bool:
    if isinstance(key, tuple):
        return any(has_mask(item) for item in key)
    return isinstance(key, bool) or (isinstance(key, np.ndarray) and key.dtype == bool)


@quick
@given(shape=SHAPES, data=st.data())
def test_the_price_of_a_mask_does_not_depend_on_its_count_of_true(
    shape: tuple[int, ...], data: Any
) -> None:
    depth = data.draw(st.integers(0, len(shape)))
    masks = [data.draw(nps.arrays("bool", shape[:depth])) for _ in range(2)]
    costs = set()
    for mask in (*masks, np.zeros(shape[:depth], bool), np.ones(shape[:depth], bool)):
        ours = me.zeros(shape)
        with me.BudgetContext(10**6, quiet=True) as books:
            ours[mask] = 1.0
        costs.add(books.flops_used)
    assert costs == {max(1, int(np.prod(shape, dtype=int)))}
