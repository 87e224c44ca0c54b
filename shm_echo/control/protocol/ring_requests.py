"""The arguments of `attach`, the request by which a client of the service `ring` joins a ring.

An absent field is omitted on the wire. The server ignores fields that it does not know, and refuses
ill-typed ones by name. docs/reference/protocol.md lists the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["MAX_LABEL", "MAX_WAY", "ROLES", "AttachRequest", "check_label", "run_difference"]

# The longest label, in characters.
MAX_LABEL = 64
# The longest reason for which a connector chose a client, in characters.
MAX_WAY = 200

# A producer sends samples, and may read published values. A reader only reads them.
ROLES = ("producer", "reader")


def check_label(name: str, value: Any, most: int = MAX_LABEL) -> None:
    """Check that `value` is None or a short printable text, as it also appears in log lines.

    Raises:
        TypeError: the value is neither None nor text.
        ValueError: the text is empty, too long or not printable.
    """
    if value is None:
        return
    if type(value) is not str:
        raise TypeError(f"{name} must be text or None, not {type(value).__name__}")
    if not 1 <= len(value) <= most:
        raise ValueError(f"{name} must have 1 to {most} characters, not {len(value)}")
    if not value.isprintable():
        raise ValueError(f"{name} must be printable, not {value!r}")


@dataclass(frozen=True)
class AttachRequest:
    """The description that a client gives of itself when it attaches.

    Attributes:
        role: one of ROLES.
        run_id: the run that it belongs to; None if it names none.
        producer_id: the name by which a producer is known again when it comes as another process.
        way: why a connector chose this way in; None for a client that was made without one.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of range.

    Example:
        >>> AttachRequest(run_id="tuesday").to_args()
        {'run_id': 'tuesday'}
        >>> AttachRequest.from_args({"role": "reader", "added later": 1})
        AttachRequest(role='reader', run_id=None, producer_id=None, way=None)
    """

    role: str = "producer"
    run_id: str | None = None
    producer_id: str | None = None
    way: str | None = None

    def __post_init__(self) -> None:
        if type(self.role) is not str:
            raise TypeError(f"role must be text, not {type(self.role).__name__}")
        if self.role not in ROLES:
            raise ValueError(f"role must be {' or '.join(map(repr, ROLES))}, not {self.role!r}")
        check_label("run_id", self.run_id)
        check_label("producer_id", self.producer_id)
        check_label("way", self.way, MAX_WAY)

    def to_args(self) -> dict[str, Any]:
        """Return the arguments of the request: the fields that differ from their default."""
        given = {field: getattr(self, field.name) for field in fields(self)}
        return {field.name: value for field, value in given.items() if value != field.default}

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> AttachRequest:
        """Return the request of these arguments, without those that are unknown.

        Raises:
            TypeError: a field has the wrong type.
            ValueError: a field is out of range.
        """
        known = [field.name for field in fields(cls)]
        return cls(**{name: args[name] for name in known if name in args})


def run_difference(server: str | None, client: str | None) -> str | None:
    """Describe why a client may not join the run of a server; None if it may.

    Args:
        server: the run that the server was made for; None if it names none.
        client: the run that the client belongs to; None if it names none.
    """
    if server == client:
        return None
    if server is None:
        return (
            f"it names no run, and this client belongs to run {client!r}: give its ShmTransport "
            f"run_id={client!r} if it is the server of that run"
        )
    if client is None:
        return (
            f"it serves run {server!r}, and this client names no run: give the client "
            f"run_id={server!r} if it belongs to that run"
        )
    return f"it serves run {server!r}, and this client belongs to run {client!r}"
