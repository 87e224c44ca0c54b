"""The order of messages: one transition table for both ends of a connection.

    START --hello--> GREETED --welcome--> READY --request--> BUSY --reply or error--> READY
                        |                   |                  |
                     refused             goodbye       closed, or goodbye
                        v                   v                  v
                     CLOSED <--closed--- LEAVING       CLOSED, or LEAVING

A client may leave without the answer that it waits for (it was interrupted, or its time-out
expired); that answer is then still under way, ahead of the `closed`.

All transitions live in `TRANSITIONS`; nothing here knows which end this process is. The server may
refuse before it has read the hello (it is full) and may send `closed` whenever it shuts down, so a
client must expect both. A message that the table does not list is an error, and ERROR is final.
"""

from __future__ import annotations

from enum import Enum

from shm_echo.errors import ProtocolError

__all__ = ["TRANSITIONS", "Conversation", "Role", "State"]


class Role(Enum):
    CLIENT = "client"
    SERVER = "server"


class State(Enum):
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


class Conversation:
    """One connection's place in the table."""

    def __init__(self) -> None:
        self.state = State.START

    def move(self, speaker: Role, kind: str) -> None:
        """``speaker`` says a message of this kind.

        Raises:
            ProtocolError: it may not, now. The state is ERROR from then on.
        """
        target = TRANSITIONS[self.state].get((speaker, kind))
        if target is None:
            before = self.state
            self.fail()
            raise ProtocolError(f"the {speaker.value} may not say {kind!r} in state {before.value}")
        self.state = target

    def fail(self) -> None:
        """Something else broke the conversation, such as bytes that are no message."""
        self.state = State.ERROR
