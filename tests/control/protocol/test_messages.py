"""Messages: each comes back equal, and each wrong field is refused by its name."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.control.protocol.messages import (
    KINDS,
    PROTOCOL,
    Closed,
    ErrorReply,
    Goodbye,
    Hello,
    Message,
    OtherProtocol,
    Refused,
    Reply,
    Request,
    Welcome,
    parse,
)
from shm_echo.errors import ProtocolError

EXAMPLES: list[Message] = [
    Hello(PROTOCOL, "0.1.0", "ring"),
    Welcome(PROTOCOL, "0.1.0", 7, {"max_frame": 10}, {"a": [1]}),
    Refused("full", "no room", {"clients": 3}),
    Request(1, "attach", {"slot": 2}),
    Reply(1, {"ok": True}),
    ErrorReply(1, "nope", "not now", {"hours": 2}),
    Goodbye(),
    Closed(),
    Hello(PROTOCOL, "0.1.0", "ring", "a-token-of-somebody"),
]

BAD: dict[str, list[Any]] = {
    "protocol": [0, -1, 2**32, True, "1", None, 1.0],
    "package": ["x" * 65, b"0.1", 1, None],
    "service": ["", "x" * 65, b"ring", None],
    "session": [-1, 2**63, True, "7"],
    "limits": [[], {"a": -1}, {"a": "1"}, {"a": True}, {1: 1}, None],
    "info": [[], None, {1: 1}],
    "code": ["", "x" * 65, 4],
    "message": ["x" * 2001, b"no", None],
    "fields": [[], None, {b"a": 1}],
    "id": [-1, 2**63, "1", None, False],
    "op": ["", "x" * 65, 3],
    "args": [[], None, "x"],
    "result": [[], None, 1],
}

CASES = [
    pytest.param(message, name, value, id=f"{message.kind}.{name}={str(value)[:8]!r}")
    for message in EXAMPLES
    for name in message.rules
    for value in BAD[name]
]


def test_every_message_has_an_example() -> None:
    assert {message.kind for message in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_comes_back_equal(message: Message) -> None:
    assert parse(message.to_dict()) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_unknown_keys_are_ignored(message: Message) -> None:
    assert parse({**message.to_dict(), "added later": object()}) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_missing_field_is_refused_by_name(message: Message) -> None:
    for name in message.rules:
        raw = message.to_dict()
        del raw[name]
        with pytest.raises(ProtocolError, match=f"^{message.kind}.{name}: missing$"):
            parse(raw)


@pytest.mark.parametrize(("message", "name", "value"), CASES)
def test_a_wrong_field_from_outside_is_a_protocol_error(
    message: Message, name: str, value: Any
) -> None:
    with pytest.raises(ProtocolError, match=f"^{message.kind}.{name}: expected "):
        parse({**message.to_dict(), name: value})


@pytest.mark.parametrize(("message", "name", "value"), CASES)
def test_a_wrong_field_of_our_own_is_a_value_error(message: Message, name: str, value: Any) -> None:
    fields = {key: getattr(message, key) for key in message.rules} | {name: value}
    with pytest.raises(ValueError, match=f"^{message.kind}.{name}: expected ") as caught:
        type(message)(**fields)
    assert not isinstance(caught.value, ProtocolError)


@pytest.mark.parametrize("kind", [None, "", "nonsense", 3, [], b"hello", "other protocol"])
def test_an_unknown_type_is_refused(kind: Any) -> None:
    with pytest.raises(ProtocolError, match="no known type"):
        parse({"type": kind})


@pytest.mark.parametrize("kind", ["hello", "welcome"])
def test_a_hello_or_welcome_of_another_protocol_needs_no_other_field(
    kind: str,
) -> None:
    raw = {"type": kind, "protocol": 9, "service": ["something", "new"]}
    assert parse({**raw, "package": "7.0"}) == OtherProtocol(9, "7.0", kind)
    assert parse(raw) == OtherProtocol(9, "of an unknown version", kind)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*BAD, "type"]),
        st.sampled_from([message.kind for message in EXAMPLES])
        | st.none()
        | st.integers()
        | st.text()
        | st.lists(st.integers())
        | st.dictionaries(st.text(), st.integers()),
    )
)
def test_any_map_is_a_message_or_a_protocol_error(raw: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(parse(raw), Message)


def test_errors_never_show_the_value_of_a_field() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse({**EXAMPLES[3].to_dict(), "op": "secret" * 20})
    assert "secret" not in str(caught.value)
