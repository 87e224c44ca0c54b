"""The transition table: its messages are allowed, and every other one is a final error."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.control.protocol import messages
from shm_echo.control.protocol.states import TRANSITIONS, Role, State, StateMachine
from shm_echo.errors import ProtocolError

KINDS = ["hello", "welcome", "refused", "request", "reply", "error", "goodbye", "closed"]
MOVES = list(itertools.product(Role, KINDS))


def at(state: State) -> StateMachine:
    conversation = StateMachine()
    conversation.state = state
    return conversation


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(("sender", "kind"), MOVES)
def test_a_message_moves_as_the_table_says_or_ends_the_conversation(
    state: State, sender: Role, kind: str
) -> None:
    conversation = at(state)
    target = TRANSITIONS[state].get((sender, kind))
    if target is None:
        with pytest.raises(ProtocolError, match=f"{sender.value} may not send '{kind}' in state"):
            conversation.advance(sender, kind)
        assert conversation.state is State.ERROR
    else:
        conversation.advance(sender, kind)
        assert conversation.state is target


@settings(deadline=None)
@given(st.lists(st.sampled_from(MOVES), max_size=12))
def test_after_an_error_every_message_is_an_error(moves: list[tuple[Role, str]]) -> None:
    conversation = StateMachine()
    failed = False
    for sender, kind in moves:
        try:
            conversation.advance(sender, kind)
            assert not failed
        except ProtocolError:
            failed = True
        assert (conversation.state is State.ERROR) == failed


def test_every_message_is_in_the_table_and_the_table_has_no_others() -> None:
    used = {kind for moves in TRANSITIONS.values() for _, kind in moves}
    assert used == set(messages.KINDS) == set(KINDS)


def test_every_state_can_be_reached_and_left_until_it_is_closed() -> None:
    reached = {State.START, State.ERROR}
    while True:
        more = {target for state in reached for target in TRANSITIONS[state].values()} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    assert not TRANSITIONS[State.CLOSED]
    assert not TRANSITIONS[State.ERROR]


def test_an_ordinary_conversation_passes() -> None:
    conversation = StateMachine()
    for sender, kind in [
        (Role.CLIENT, "hello"),
        (Role.SERVER, "welcome"),
        (Role.CLIENT, "request"),
        (Role.SERVER, "reply"),
        (Role.CLIENT, "request"),
        (Role.SERVER, "error"),
        (Role.CLIENT, "goodbye"),
        (Role.SERVER, "closed"),
    ]:
        conversation.advance(sender, kind)
    assert conversation.state is State.CLOSED


@pytest.mark.parametrize("answer", ["reply", "error"])
def test_a_client_may_leave_before_its_answer_has_come(answer: str) -> None:
    conversation = at(State.BUSY)
    for sender, kind in [(Role.CLIENT, "goodbye"), (Role.SERVER, answer), (Role.SERVER, "closed")]:
        conversation.advance(sender, kind)
    assert conversation.state is State.CLOSED


def test_a_second_request_may_not_come_before_the_answer() -> None:
    with pytest.raises(ProtocolError, match="may not send 'request' in state BUSY"):
        at(State.BUSY).advance(Role.CLIENT, "request")
