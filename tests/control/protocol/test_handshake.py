"""The handshake and the messages after it, between two live ends and without a socket."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.endpoint import Endpoint
from shm_echo.control.protocol.frames import encode_frame
from shm_echo.control.protocol.handshake import FULL, PEER, ClientHandshake, ServerHandshake
from shm_echo.control.protocol.messages import (
    PROTOCOL,
    Closed,
    Goodbye,
    Hello,
    Message,
    Refused,
    Reply,
    Request,
    Welcome,
)
from shm_echo.control.protocol.states import Role, State
from shm_echo.errors import (
    PeerRefusedError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServiceUnavailableError,
)

PATH = "/run/x.sock"


class Pair:
    """A client and a server that are joined by nothing but the bytes they hand out."""

    def __init__(
        self,
        service: str = "ring",
        client_protocol: int = PROTOCOL,
        server_protocol: int = PROTOCOL,
    ):
        self.client = ClientHandshake(PATH, service, client_protocol, "0.1")
        self.server = ServerHandshake(["ring", "status"], server_protocol, "0.2")

    def greet(self) -> Hello | Refused | None:
        return self.server.receive(self.client.hello())

    def join(self) -> Welcome:
        assert isinstance(self.greet(), Hello)
        welcome = self.client.receive(self.server.welcome(5, {"max_frame": 100}, {"a": 1}))
        assert welcome is not None
        return welcome


def test_a_client_that_fits_is_welcomed() -> None:
    pair = Pair()
    welcome = pair.join()
    assert (welcome.session, welcome.info, welcome.package) == (5, {"a": 1}, "0.2")
    assert pair.client.endpoint.state is State.READY
    assert pair.server.endpoint.state is State.READY


def test_the_handshake_works_byte_by_byte() -> None:
    pair = Pair()
    hello = pair.client.hello()
    answers = [pair.server.receive(bytes([byte])) for byte in hello]
    assert answers[:-1] == [None] * (len(hello) - 1)
    assert isinstance(answers[-1], Hello)
    words = pair.server.welcome(5, {}, {})
    welcomes = [pair.client.receive(bytes([byte])) for byte in words]
    assert welcomes[:-1] == [None] * (len(words) - 1)
    assert isinstance(welcomes[-1], Welcome)


def test_bytes_that_follow_the_hello_are_kept() -> None:
    client = Endpoint(Role.CLIENT)
    pair = Pair()
    words = client.send(Hello(PROTOCOL, "0", "ring"))
    assert isinstance(pair.server.receive(words + frame_of(Goodbye())), Hello)
    pair.server.welcome(1, {}, {})
    assert pair.server.endpoint.next_message() == Goodbye()


def frame_of(message: Message) -> bytes:
    return encode_frame(Codec().encode(message.to_dict()))


def test_another_protocol_of_the_client_is_one_clear_sentence_on_its_side() -> None:
    pair = Pair(client_protocol=PROTOCOL + 1)
    refused = pair.greet()
    assert isinstance(refused, Refused)
    with pytest.raises(ProtocolVersionError) as caught:
        pair.client.receive(pair.server.refuse(refused))
    assert (caught.value.ours, caught.value.theirs) == (PROTOCOL + 1, PROTOCOL)
    assert str(caught.value) == (
        f"/run/x.sock speaks control protocol {PROTOCOL} (shm-echo 0.2), this process speaks "
        f"{PROTOCOL + 1}: install the same shm-echo on both sides"
    )


def test_another_protocol_in_the_welcome_is_noticed_too() -> None:
    pair = Pair(server_protocol=PROTOCOL + 1)
    assert isinstance(pair.greet(), Hello)
    with pytest.raises(ProtocolVersionError) as caught:
        pair.client.receive(pair.server.welcome(1, {}, {}))
    assert (caught.value.ours, caught.value.theirs) == (PROTOCOL, PROTOCOL + 1)


def test_package_versions_decide_nothing() -> None:
    pair = Pair()
    pair.client = ClientHandshake(PATH, "ring", package="99.0rc1.dev5+local")
    pair.join()


def test_a_service_that_is_not_offered_is_answered_with_those_that_are() -> None:
    pair = Pair(service="mechestim")
    refused = pair.greet()
    assert isinstance(refused, Refused)
    with pytest.raises(ServiceUnavailableError) as caught:
        pair.client.receive(pair.server.refuse(refused))
    assert caught.value.service == "mechestim"
    assert caught.value.offered == ("ring", "status")


def test_a_server_may_refuse_before_it_has_heard_the_hello() -> None:
    pair = Pair()
    pair.client.hello()
    with pytest.raises(RefusedError, match=f"{PATH} refused this client: no room") as caught:
        pair.client.receive(pair.server.refuse(Refused(FULL, "no room", {"clients": 3})))
    assert (caught.value.code, caught.value.fields) == ("full", {"clients": 3})


def test_a_refused_peer_has_its_own_error() -> None:
    pair = Pair()
    pair.client.hello()
    with pytest.raises(PeerRefusedError, match=f"{PATH} refused this process: other user"):
        pair.client.receive(pair.server.refuse(Refused(PEER, "other user")))


@pytest.mark.parametrize(
    "fields", [{}, {"protocol": "1"}, {"offered": "ring"}, {"protocol": PROTOCOL, "package": 5}]
)
@pytest.mark.parametrize("code", ["version", "service"])
def test_a_refusal_with_odd_fields_is_still_a_handshake_error(
    code: str, fields: dict[str, object]
) -> None:
    pair = Pair()
    pair.client.hello()
    with pytest.raises((RefusedError, ProtocolVersionError)):
        pair.client.receive(pair.server.refuse(Refused(code, "odd", fields)))


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"220 smtp.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"ECHO\x01\x00\x00\x00\x00",
        b"\xff" * 64,
        encode_frame(b"not msgpack"),
        encode_frame(b"\x80"),
        frame_of(Reply(1, {})),
        frame_of(Closed()),
    ],
)
def test_something_else_that_answers_is_named_with_its_path(words: bytes) -> None:
    client = ClientHandshake(PATH, "ring")
    client.hello()
    with pytest.raises(
        ProtocolError, match=f"^{PATH} does not speak the shm-echo control protocol"
    ):
        client.receive(words)


def test_a_connection_that_closes_without_an_answer_is_named_with_its_path() -> None:
    client = ClientHandshake(PATH, "ring")
    client.hello()
    with pytest.raises(ProtocolError, match=f"^{PATH} is not served by shm-echo, or"):
        client.receive(b"")


def test_silence_and_half_an_answer_have_different_errors() -> None:
    client = ClientHandshake(PATH, "ring")
    client.hello()
    error = client.timeout_error(5)
    assert isinstance(error, TimeoutError)
    assert str(error).startswith(
        f"{PATH}: the server is there and does not answer: no answer came within 5 s: "
    )
    client.receive(b"\x30")
    assert "does not answer: only part of an answer came within 5 s" in str(client.timeout_error(5))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100))
def test_garbage_to_the_client_is_never_anything_but_a_protocol_error(garbage: bytes) -> None:
    client = ClientHandshake(PATH, "ring")
    client.hello()
    with contextlib.suppress(ProtocolError):
        assert client.receive(garbage) is None


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=100)))
def test_garbage_to_the_server_is_never_anything_but_a_protocol_error(
    garbage: list[bytes],
) -> None:
    server = ServerHandshake(["ring"])
    failed = False
    for piece in garbage:
        try:
            assert server.receive(piece) is None
            assert not failed
        except ProtocolError:
            failed = True
            assert server.endpoint.state is State.ERROR


@settings(deadline=None)
@given(st.data())
def test_damaged_conversations_are_never_anything_but_protocol_errors(data: st.DataObject) -> None:
    """Real messages with a few bytes changed, in pieces of any size."""
    pair = Pair()
    pair.join()
    words = bytearray(frame_of(Request(1, "echo", {"a": [1, "x"]})) + frame_of(Goodbye()))
    for _ in range(data.draw(st.integers(1, 3))):
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.integers(0, 255))
    server = pair.server.endpoint
    cut = data.draw(st.integers(0, len(words)))
    try:
        for piece in (bytes(words[:cut]), bytes(words[cut:])):
            server.feed(piece)
            while (message := server.next_message()) is not None:
                if isinstance(message, Request):
                    server.send(Reply(message.id, {}))
    except ProtocolError as error:
        assert server.state is State.ERROR
        with pytest.raises(ProtocolError, match=re.escape(str(error))):
            server.next_message()


def test_a_message_that_cannot_be_sent_leaves_the_endpoint_as_it_was() -> None:
    pair = Pair()
    pair.join()
    client = pair.client.endpoint
    for args in ({"a": object()}, {"a": b"x" * 100}):
        with pytest.raises(ValueError, match=r"cannot be sent|above the limit of 100"):
            client.send(Request(1, "op", args))
    assert client.state is State.READY
    client.send(Request(1, "op", {}))
