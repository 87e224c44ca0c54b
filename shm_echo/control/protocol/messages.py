"""The messages, as frozen dataclasses that validate themselves.

On the wire each is a map with a key `type` and one key per field. Unknown keys are ignored, so that
a later version may add some; missing and ill-typed ones are rejected by name.

`hello`, `refused` and the `protocol` field of `welcome` never change, so that two versions can
recognise each other. A hello or welcome of another protocol is read as `OtherProtocol`. `states`
says which message may come when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shm_echo.errors import ProtocolError

__all__ = [
    "MAX_TEXT",
    "MAX_TOKEN",
    "PROTOCOL",
    "Closed",
    "ErrorReply",
    "Goodbye",
    "Hello",
    "Message",
    "OtherProtocol",
    "Refused",
    "Reply",
    "Request",
    "Welcome",
    "parse",
]

# Incremented when the meaning of a message changes. Package versions are informational.
PROTOCOL = 2

# The longest text of a refusal or an error, in characters.
MAX_TEXT = 2000

# The longest token, in characters.
MAX_TOKEN = 512

# A rule returns None for a valid value, otherwise a text that says what it expected.
Rule = Callable[[Any], "str | None"]


def _integer(low: int, high: int) -> Rule:
    expected = f"expected an integer from {low} to {high}"

    def rule(value: Any) -> str | None:
        if type(value) is not int:
            return f"{expected}, got {type(value).__name__}"
        return None if low <= value <= high else f"{expected}, got one out of range"

    return rule


def _text(max_length: int, min_length: int = 0) -> Rule:
    expected = f"expected text of {min_length} to {max_length} characters"

    def rule(value: Any) -> str | None:
        if type(value) is not str:
            return f"{expected}, got {type(value).__name__}"
        return None if min_length <= len(value) <= max_length else f"{expected}, got {len(value)}"

    return rule


def _map(value: Any) -> str | None:
    if type(value) is not dict:
        return f"expected a map, got {type(value).__name__}"
    return None if all(type(key) is str for key in value) else "expected a map with text as keys"


def _size_map(value: Any) -> str | None:
    problem = _map(value)
    if problem is None and not all(type(size) is int and size >= 0 for size in value.values()):
        return "expected a map of integers from 0 up"
    return problem


_PROTOCOL_NUMBER = _integer(1, 2**32 - 1)
_PACKAGE = _text(64)
_NAME = _text(64, 1)
_TOKEN = _text(MAX_TOKEN)
_ID = _integer(0, 2**63 - 1)
_TEXT = _text(MAX_TEXT)


@dataclass(frozen=True)
class Message:
    """The base of all messages: their name on the wire, and a rule for each field."""

    kind: ClassVar[str]
    rules: ClassVar[Mapping[str, Rule]] = {}
    optional: ClassVar[Mapping[str, Rule]] = {}  # omitted on the wire while empty

    def __post_init__(self) -> None:
        for name, rule in {**self.rules, **self.optional}.items():
            problem = rule(getattr(self, name))
            if problem is not None:
                raise ValueError(f"{self.kind}.{name}: {problem}")

    def to_dict(self) -> dict[str, Any]:
        present = [name for name in self.optional if getattr(self, name)]
        return {
            "type": self.kind,
            **{name: getattr(self, name) for name in [*self.rules, *present]},
        }


@dataclass(frozen=True)
class Hello(Message):
    """The client's first message: its version, and the service that it asks for.

    `token` identifies the client to a listener that asks for one. No repr or error shows it.
    """

    kind: ClassVar[str] = "hello"
    rules: ClassVar[Mapping[str, Rule]] = {
        "protocol": _PROTOCOL_NUMBER,
        "package": _PACKAGE,
        "service": _NAME,
    }
    optional: ClassVar[Mapping[str, Rule]] = {"token": _TOKEN}
    protocol: int
    package: str
    service: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Welcome(Message):
    """The server accepts the client; `info` comes from the service."""

    kind: ClassVar[str] = "welcome"
    rules: ClassVar[Mapping[str, Rule]] = {
        "protocol": _PROTOCOL_NUMBER,
        "package": _PACKAGE,
        "session": _ID,
        "limits": _size_map,
        "info": _map,
    }
    protocol: int
    package: str
    session: int
    limits: dict[str, int]
    info: dict[str, Any]


@dataclass(frozen=True)
class Refused(Message):
    """The server rejects the client, and closes the connection."""

    kind: ClassVar[str] = "refused"
    rules: ClassVar[Mapping[str, Rule]] = {"code": _NAME, "message": _TEXT, "fields": _map}
    code: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request(Message):
    """The client asks its service to perform an operation."""

    kind: ClassVar[str] = "request"
    rules: ClassVar[Mapping[str, Rule]] = {"id": _ID, "op": _NAME, "args": _map}
    id: int
    op: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Reply(Message):
    """The answer to the request with this id. File descriptors travel beside it."""

    kind: ClassVar[str] = "reply"
    rules: ClassVar[Mapping[str, Rule]] = {"id": _ID, "result": _map}
    id: int
    result: dict[str, Any]


@dataclass(frozen=True)
class ErrorReply(Message):
    """The request with this id failed. The session goes on."""

    kind: ClassVar[str] = "error"
    rules: ClassVar[Mapping[str, Rule]] = {
        "id": _ID,
        "code": _NAME,
        "message": _TEXT,
        "fields": _map,
    }
    id: int
    code: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Goodbye(Message):
    """The client ends its session on purpose."""

    kind: ClassVar[str] = "goodbye"


@dataclass(frozen=True)
class Closed(Message):
    """The server's last message: the answer to goodbye, or the notice of a shutdown."""

    kind: ClassVar[str] = "closed"


@dataclass(frozen=True)
class OtherProtocol(Message):
    """A hello or welcome of another protocol version, whose other fields are not read.

    `handshake_kind` is its name on the wire. Nothing sends this class itself.
    """

    kind: ClassVar[str] = "other protocol"
    rules: ClassVar[Mapping[str, Rule]] = {"protocol": _PROTOCOL_NUMBER, "package": _PACKAGE}
    protocol: int
    package: str
    handshake_kind: str


KINDS: dict[str, type[Message]] = {
    cls.kind: cls for cls in (Hello, Welcome, Refused, Request, Reply, ErrorReply, Goodbye, Closed)
}


def parse(raw: Mapping[str, Any]) -> Message:
    """Turn a decoded map into a message.

    Raises:
        ProtocolError: the type is unknown, or a field is missing or ill-typed. The text names the
            field and never shows its value.

    Example:
        >>> parse({"type": "reply", "id": 1, "result": {"ok": True}})
        Reply(id=1, result={'ok': True})
    """
    kind = raw.get("type")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ProtocolError(f"a message has no known type (known: {', '.join(sorted(KINDS))})")
    if cls in (Hello, Welcome):
        protocol: Any = raw.get("protocol")
        if _PROTOCOL_NUMBER(protocol) is None and protocol != PROTOCOL:
            package: Any = raw.get("package")
            if _PACKAGE(package) is not None:
                package = "of an unknown version"
            return OtherProtocol(protocol, package, cls.kind)
    missing = [name for name in cls.rules if name not in raw]
    if missing:
        raise ProtocolError(f"{cls.kind}.{missing[0]}: missing")
    try:
        present = [name for name in cls.optional if name in raw]
        return cls(**{name: raw[name] for name in [*cls.rules, *present]})
    except ValueError as error:
        raise ProtocolError(str(error)) from None
