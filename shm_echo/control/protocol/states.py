"""The order of messages: one transition table for both ends of a connection.

    START --hello--> GREETED --welcome--> READY --request--> BUSY --reply or error--> READY
                        |                   |                  |
                     refused             goodbye       closed, or goodbye
                        v                   v                  v
                     CLOSED <--closed--- LEAVING       CLOSED, or LEAVING

A client may leave without the answer that it waits for (it was interrupted, or its time-out
expired). That answer can then still arrive, ahead of the `closed`.

All transitions live in `TRANSITIONS`; nothing here depends on which end this process is. A server
that is full may refuse before it has read the hello, and a server that shuts down may send `closed`
at any time after the welcome, so a client must expect both. A message that the table does not list
is an error, and ERROR is final.
"""

from __future__ import annotations

from enum import Enum

from shm_echo.errors import ProtocolError

__all__ = ["TRANSITIONS", "Role", "State", "StateMachine"]


class Role(Enum):
    """The two ends of a connection."""

    CLIENT = "client"
    SERVER = "server"


class State(Enum):
    """The states of a connection, the same at both ends but for messages under way."""

    START = "START"
    GREETED = "GREETED"
    READY = "READY"
    BUSY = "BUSY"
    LEAVING = "LEAVING"
    CLOSED = "CLOSED"
    ERROR = "ERROR"


_C, _S = Role.CLIENT, Role.SERVER

TRANSITIONS: dict[State, dict[tuple[Role, str], State]] = {
    State.START: {
        (_C, "hello"): State.GREETED,
        (_S, "refused"): State.CLOSED,
    },
    State.GREETED: {
        (_S, "welcome"): State.READY,
        (_S, "refused"): State.CLOSED,
    },
    State.READY: {
        (_C, "request"): State.BUSY,
        (_C, "goodbye"): State.LEAVING,
        (_S, "closed"): State.CLOSED,
    },
    State.BUSY: {
        (_S, "reply"): State.READY,
        (_S, "error"): State.READY,
        (_C, "goodbye"): State.LEAVING,
        (_S, "closed"): State.CLOSED,
    },
    State.LEAVING: {
        (_S, "reply"): State.LEAVING,
        (_S, "error"): State.LEAVING,
        (_S, "closed"): State.CLOSED,
    },
    State.CLOSED: {},
    State.ERROR: {},
}


class StateMachine:
    """The current state of one connection, and the moves that the table allows.

    Example:
        >>> machine = StateMachine()
        >>> machine.advance(Role.CLIENT, "hello")
        >>> machine.state.value
        'GREETED'
    """

    def __init__(self) -> None:
        self.state = State.START

    def advance(self, sender: Role, kind: str) -> None:
        """Move to the state that follows when `sender` sends a message of this kind.

        Raises:
            ProtocolError: the table does not allow the message in this state. The state is ERROR
                from then on.
        """
        target = TRANSITIONS[self.state].get((sender, kind))
        if target is None:
            before = self.state
            self.fail()
            raise ProtocolError(f"the {sender.value} may not send {kind!r} in state {before.value}")
        self.state = target

    def fail(self) -> None:
        """Move to ERROR for another reason, such as bytes that are no message."""
        self.state = State.ERROR
