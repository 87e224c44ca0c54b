"""The checks of numbers and of switches in the environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm_echo import Server
from shm_echo.validation import check_count, environment_switch
from tests.support.numbered import EXAMPLE


class Index:
    """An integer of some other library."""

    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize(
    "value", [3, np.int64(3), np.uint8(3), np.array(3), Index()], ids=lambda v: type(v).__name__
)
def test_every_integer_is_a_count_and_becomes_a_plain_int(value: Any) -> None:
    count = check_count("rows", value, 1)
    assert type(count) is int
    assert count == 3


@pytest.mark.parametrize("value", [2.0, "2", None, True, np.True_, np.float32(2), np.zeros(2)])
def test_what_is_no_integer_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=f"rows must be an int, not {type(value).__name__}"):
        check_count("rows", value, 1)


def test_a_count_out_of_range_is_a_value_error_with_the_limit() -> None:
    with pytest.raises(ValueError, match="rows must be at least 3 in a table, not 2"):
        check_count("rows", np.int64(2), 3, " in a table")
    with pytest.raises(ValueError, match="rows must be at most 4, not 5"):
        check_count("rows", np.int64(5), 3, most=4)
    assert check_count("rows", 2**80, 3, most=None) == 2**80


ON = ["1", "true", "yes", "on", "True", "YES"]
OFF = ["0", "false", "no", "off", "", "False", "Off"]
WRONG = ["2", "maybe", "enabled", " ", "1 ", "y", "-1"]


@pytest.mark.parametrize(
    ("value", "expected"), [*((text, True) for text in ON), *((text, False) for text in OFF)]
)
def test_a_switch_is_on_or_off(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHM_ECHO_SWITCH", value)
    for default in (True, False):
        assert environment_switch("SHM_ECHO_SWITCH", default) is expected


def test_a_switch_that_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHM_ECHO_SWITCH", raising=False)
    assert environment_switch("SHM_ECHO_SWITCH", True) is True
    assert environment_switch("SHM_ECHO_SWITCH") is False


@pytest.mark.parametrize("value", WRONG)
def test_another_value_is_rejected_by_the_name_of_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_DEBUG", value)
    with pytest.raises(ValueError, match=f"SHM_ECHO_DEBUG must be one of .*, not {value!r}"):
        Server(EXAMPLE, 1)
