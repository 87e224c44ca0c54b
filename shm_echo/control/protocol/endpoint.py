"""One end of a connection without its socket: bytes in, messages out; messages in, bytes out.

Joins frames, codec, messages and states. After the first error this end is in ERROR for good and
gives that error again for whatever comes.
"""

from __future__ import annotations

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.frames import MAX_FRAME, FrameDecoder, encode_frame
from shm_echo.control.protocol.messages import Message, OtherProtocol, parse
from shm_echo.control.protocol.states import Conversation, Role, State
from shm_echo.errors import ProtocolError

__all__ = ["Endpoint"]

_CODEC = Codec()


class Endpoint:
    """The client's or the server's end.

    Attributes:
        max_send: the longest frame that the other side takes, from its welcome.
    """

    def __init__(self, role: Role, codec: Codec = _CODEC, max_frame: int = MAX_FRAME) -> None:
        self._role = role
        self._other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._codec = codec
        self._frames = FrameDecoder(max_frame)
        self._conversation = Conversation()
        self._error: str | None = None
        self.max_send = MAX_FRAME

    @property
    def state(self) -> State:
        return self._conversation.state

    @property
    def max_receive(self) -> int:
        """The longest frame that is taken from the other side."""
        return self._frames.max_frame

    @max_receive.setter
    def max_receive(self, size: int) -> None:
        self._frames.max_frame = size

    @property
    def unfinished(self) -> bool:
        """Part of a message has come, and the rest of it has not."""
        return self._frames.unfinished

    def send(self, message: Message) -> bytes:
        """The bytes that say this.

        Raises:
            ValueError: it cannot be said (a type without a form, too large). Nothing has changed.
            ProtocolError: it is not this end's turn to say it.
        """
        data = encode_frame(self._codec.encode(message.to_dict()), self.max_send)
        self._conversation.move(self._role, message.kind)
        return data

    def feed(self, data: bytes) -> None:
        """Take bytes from the other end, however they are cut."""
        self._frames.feed(data)

    def next_message(self) -> Message | None:
        """The next message of the other end, or None while none is complete.

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
            kind = message.greeting if isinstance(message, OtherProtocol) else message.kind
            self._conversation.move(self._other, kind)
        except ProtocolError as error:
            self._error = str(error)
            self._conversation.fail()
            raise
        return message
