"""The requests and replies of a control connection: published values, the learner's progress.

    client                                     server
    n {op: "newest", version: have}       ->
                                          <-   n {version, payload: bytes}  payload
    n {op: "wait_for", version, timeout}  ->
                                          <-   n {version, outcome: "ok" or "late"}
    n {op: "taken", version: count, timeout} ->
                                          <-   n {outcome: "ok" or "late"}
    n {op: "goodbye"}                     ->   (the server closes)

One request is answered before the next one is read. `outcome` is "closed" if the server ends. The
payload is the leaves of the value, each at a multiple of 8 bytes, as `ring.broadcast` lays them
out; it is empty if the client has the newest version already. No I/O here; malformed bytes raise
ProtocolError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from shm_echo.control.protocol.codec import Codec, Limits
from shm_echo.control.protocol.frames import encode_frame
from shm_echo.errors import ProtocolError

__all__ = ["MESSAGE_LIMIT", "Op", "Outcome", "Reply", "Request"]

# Bytes of the map in a request or a reply.
MESSAGE_LIMIT: Final = 4096

Op = Literal["newest", "wait_for", "taken", "goodbye"]
Outcome = Literal["ok", "late", "closed", "refused"]

_CODEC = Codec(
    Limits(max_depth=2, max_nodes=64, max_str=2048, max_bin=0, max_ext=0, max_array=0, max_map=16)
)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


@dataclass(frozen=True)
class Request:
    """A request of a client.

    Attributes:
        op: what it asks for.
        number: the version that it has or waits for, or the number of samples that are to be taken.
        timeout: seconds that it waits; None for any time.
    """

    op: Op
    number: int = 0
    timeout: float | None = None

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        body = _CODEC.encode({"op": self.op, "version": self.number, "timeout": self.timeout})
        return encode_frame(body, MESSAGE_LIMIT)

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """Return the request of these bytes, without their length; unknown fields are ignored.

        Raises:
            ProtocolError: the bytes are no request.
        """
        fields = _CODEC.decode(body)
        op, number, timeout = fields.get("op"), fields.get("version", 0), fields.get("timeout")
        if op not in get_args(Op):
            raise ProtocolError("a control connection asks for what is not known here")
        if not _is_count(number) or not _is_seconds(timeout):
            raise ProtocolError("a request of a control connection has a malformed number")
        return cls(cast("Op", op), number, None if timeout is None else float(timeout))


def _is_seconds(value: Any) -> bool:
    if value is None:
        return True
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


@dataclass(frozen=True)
class Reply:
    """A reply of the server.

    Attributes:
        version: the newest published version; 0 before the first.
        payload: the number of bytes that follow.
        outcome: "ok"; "late" if the time of a wait passed; "closed" if the server ends; "refused"
            if it can't answer, for the reason in `message`.
        message: the reason.
    """

    version: int = 0
    payload: int = 0
    outcome: Outcome = "ok"
    message: str = ""

    def encode(self) -> bytes:
        """Return the bytes of the reply, without the payload."""
        body: dict[str, int | str] = {
            "version": self.version,
            "payload": self.payload,
            "outcome": self.outcome,
        }
        if self.message:
            body["message"] = self.message[:500]
        return encode_frame(_CODEC.encode(body), MESSAGE_LIMIT)

    @classmethod
    def decode(cls, body: bytes) -> Reply:
        """Return the reply of these bytes, without their length; unknown fields are ignored.

        Raises:
            ProtocolError: the bytes are no reply.
        """
        fields = _CODEC.decode(body)
        version, payload = fields.get("version"), fields.get("payload")
        outcome, message = fields.get("outcome"), fields.get("message", "")
        if not _is_count(version) or not _is_count(payload):
            raise ProtocolError("a reply of the server has a malformed number")
        if outcome not in get_args(Outcome) or type(message) is not str:
            raise ProtocolError("a reply of the server has an outcome that is not known here")
        return cls(cast("int", version), cast("int", payload), cast("Outcome", outcome), message)
