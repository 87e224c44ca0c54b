"""The messages, as frozen dataclasses that check themselves.

On the wire each is a map with a key ``type`` and one key per field. Unknown keys are ignored, so
that a later version may add some; missing and ill-typed ones are refused by name.

``hello``, ``refused`` and the ``protocol`` field of ``welcome`` never change: that is how two
versions tell each other apart. A greeting in another protocol is read as :class:`OtherProtocol`.
Which message may come when is for ``states``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shm_echo.errors import ProtocolError

__all__ = [
    "MAX_SENTENCE",
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

# Raised when the meaning of a message changes. Package versions are informational.
PROTOCOL = 2

# The longest text of a refusal or an error, in characters.
MAX_SENTENCE = 2000

# The longest token, in characters.
MAX_TOKEN = 512

# A rule gives None for a good value, else what it expected.
Rule = Callable[[Any], "str | None"]


def _integer(low: int, high: int) -> Rule:
    expected = f"expected an integer from {low} to {high}"

    def rule(value: Any) -> str | None:
        if type(value) is not int:
            return f"{expected}, got {type(value).__name__}"
        return None if low <= value <= high else f"{expected}, got one out of range"

    return rule


def _text(longest: int, shortest: int = 0) -> Rule:
    expected = f"expected text of {shortest} to {longest} characters"

    def rule(value: Any) -> str | None:
        if type(value) is not str:
            return f"{expected}, got {type(value).__name__}"
        return None if shortest <= len(value) <= longest else f"{expected}, got {len(value)}"

    return rule


def _map(value: Any) -> str | None:
    if type(value) is not dict:
        return f"expected a map, got {type(value).__name__}"
    return None if all(type(key) is str for key in value) else "expected a map with text as keys"


def _map_of_sizes(value: Any) -> str | None:
    complaint = _map(value)
    if complaint is None and not all(type(size) is int and size >= 0 for size in value.values()):
        return "expected a map of integers from 0 up"
    return complaint


_PROTOCOL_NUMBER = _integer(1, 2**32 - 1)
_PACKAGE = _text(64)
_NAME = _text(64, 1)
_TOKEN = _text(MAX_TOKEN)
_ID = _integer(0, 2**63 - 1)
_SENTENCE = _text(MAX_SENTENCE)


@dataclass(frozen=True)
class Message:
    """What all messages share: their name on the wire, and a rule for each field."""

    kind: ClassVar[str]
    rules: ClassVar[Mapping[str, Rule]] = {}
    optional: ClassVar[Mapping[str, Rule]] = {}  # left out where they are empty

    def __post_init__(self) -> None:
        for name, rule in {**self.rules, **self.optional}.items():
            complaint = rule(getattr(self, name))
            if complaint is not None:
                raise ValueError(f"{self.kind}.{name}: {complaint}")

    def to_dict(self) -> dict[str, Any]:
        given = [name for name in self.optional if getattr(self, name)]
        return {"type": self.kind, **{name: getattr(self, name) for name in [*self.rules, *given]}}


@dataclass(frozen=True)
class Hello(Message):
    """The client's first words: who it is, and which service it wants.

    ``token`` proves who it is to a listener that asks for one. It is shown nowhere.
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
    """The server takes the client in; ``info`` is what the service has to say."""

    kind: ClassVar[str] = "welcome"
    rules: ClassVar[Mapping[str, Rule]] = {
        "protocol": _PROTOCOL_NUMBER,
        "package": _PACKAGE,
        "session": _ID,
        "limits": _map_of_sizes,
        "info": _map,
    }
    protocol: int
    package: str
    session: int
    limits: dict[str, int]
    info: dict[str, Any]


@dataclass(frozen=True)
class Refused(Message):
    """The server does not take the client in, and closes."""

    kind: ClassVar[str] = "refused"
    rules: ClassVar[Mapping[str, Rule]] = {"code": _NAME, "message": _SENTENCE, "fields": _map}
    code: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request(Message):
    """The client asks for something."""

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
        "message": _SENTENCE,
        "fields": _map,
    }
    id: int
    code: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Goodbye(Message):
    """The client leaves, on purpose."""

    kind: ClassVar[str] = "goodbye"


@dataclass(frozen=True)
class Closed(Message):
    """The server's last words: the answer to goodbye, or that it shuts down."""

    kind: ClassVar[str] = "closed"


@dataclass(frozen=True)
class OtherProtocol(Message):
    """A hello or welcome of another protocol version, of which no more is understood."""

    kind: ClassVar[str] = "other protocol"
    rules: ClassVar[Mapping[str, Rule]] = {"protocol": _PROTOCOL_NUMBER, "package": _PACKAGE}
    protocol: int
    package: str
    greeting: str


KINDS: dict[str, type[Message]] = {
    cls.kind: cls for cls in (Hello, Welcome, Refused, Request, Reply, ErrorReply, Goodbye, Closed)
}


def parse(raw: Mapping[str, Any]) -> Message:
    """Make a message of a decoded map.

    Raises:
        ProtocolError: no such message, or a field is missing or wrong. The text names the field
            and never shows what was in it.
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
        given = [name for name in cls.optional if name in raw]
        return cls(**{name: raw[name] for name in [*cls.rules, *given]})
    except ValueError as error:
        raise ProtocolError(str(error)) from None
