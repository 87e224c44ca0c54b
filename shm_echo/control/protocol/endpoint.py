"""One end of a connection without its socket: bytes in, messages out; messages in, bytes out.

Joins frames, codec, messages and states. After the first error this end stays in the state ERROR,
and every later call raises the same error again.
"""

from __future__ import annotations

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.frames import MAX_FRAME, FrameDecoder, encode_frame
from shm_echo.control.protocol.messages import Message, OtherProtocol, parse
from shm_echo.control.protocol.states import Role, State, StateMachine
from shm_echo.errors import ProtocolError

__all__ = ["Endpoint"]

_CODEC = Codec()


class Endpoint:
    """The client's or the server's end of one connection.

    Attributes:
        max_send: the longest frame that the other end accepts, as its welcome said.

    Example:
        >>> from shm_echo.control.protocol.messages import PROTOCOL, Hello
        >>> client, server = Endpoint(Role.CLIENT), Endpoint(Role.SERVER)
        >>> server.feed(client.send(Hello(PROTOCOL, "0.1.0", "ring")))
        >>> server.next_message().service
        'ring'
    """

    def __init__(self, role: Role, codec: Codec = _CODEC, max_frame: int = MAX_FRAME) -> None:
        self._role = role
        self._peer_role = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._codec = codec
        self._frames = FrameDecoder(max_frame)
        self._states = StateMachine()
        self._error: str | None = None
        self.max_send = MAX_FRAME

    @property
    def state(self) -> State:
        return self._states.state

    @property
    def max_receive(self) -> int:
        """The longest frame that this end accepts from the other."""
        return self._frames.max_frame

    @max_receive.setter
    def max_receive(self, size: int) -> None:
        self._frames.max_frame = size

    @property
    def has_partial_frame(self) -> bool:
        """True if bytes have come that are not a whole message yet."""
        return self._frames.has_partial_frame

    def send(self, message: Message) -> bytes:
        """Return the bytes that carry this message.

        Raises:
            ValueError: the message cannot be encoded (a type without a msgpack form, or too large).
                The state has not changed.
            ProtocolError: this end may not send the message in this state.
        """
        data = encode_frame(self._codec.encode(message.to_dict()), self.max_send)
        self._states.advance(self._role, message.kind)
        return data

    def feed(self, data: bytes) -> None:
        """Take bytes from the other end, in pieces of any size."""
        self._frames.feed(data)

    def next_message(self) -> Message | None:
        """Return the next message of the other end; None while none is complete.

        Raises:
            ProtocolError: the other end broke the protocol, now or before.
        """
        if self._error is not None:
            raise ProtocolError(self._error)
        try:
            payload = self._frames.next_frame()
            if payload is None:
                return None
            message = parse(self._codec.decode(payload))
            kind = message.handshake_kind if isinstance(message, OtherProtocol) else message.kind
            self._states.advance(self._peer_role, kind)
        except ProtocolError as error:
            self._error = str(error)
            self._states.fail()
            raise
        return message
