"""The arguments of `attach`: each comes back equal, and each wrong one is refused by its name."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.ring_requests import (
    MAX_LABEL,
    AttachRequest,
    check_label,
    run_difference,
)

FULL = AttachRequest(role="reader", run_id="tuesday", producer_id="actor 3", way="shm, since")

WRONG_LABELS: list[tuple[Any, type[Exception], str]] = [
    (7, TypeError, "must be text or None, not int"),
    (b"run", TypeError, "must be text or None, not bytes"),
    ("", ValueError, "must have 1 to 64 characters, not 0"),
    ("x" * (MAX_LABEL + 1), ValueError, "must have 1 to 64 characters, not 65"),
    ("two\nlines", ValueError, r"must be printable, not 'two\\nlines'"),
    ("half \udc80", ValueError, "must be printable, not "),
]


def test_what_is_not_given_is_not_sent() -> None:
    assert AttachRequest().to_args() == {}
    assert AttachRequest.from_args({}) == AttachRequest()


def test_every_field_comes_back_equal_through_the_codec() -> None:
    args = FULL.to_args()
    assert set(args) == {field.name for field in fields(AttachRequest)}
    codec = Codec()
    assert AttachRequest.from_args(codec.decode(codec.encode(args))) == FULL


@pytest.mark.parametrize("role", ["learner", "", None, 1, b"reader"])
def test_an_unknown_role_is_refused(role: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="^role must be "):
        AttachRequest.from_args({"role": role})


def test_unknown_fields_are_ignored() -> None:
    assert AttachRequest.from_args({**FULL.to_args(), "added later": 1}) == FULL


@pytest.mark.parametrize("field", ["run_id", "producer_id"])
@pytest.mark.parametrize(("value", "error", "words"), WRONG_LABELS)
def test_a_wrong_label_is_refused_by_name(
    field: str, value: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"^{field} {words}"):
        AttachRequest(**{field: value})
    with pytest.raises(error, match=f"^{field} {words}"):
        AttachRequest.from_args({field: value})


@pytest.mark.parametrize("value", [None, "x", "x" * MAX_LABEL, "Lauf 7, größer", "a b"])
def test_a_good_label_passes(value: Any) -> None:
    check_label("run_id", value)


@pytest.mark.parametrize(
    ("server", "client", "words"),
    [
        ("a", "b", "it serves run 'a', and this client belongs to run 'b'"),
        ("a", None, "it serves run 'a', and this client names no run: .*run_id='a'"),
        (None, "b", "it names no run, and this client belongs to run 'b': .*run_id='b'"),
    ],
)
def test_two_runs_differ_and_both_are_named(
    server: str | None, client: str | None, words: str
) -> None:
    difference = run_difference(server, client)
    assert difference is not None
    assert re.match(words, difference)


@pytest.mark.parametrize("run", [None, "a"])
def test_one_run_does_not_differ(run: str | None) -> None:
    assert run_difference(run, run) is None
