"""The messages of the shm wire: bytes in, checked values out, and back. No I/O.

    server                                             client
    SHME 1 flags nonce instance  n {spec, ...}    ->
                                                  <-   n {role, session, nonce, ...}  [MAC]
    n {queued, mac}  or  n {error, message, ...}  ->

Integers are little-endian, `n` is the uint32 length of the msgpack map behind it, and each map has
a limit that is checked before memory is taken for it. The MAC is there if bit 0 of the server's
flags asks for one: see `proofs`. After the answer a connection of the role "samples" carries raw
samples one way and uint64 counts of queued samples the other; the roles "control" and "reader"
carry requests and replies (`control_wire`).

Malformed bytes raise ProtocolError, with a fixed text that never shows contents.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from shm_echo.control.protocol.codec import Codec, Limits
from shm_echo.control.protocol.frames import FrameDecoder, encode_frame
from shm_echo.control.protocol.ring_requests import check_label
from shm_echo.errors import ProtocolError

__all__ = [
    *("ANSWER_LIMIT", "CLIENT_HELLO_LIMIT", "SERVER_HELLO_LIMIT", "WAY_LIMIT"),
    *("INSTANCE_BYTES", "MAC_BYTES", "NONCE_BYTES", "SESSION_BYTES"),
    "MAGIC",
    "VERSION",
    "Answer",
    "ClientHello",
    "ClientHelloParser",
    "FrameDecoder",
    "Role",
    "ServerHello",
    "ServerHelloParser",
    "hello_prefix",
]

MAGIC: Final = b"SHME"
VERSION: Final = 1

NONCE_BYTES: Final = 32
INSTANCE_BYTES: Final = 16
SESSION_BYTES: Final = 16
MAC_BYTES: Final = 32

# Bytes of the map in each message. The largest is the table of a sample's leaves: at most 65,536
# nodes, so some 250 bytes for each. The server takes little from a client that it does not know.
SERVER_HELLO_LIMIT: Final = 16 << 20
CLIENT_HELLO_LIMIT: Final = 4096
ANSWER_LIMIT: Final = 1 << 16
# Characters of `ClientHello.way`.
WAY_LIMIT: Final = 200

# "samples": sends samples. "control": asks for published values and for the learner's progress, on
# behalf of a client that sends. "reader": asks for published values, and no connection sends.
Role = Literal["samples", "control", "reader"]

_WANTS_TOKEN = 1
_PREFIX = struct.Struct(f"<4sBB{NONCE_BYTES}s{INSTANCE_BYTES}s")
_LENGTH = struct.Struct("<I")

_SPECS = Codec(
    Limits(
        max_depth=8,
        max_nodes=1 << 20,
        max_str=1 << 16,
        max_bin=MAC_BYTES,
        max_ext=0,
        max_array=1 << 16,
        max_map=16,
    )
)
_SMALL = Codec(
    Limits(max_depth=4, max_nodes=256, max_str=1 << 12, max_bin=64, max_ext=0, max_array=64)
)


def _is_bytes(value: object, length: int) -> bool:
    return type(value) is bytes and len(value) == length


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


# ---------------------------------------------------------------- the server's hello


@dataclass(frozen=True)
class ServerHello:
    """The first message of a server.

    Attributes:
        nonce: 32 random bytes, new for each connection.
        instance_id: 16 random bytes, the same as long as the server lives.
        spec: the wire form of the samples' spec.
        publishes: the wire form of the published values' spec; None if it publishes nothing.
        run_id: the run that it serves; None if it names none.
        max_inflight: the most samples that a client may have sent without an acknowledgement; None
            for any number.
        wants_token: True if the client must prove that it has a token.
    """

    nonce: bytes
    instance_id: bytes
    spec: Mapping[str, Any]
    publishes: Mapping[str, Any] | None = None
    run_id: str | None = None
    max_inflight: int | None = None
    wants_token: bool = False

    def encode(self) -> bytes:
        """Return the bytes of the hello.

        Raises:
            ValueError: the descriptions of the examples are too large.
        """
        prefix = hello_prefix(self.nonce, self.instance_id, self.wants_token)
        return prefix + self.encode_description()

    def encode_description(self) -> bytes:
        """Return the part that is the same for each connection: all but the 54 bytes before it."""
        body = _SPECS.encode(
            {
                "spec": self.spec,
                "publishes": self.publishes,
                "run_id": self.run_id,
                "max_inflight": self.max_inflight,
            }
        )
        return encode_frame(body, SERVER_HELLO_LIMIT)


def hello_prefix(nonce: bytes, instance_id: bytes, wants_token: bool) -> bytes:
    """Return what comes before the description in a server's hello."""
    return _PREFIX.pack(MAGIC, VERSION, _WANTS_TOKEN if wants_token else 0, nonce, instance_id)


class ServerHelloParser:
    """Reads a server's hello, in pieces of any size.

    Attributes:
        raw: the bytes of the hello so far; the MACs are over the whole.
    """

    def __init__(self) -> None:
        self.raw = bytearray()
        self._frames = FrameDecoder(SERVER_HELLO_LIMIT)
        self._whole = False
        self._error: str | None = None

    @property
    def missing(self) -> int:
        """The number of bytes to read next; no more than these belong to the hello."""
        if len(self.raw) < _PREFIX.size:
            return _PREFIX.size - len(self.raw)
        return 0 if self._whole else self._frames.missing

    def feed(self, data: bytes) -> ServerHello | None:
        """Take the next bytes; return the hello once it is whole.

        Raises:
            ProtocolError: the bytes are no hello of this version. So does each later call.
        """
        if self._error is not None:
            raise ProtocolError(self._error)
        try:
            return self._feed(data)
        except ProtocolError as error:
            self._error = str(error)
            self.raw.clear()
            raise

    def _feed(self, data: bytes) -> ServerHello | None:
        start = len(self.raw)
        self.raw += data
        head = bytes(self.raw[: len(MAGIC) + 1])
        if not MAGIC.startswith(head[: len(MAGIC)]):
            raise ProtocolError(f"its first bytes are {head[:4]!r} and not {MAGIC!r}")
        if len(head) > len(MAGIC) and head[len(MAGIC)] != VERSION:
            raise ProtocolError(
                f"it speaks version {head[len(MAGIC)]} of the shm wire, and this process speaks "
                f"{VERSION}: install the same shm-echo on both sides"
            )
        if len(self.raw) < _PREFIX.size:
            return None
        self._frames.feed(bytes(self.raw[max(start, _PREFIX.size) :]))
        body = self._frames.next_frame()
        if body is None:
            return None
        if self._frames.has_partial_frame:
            raise ProtocolError("bytes follow its hello, and it is to wait for an answer")
        self._whole = True
        return self._hello(body)

    def _hello(self, body: bytes) -> ServerHello:
        _, _, flags, nonce, instance = _PREFIX.unpack_from(self.raw)
        if flags & ~_WANTS_TOKEN:
            raise ProtocolError(
                f"it asks for features that this version does not have (flags {flags:#04x}): "
                "install the same shm-echo on both sides"
            )
        fields = _SPECS.decode(body)
        spec, publishes = fields.get("spec"), fields.get("publishes")
        run_id, most = fields.get("run_id"), fields.get("max_inflight")
        if not isinstance(spec, dict) or not isinstance(publishes, (dict, type(None))):
            raise ProtocolError("its hello describes no samples")
        _check_labels("its hello", run_id=run_id)
        if most is not None and not (_is_count(most) and most > 0):
            raise ProtocolError("its hello has a max_inflight that is no positive number")
        return ServerHello(
            nonce, instance, spec, publishes, run_id, most, bool(flags & _WANTS_TOKEN)
        )


def _check_labels(whose: str, **labels: object) -> None:
    for name, value in labels.items():
        try:
            check_label(name, value)
        except (TypeError, ValueError):
            raise ProtocolError(f"{whose} has a malformed {name}") from None


# ---------------------------------------------------------------- the client's hello


@dataclass(frozen=True)
class ClientHello:
    """The answer of a client.

    Attributes:
        role: what the connection is for.
        session: 16 random bytes that the client keeps over reconnects.
        nonce: 32 random bytes, new for each connection.
        producer_id: the name by which a producer is known again; None without one.
        run_id: the run that the client belongs to; None if it names none.
        way: why the client's connector chose this connection, for people; None without one.
    """

    role: Role
    session: bytes
    nonce: bytes
    producer_id: str | None = None
    run_id: str | None = None
    way: str | None = None

    def encode(self) -> bytes:
        """Return the bytes of the hello; the MAC follows them if the server wants one."""
        body = _SMALL.encode(
            {
                "role": self.role,
                "session": self.session,
                "nonce": self.nonce,
                "producer_id": self.producer_id,
                "run_id": self.run_id,
                "way": self.way,
            }
        )
        return encode_frame(body, CLIENT_HELLO_LIMIT)

    @classmethod
    def decode(cls, body: bytes) -> ClientHello:
        """Return the hello of these bytes, without their length; unknown fields are ignored.

        Raises:
            ProtocolError: the bytes are no client's hello.
        """
        fields = _SMALL.decode(body)
        role, session, nonce = (fields.get(key) for key in ("role", "session", "nonce"))
        if role not in get_args(Role):
            raise ProtocolError("a client's hello has a role that is not known here")
        if not _is_bytes(session, SESSION_BYTES) or not _is_bytes(nonce, NONCE_BYTES):
            raise ProtocolError("a client's hello has no session or no nonce")
        producer_id, run_id = fields.get("producer_id"), fields.get("run_id")
        _check_labels("a client's hello", producer_id=producer_id, run_id=run_id)
        way = fields.get("way")
        if way is not None and not (
            type(way) is str and len(way) <= WAY_LIMIT and way.isprintable()
        ):
            raise ProtocolError("a client's hello has a malformed way")
        made = (cast("Role", role), session, nonce, producer_id, run_id, way)
        return cls(*made)  # type: ignore[arg-type]


class ClientHelloParser:
    """Reads a client's hello and its MAC, in pieces of any size.

    Args:
        with_mac: True if the server has asked for a MAC.

    Attributes:
        raw: the bytes of the hello so far, without the MAC.
        mac: the MAC; empty without one.
    """

    def __init__(self, with_mac: bool) -> None:
        self.raw = bytearray()
        self.mac = bytearray()
        self._with_mac = with_mac
        self._frames = FrameDecoder(CLIENT_HELLO_LIMIT)
        self._hello: ClientHello | None = None
        self._error: str | None = None

    @property
    def missing(self) -> int:
        """The number of bytes to read next; no more than these belong to the hello."""
        if self._hello is None:
            return self._frames.missing
        return MAC_BYTES - len(self.mac) if self._with_mac else 0

    def feed(self, data: bytes) -> ClientHello | None:
        """Take the next bytes, at most `missing`; return the hello once it is whole.

        Raises:
            ProtocolError: the bytes are no client's hello. So does each later call.
        """
        if self._error is not None:
            raise ProtocolError(self._error)
        try:
            while data:
                part, data = data[: self.missing], data[self.missing :]
                if not part:
                    raise ProtocolError("bytes follow a client's hello before it has an answer")
                self._take(part)
        except ProtocolError as error:
            self._error = str(error)
            raise
        return self._hello if self.missing == 0 else None

    def _take(self, part: bytes) -> None:
        if self._hello is not None:
            self.mac += part
            return
        self.raw += part
        self._frames.feed(part)
        if len(self.raw) >= _LENGTH.size:
            body = self._frames.next_frame()
            if body is not None:
                self._hello = ClientHello.decode(body)


# ---------------------------------------------------------------- the answer


@dataclass(frozen=True)
class Answer:
    """The answer of the server to a hello: it accepts the connection, or says why not.

    Attributes:
        queued: the samples of this session that the server has, from earlier connections.
        mac: the server's proof that it knows the client's token; None if it wants none.
        error: the reason for a refusal, as a word for programs; None if the server accepts.
        message: the reason as a sentence.
        fields: the facts of the message.
    """

    queued: int = 0
    mac: bytes | None = None
    error: str | None = None
    message: str = ""
    fields: Mapping[str, Any] | None = None

    def encode(self) -> bytes:
        """Return the bytes of the answer."""
        if self.error is None:
            body: dict[str, Any] = {"queued": self.queued, "mac": self.mac}
        else:
            body = {
                "error": self.error,
                "message": self.message[:1000],
                "fields": dict(self.fields or {}),
            }
        return encode_frame(_SMALL.encode(body), ANSWER_LIMIT)

    @classmethod
    def decode(cls, body: bytes) -> Answer:
        """Return the answer of these bytes, without their length; unknown fields are ignored.

        Raises:
            ProtocolError: the bytes are no answer.
        """
        values = _SMALL.decode(body)
        error = values.get("error")
        if error is None:
            queued, mac = values.get("queued"), values.get("mac")
            if not _is_count(queued) or not (mac is None or _is_bytes(mac, MAC_BYTES)):
                raise ProtocolError("its answer has no count of samples, or a malformed MAC")
            return cls(queued=cast("int", queued), mac=mac)
        message, fields = values.get("message"), values.get("fields")
        if type(error) is not str or type(message) is not str or not isinstance(fields, dict):
            raise ProtocolError("its answer is a refusal without a reason")
        if not (error + message).isprintable():  # it gets into log lines and terminals
            raise ProtocolError("its answer is a refusal whose reason is not printable")
        return cls(error=error, message=message, fields=fields)
