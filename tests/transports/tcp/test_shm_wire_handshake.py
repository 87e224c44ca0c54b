"""The acceptor of the shm wire over real sockets: who gets in, and what is said to the others."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest

from shm_echo.errors import (
    ConnectionClosedError,
    HandshakeTimeoutError,
    OtherServerError,
    ProtocolError,
    RefusedError,
    SpecMismatchError,
)
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp import shm_acceptor as acceptor_module
from shm_echo.transports.tcp.server_handshake import Description, FailureLimit
from shm_echo.transports.tcp.shm_handshake import shake_hands
from shm_echo.transports.tcp.shm_wire import MAC_BYTES, Answer, ClientHello, FrameDecoder
from tests.support.leftovers import open_descriptors
from tests.support.shm_wire import (
    SPEC,
    TOKEN,
    VALUE,
    connected,
    identity,
    open_wire,
    serving,
)
from tests.support.waiting import WATCHDOG, wait_until

OTHER = "another-token-of-someone"


def send_number(sock: socket.socket, *numbers: int) -> int:
    """Send samples; return the count that the server acknowledges last."""
    sock.sendall(b"".join(number.to_bytes(8, "little") for number in numbers))
    return last_ack(sock)


def last_ack(sock: socket.socket) -> int:
    data = b""
    while len(data) < 8 or len(data) % 8:
        piece = sock.recv(8)
        assert piece, "the server has closed"
        data += piece
    return int.from_bytes(data[-8:], "little")


def ended(sock: socket.socket) -> bool:
    """Wait for the end of a connection; return True when it has come."""
    sock.settimeout(WATCHDOG)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


# ---------------------------------------------------------------- joining


def test_samples_arrive_and_are_acknowledged_by_count() -> None:
    with serving() as listener, connected(listener.port) as sock:
        opened = open_wire(sock, identity(producer_id="actor-1"), spec=SPEC)
        assert opened.queued == 0
        assert opened.hello.instance_id == b"i" * 16
        assert send_number(sock, 1) == 1
        assert send_number(sock, 2) == 2
        assert listener.ingress.samples == [1, 2]
        host, port = sock.getsockname()
        assert listener.ingress.peers == [(f"{host}:{port}", "actor-1", 0)]


def test_a_hello_that_comes_byte_by_byte_is_understood() -> None:
    with serving() as listener, connected(listener.port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in ClientHello("samples", bytes(16), bytes(32)).encode():
            sock.sendall(bytes([byte]))
        wait_until(lambda: listener.ingress.peers, "the connection is adopted")


@pytest.mark.parametrize("mine", [None, "monday"])
@pytest.mark.parametrize("theirs", [None, "tuesday"])
def test_another_run_is_refused_with_both_names(mine: str | None, theirs: str | None) -> None:
    with serving(run_id=theirs) as listener, connected(listener.port) as sock:
        if mine == theirs:
            assert open_wire(sock, identity(run_id=mine)).hello.run_id == theirs
            return
        with pytest.raises(RefusedError) as refused:
            open_wire(sock, identity(run_id=mine))
        assert refused.value.code == "run_id"
        assert refused.value.fields == {"run_id": theirs}
        for name in (mine, theirs):
            assert name is None or repr(name) in str(refused.value)


def test_the_server_itself_refuses_another_run() -> None:
    with serving(run_id="tuesday") as listener, connected(listener.port) as sock:
        sock.sendall(ClientHello("samples", bytes(16), bytes(32), run_id="monday").encode())
        answer = read_answer(sock)
        assert answer.error == "run_id"
        assert ended(sock)
        assert not listener.ingress.peers


def read_answer(sock: socket.socket) -> Answer:
    """Read a server's hello and its answer; the bytes of the hello are skipped."""
    sock.settimeout(WATCHDOG)
    prefix = sock.recv(58, socket.MSG_WAITALL)
    sock.recv(struct.unpack_from("<I", prefix, 54)[0], socket.MSG_WAITALL)
    frames = FrameDecoder(1 << 16)
    while (body := frames.next_frame()) is None:
        frames.feed(sock.recv(frames.missing))
    return Answer.decode(body)


def test_an_example_that_differs_is_named_by_its_path() -> None:
    mine = TreeSpec.from_example({"n": np.int32(0)})
    with serving() as listener, connected(listener.port) as sock:
        with pytest.raises(SpecMismatchError, match=r"\['n'\]: expected int64 .* got int32"):
            open_wire(sock, spec=mine)


def test_a_published_example_that_differs_is_named_by_its_path() -> None:
    mine = TreeSpec.from_example({"w": np.zeros(4, np.float32), "step": np.int64(0)})
    with serving(publishes=VALUE) as listener, connected(listener.port) as sock:
        with pytest.raises(SpecMismatchError, match=r"\['w'\]: expected float32 \(3,\)"):
            open_wire(sock, role="control", publishes=mine)


def test_a_reader_of_a_server_that_publishes_nothing_is_refused() -> None:
    with serving() as listener, connected(listener.port) as sock:
        with pytest.raises(RefusedError, match="publishes nothing"):
            open_wire(sock, role="reader")


def test_another_instance_than_the_expected_one_gets_nothing() -> None:
    with serving() as listener, connected(listener.port) as sock:
        with pytest.raises(OtherServerError):
            open_wire(sock, instance_id=b"j" * 16)


# ---------------------------------------------------------------- tokens


def test_a_token_lets_in_and_both_sides_prove_it() -> None:
    with serving(tokens={"ann": OTHER, "bob": TOKEN}) as listener:
        with connected(listener.port) as sock:
            open_wire(sock, identity(TOKEN))
            assert send_number(sock, 5) == 1


@pytest.mark.parametrize("role", ["samples", "control", "reader"])
def test_a_wrong_token_is_refused(role: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(tokens={"ann": TOKEN}, publishes=VALUE) as listener:
        with connected(listener.port) as sock:
            with pytest.raises(RefusedError, match="does not know the token") as refused:
                open_wire(sock, identity(OTHER), role=role)
    assert refused.value.code == "token"
    assert not listener.ingress.peers
    assert "does not know the token" in caplog.text
    for secret in (TOKEN, OTHER):
        assert secret not in caplog.text
        assert secret not in str(refused.value)


def test_no_token_is_an_error_that_says_how_to_give_one() -> None:
    with serving(tokens={"ann": TOKEN}) as listener, connected(listener.port) as sock:
        with pytest.raises(RefusedError, match=r"token=, or set SHM_ECHO_TOKEN") as refused:
            open_wire(sock)
        assert refused.value.code == "token"


class Tap:
    """A socket that records what is sent through it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sent = b""

    def send(self, data: bytes, flags: int = 0) -> int:
        count = self._sock.send(data, flags)
        self.sent += bytes(data[:count])
        return count

    def recv(self, count: int, flags: int = 0) -> bytes:
        return self._sock.recv(count, flags)

    def fileno(self) -> int:
        return self._sock.fileno()


def test_the_token_is_never_on_the_wire() -> None:
    with serving(tokens={"ann": TOKEN}) as listener, connected(listener.port) as sock:
        tap = Tap(sock)
        open_wire(tap, identity(TOKEN))  # type: ignore[arg-type]
        assert len(tap.sent) > MAC_BYTES
        assert TOKEN.encode() not in tap.sent
        assert identity(TOKEN).token.key() not in tap.sent  # type: ignore[union-attr]


def test_a_proof_cannot_be_used_again() -> None:
    with serving(tokens={"ann": TOKEN}) as listener:
        with connected(listener.port) as sock:
            tap = Tap(sock)
            open_wire(tap, identity(TOKEN))  # type: ignore[arg-type]
        with connected(listener.port) as again:
            again.sendall(tap.sent)
            assert read_answer(again).error == "token"


@contextlib.contextmanager
def impostor(answer: Answer, *, wants_token: bool = True) -> Iterator[tuple[int, list[bytes]]]:
    """A program that answers like a server without knowing the token; records what it gets."""
    import threading

    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(WATCHDOG)
                sock.sendall(Description(bytes(16), SPEC.to_wire()).hello(wants_token))
                with contextlib.suppress(OSError):
                    sock.sendall(answer.encode())
                    while data := sock.recv(65536):
                        got.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], got
        thread.join(WATCHDOG)


@pytest.mark.parametrize("mac", [None, bytes(32)], ids=["no proof", "wrong proof"])
def test_an_impostor_gets_no_sample(mac: bytes | None) -> None:
    with impostor(Answer(0, mac)) as (port, got):
        with connected(port) as sock:
            with pytest.raises(RefusedError, match="has not proved that it knows") as refused:
                open_wire(sock, identity(TOKEN))
            assert refused.value.code == "unproven"
    received = b"".join(got)
    hello = ClientHello("samples", bytes(16), bytes(32)).encode()
    assert len(received) == len(hello) + MAC_BYTES


def test_a_server_that_asks_for_no_token_gets_nothing_of_a_client_with_one() -> None:
    with impostor(Answer(0), wants_token=False) as (port, got):
        with connected(port) as sock:
            with pytest.raises(RefusedError, match="asks for no token") as refused:
                open_wire(sock, identity(TOKEN))
            assert refused.value.code == "unproven"
    assert b"".join(got) == b""


def test_three_failures_of_an_address_hold_up_its_next_try() -> None:
    now = 100.0
    limit = FailureLimit(lambda: now)
    for _ in range(3):
        assert limit.wait("10.0.0.1") == 0
        limit.failed("10.0.0.1")
    assert limit.wait("10.0.0.1") == pytest.approx(1.0)
    assert limit.wait("10.0.0.2") == 0
    now = 100.75
    assert limit.wait("10.0.0.1") == pytest.approx(0.25)
    now = 101.0
    assert limit.wait("10.0.0.1") == 0


def test_failures_of_many_addresses_take_bounded_memory() -> None:
    now = 0.0
    limit = FailureLimit(lambda: now)
    for number in range(5000):
        limit.failed(f"10.0.{number >> 8}.{number & 255}")
        now += 0.0001
    assert len(limit._failures) <= 1024


def test_after_three_failures_the_right_token_waits_and_is_let_in() -> None:
    with serving(tokens={"ann": TOKEN}) as listener:
        for _ in range(4):
            with connected(listener.port) as sock:
                with pytest.raises(RefusedError):
                    open_wire(sock, identity(OTHER))
        with connected(listener.port) as sock:
            open_wire(sock, identity(TOKEN))
            assert send_number(sock, 1) == 1


# ---------------------------------------------------------------- strangers


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.0\r\n\r\n", bytes(64), b"\xff" * 64, b"\x05\x00\x00\x00hello"]
)
def test_a_stranger_is_disconnected_and_named_once(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as listener:
        for _ in range(3):
            with connected(listener.port) as sock:
                sock.sendall(sent)
                assert ended(sock)
        with connected(listener.port) as sock:
            open_wire(sock)
    assert caplog.text.count("does not speak the shm wire") == 1


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        # As a client of TLS does when a busy server greets it too late.
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "begins TLS, and this server was made without",
        ),
        (b"\x16\x03\x03\x00\xc8\x01\x00\x00\xc4", "begins TLS, and this server was made without"),
        (b"POST / HTTP/1.1\r\n", "a request of HTTP"),
    ],
)
@pytest.mark.parametrize("piece", [1, 64])
def test_a_stranger_of_a_known_protocol_is_named_by_it(
    sent: bytes, named: str, piece: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as listener, connected(listener.port) as sock:
        with contextlib.suppress(ConnectionError):  # it hangs up after four bytes
            for start in range(0, len(sent), piece):
                sock.sendall(sent[start : start + piece])
        assert ended(sock)
        wait_until(lambda: named in caplog.text, "it is in the log")
    assert "a frame of" not in caplog.text


def test_a_silent_client_is_disconnected_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_module, "HANDSHAKE_SECONDS", 0.1)
    with serving() as listener, connected(listener.port) as sock:
        assert ended(sock)


def test_more_newcomers_than_the_limit_wait_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor_module, "MAX_PENDING", 4)
    with serving() as listener, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(listener.port)) for _ in range(4)]
        wait_until(lambda: len(listener.acceptor._pending) == 4, "four pending connections")
        with connected(listener.port) as sock:
            with pytest.raises(HandshakeTimeoutError, match="its hello did not come"):
                shake_hands(
                    sock, b"", "samples", identity(), address="it", deadline=time.monotonic() + 0.1
                )
            silent[0].close()
            open_wire(sock)
            assert send_number(sock, 3) == 1


@pytest.mark.parametrize("free", [0, 8], ids=["none_left", "the_last_ones_left"])
def test_without_descriptors_the_acceptor_pauses_and_goes_on(
    free: int, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving() as listener, connected(listener.port) as early:
        open_wire(early)
        sock = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            fillers = []
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            for _ in range(free):  # the program's: a connection does not get them
                os.close(fillers.pop())
            sock.settimeout(WATCHDOG)
            sock.connect(("127.0.0.1", listener.port))
            wait_until(lambda: os.strerror(errno.EMFILE) in caplog.text, "the pause is in the log")
        finally:
            for fd in fillers:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with sock:
            open_wire(sock)
            assert send_number(sock, 1) == 1
        assert send_number(early, 2) == 1
    assert caplog.text.count("accepts no connection for now") == 1


def test_a_server_that_closes_says_so_to_a_client_in_its_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with connected(server.getsockname()[1]) as sock:
            server.accept()[0].close()
            with pytest.raises(ConnectionClosedError, match="closed the connection"):
                open_wire(sock)


def test_a_program_that_is_no_server_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with connected(server.getsockname()[1]) as sock:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"220 mail.example.org ESMTP\r\n")
                with pytest.raises(ProtocolError, match="b'220 ' and not b'SHME'"):
                    open_wire(sock)


def test_descriptors_and_threads_return_to_where_they_were() -> None:
    before = open_descriptors()
    with serving(tokens={"ann": TOKEN}, publishes=VALUE) as listener:
        with connected(listener.port) as sock:
            open_wire(sock, identity(TOKEN))
            send_number(sock, 1)
        with connected(listener.port) as sock:
            open_wire(sock, identity(TOKEN), role="control")
        with connected(listener.port) as sock:
            sock.sendall(b"nonsense that is no hello at all")
            ended(sock)
    assert open_descriptors() == before


# ---------------------------------------------------------------- sessions


def test_a_session_that_comes_again_is_told_its_count() -> None:
    who = identity()
    with serving() as listener:
        with connected(listener.port) as sock:
            open_wire(sock, who)
            assert send_number(sock, 1, 2, 3) == 3
        with connected(listener.port) as sock:
            opened = open_wire(sock, who)
            assert opened.queued == 3
            assert send_number(sock, 4) == 4
    assert [before for _, _, before in listener.ingress.peers] == [0, 3]


def test_a_session_whose_old_connection_is_open_ends_it_and_waits_for_its_count() -> None:
    who = identity()
    with serving() as listener, connected(listener.port) as old:
        open_wire(old, who)
        assert send_number(old, 1, 2) == 2
        listener.ingress.hold_ends.set()
        with connected(listener.port) as new:
            with pytest.raises(HandshakeTimeoutError, match="its answer did not come"):
                shake_hands(new, b"", "samples", who, address="it", deadline=time.monotonic() + 0.1)
            assert ended(old)
        with connected(listener.port) as new:
            listener.ingress.hold_ends.clear()
            assert open_wire(new, who).queued == 2
            assert send_number(new, 3) == 3
    assert listener.ingress.samples == [1, 2, 3]


def test_two_sessions_do_not_share_a_count() -> None:
    with serving() as listener:
        for _ in range(2):
            with connected(listener.port) as sock:
                assert open_wire(sock).queued == 0
                assert send_number(sock, 7) == 1


def test_a_session_belongs_to_the_holder_of_its_token() -> None:
    session = os.urandom(16)
    with serving(tokens={"ann": TOKEN, "bob": OTHER}) as listener:
        with connected(listener.port) as ann:
            open_wire(ann, identity(TOKEN, session=session))
            assert send_number(ann, 1, 2) == 2
            with connected(listener.port) as bob:
                assert open_wire(bob, identity(OTHER, session=session)).queued == 0
                assert send_number(bob, 9) == 1
            assert send_number(ann, 3) == 3


@pytest.mark.parametrize("level", [logging.DEBUG])
def test_nothing_is_logged_about_clients_that_behave(
    level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "shm_echo")
    with serving(tokens={"ann": TOKEN}) as listener, connected(listener.port) as sock:
        open_wire(sock, identity(TOKEN))
        send_number(sock, 1)
    assert caplog.records == []
