"""Functions of the client that the server calls while an operation runs."""

from __future__ import annotations

from typing import Any

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client


class Mine(Exception):
    """Known to the client only."""


@in_a_client
def test_an_exception_in_a_callback_comes_out_as_itself() -> None:
    import pytest

    raised = Mine("so it goes")

    def function(row: Any) -> Any:
        raise raised

    with pytest.raises(Mine) as caught:
        me.apply_along_axis(function, 0, me.ones((2, 2)))
    assert caught.value is raised
    assert any(entry.name == "function" for entry in caught.traceback)
    assert me.ones(2).tolist() == [1.0, 1.0]


@in_a_client
def test_callbacks_nest_and_each_exception_ends_its_own_level() -> None:
    levels: list[int] = []

    def nested(depth: int) -> Any:
        def function(row: Any) -> Any:
            levels.append(depth)
            if depth == 5:
                raise Mine(depth)
            try:
                return me.apply_along_axis(nested(depth + 1), 0, row)
            except Mine:
                if depth == 3:
                    return row * depth
                raise

        return function

    found = me.apply_along_axis(nested(1), 0, me.ones((1, 1)))
    assert found.tolist() == [[3.0]]
    assert levels == [1, 2, 3, 4, 5]


@in_a_client
def test_callbacks_that_nest_too_deeply_are_refused_and_the_session_goes_on() -> None:
    import pytest

    def function(row: Any) -> Any:
        return me.apply_along_axis(function, 0, row)

    with pytest.raises(RecursionError, match="nest more than 32 deep"):
        me.apply_along_axis(function, 0, me.ones(2))
    assert me.ones(2).tolist() == [1.0, 1.0]


@in_a_client
def test_a_result_that_cannot_be_sent_is_an_error_of_the_callback() -> None:
    import pytest

    with pytest.raises(TypeError, match="cannot be sent"):
        me.apply_along_axis(lambda row: object(), 0, me.ones((2, 2)))
    assert me.ones(2).tolist() == [1.0, 1.0]


@in_a_client
def test_functions_are_forgotten_when_the_operation_is_over() -> None:
    import weakref

    from shm_echo.mechestim.remote import client_session

    def make() -> Any:
        return lambda row: row + 1

    function = make()
    gone = weakref.ref(function)
    me.apply_along_axis(function, 0, me.ones((2, 2)))
    del function
    assert gone() is None
    assert client_session.channel().values._callbacks == {}


@in_a_client
def test_vectorize_keeps_its_function_for_as_long_as_it_lives() -> None:
    import weakref

    def make() -> Any:
        return lambda a, b: a + b

    function = make()
    gone = weakref.ref(function)
    double = me.vectorize(function)
    del function
    assert double([1, 2], [3, 4]).tolist() == [4, 6]
    me.apply_along_axis(lambda row: row, 0, me.ones((2, 2)))
    assert double([1, 2], [3, 4]).tolist() == [4, 6]
    del double
    assert gone() is None


@in_a_client
def test_the_operations_of_a_callback_are_charged_to_the_callers_context() -> None:
    with me.BudgetContext(1000, quiet=True) as budget:
        with me.namespace("outer"):
            me.apply_along_axis(lambda row: row * 2, 1, me.ones((3, 4)))
        assert budget.flops_used == 12
        assert budget.summary_dict(by_namespace=True)["by_namespace"]["outer"]["flops_used"] == 12


@in_a_client
def test_a_context_inside_a_callback_has_a_count_of_its_own() -> None:
    used: list[int] = []

    def function(row: Any) -> Any:
        used.append(budget.flops_used)
        return row * 2

    with me.BudgetContext(1000, quiet=True) as budget:
        me.apply_along_axis(function, 1, me.ones((3, 4)))
    assert used == [0, 4, 8]


@in_a_client
def test_an_array_that_a_callback_drops_and_is_given_again_stays_alive() -> None:
    """The server names the same object twice; a free that is under way is taken back."""
    kept: list[Any] = []
    x = me.ones(3)
    calls: list[int] = []

    def function(value: Any) -> Any:
        calls.append(1)
        return value

    me.fromfunction(lambda i, j: kept.append(i) or i + j, (3, 3))
    for _ in range(5):
        me.piecewise(x, [x > 0], [function])
    assert kept[0].tolist() == [[0.0] * 3, [1.0] * 3, [2.0] * 3]
    assert len(calls) == 5


@in_a_client
def test_the_stand_in_of_a_function_object_is_not_copied_and_stays_usable() -> None:
    import copy
    import gc
    import pickle

    import pytest

    def double(x: Any) -> Any:
        return 2 * x

    function = me.vectorize(double)
    for copy_of in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can be neither copied nor pickled: .*on the server"):
            copy_of(function)
    gc.collect()
    assert function(me.ones(2)).tolist() == [2.0, 2.0]
