"""Warnings of the server's NumPy, issued here: at the user's line, under the user's filters."""

from __future__ import annotations

import warnings
from pathlib import Path

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client


@in_a_client
def test_a_warning_has_its_category_text_and_the_users_line() -> None:
    zero, one = me.zeros(1), me.ones(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one / zero
    (only,) = caught
    assert only.category is RuntimeWarning
    assert str(only.message) == "divide by zero encountered in divide"
    assert only.filename == __file__
    assert "one / zero" in Path(__file__).read_text().splitlines()[only.lineno - 1]


@in_a_client
def test_filters_decide_as_for_any_warning() -> None:
    import pytest

    zero, one = me.zeros(1), me.ones(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        one / zero
    assert caught == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="divide by zero"):
            one / zero
    assert (one + zero).tolist() == [1.0]


@in_a_client
def test_by_default_a_line_warns_once() -> None:
    zero, one = me.zeros(1), me.ones(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            one / zero
    assert len(caught) == 1


@in_a_client
def test_a_hook_of_warnings_may_use_the_library_itself() -> None:
    zero, one = me.zeros(1), me.ones(1)
    seen: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_, **__: seen.append(float((one + one).sum()))
        one / zero
    assert seen == [2.0]


@in_a_client
def test_warnings_of_the_library_are_warnings_here_too() -> None:
    import pytest

    me.configure(check_nan_inf=True)
    with pytest.warns(me.MechEstimWarning, match="log"), me.errstate(all="ignore"):
        me.log(me.zeros(2))
    symmetric = me.as_symmetric(me.eye(3), (0, 1))
    with pytest.warns(me.SymmetryLossWarning):
        symmetric + me.ones((3, 3))


@in_a_client
def test_errstate_is_nested_restored_and_checked() -> None:
    import pytest

    zero, one = me.zeros(1), me.ones(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with me.errstate(divide="ignore"):
            one / zero
            with me.errstate(divide="raise"), pytest.raises(FloatingPointError):
                one / zero
            one / zero
        with pytest.raises(RuntimeWarning):
            one / zero
        with pytest.raises(ValueError, match="invalid error mode"), me.errstate(divide="what"):
            pass

        @me.errstate(all="ignore")
        def quiet() -> float:
            return float((zero / zero)[0])

        assert quiet() != quiet()


@in_a_client
def test_print_options_are_those_of_the_block() -> None:
    third = me.ones(1) / 3
    plain = str(third)
    with me.printoptions(precision=3) as options:
        assert options["precision"] == 3
        assert str(third) == "[0.333]"
        with me.printoptions(precision=2):
            assert str(third) == "[0.33]"
        assert str(third) == "[0.333]"
    assert str(third) == plain == "[0.33333333]"
    me.set_printoptions(precision=1)
    assert str(third) == "[0.3]"
    assert me.get_printoptions()["precision"] == 1


@in_a_client
def test_print_options_that_are_functions_are_refused() -> None:
    third = me.ones(1) / 3
    with me.printoptions(precision=3):
        for options in ({"formatter": {"float_kind": hex}}, {"override_repr": repr}):
            try:
                me.set_printoptions(**options)
            except ValueError as error:
                assert "a server cannot keep functions" in str(error)
            else:
                raise AssertionError("it is not refused")
        assert str(third) == "[0.333]"


@in_a_client
def test_options_outlive_the_session_that_they_were_made_in() -> None:
    from shm_echo.mechestim.remote import client_session

    me.set_printoptions(precision=2)
    with me.errstate(divide="raise"):
        client_session.close()
        try:
            me.ones(1) / me.zeros(1)
        except FloatingPointError:
            pass
        else:
            raise AssertionError("errstate is forgotten")
    assert str(me.ones(1) / 3) == "[0.33]"
