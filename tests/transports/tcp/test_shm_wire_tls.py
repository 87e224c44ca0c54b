"""TLS of the shm wire over real sockets, with a certificate authority made for the test."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
import trustme

from shm_echo.errors import (
    ConnectionClosedError,
    HandshakeTimeoutError,
    PeerRefusedError,
    ProtocolError,
)
from shm_echo.transports.tcp import shm_acceptor as acceptor_module
from shm_echo.transports.tcp.client_control import RemoteSubscriber
from shm_echo.transports.tcp.tls import accept_tls, connect_tls
from shm_echo.transports.tcp.tls_context import check_server_context, client_context
from tests.support.leftovers import open_descriptors
from tests.support.shm_wire import TOKEN, VALUE, connected, identity, open_wire, serving
from tests.support.waiting import WATCHDOG, wait_until

CA = trustme.CA()


def server_context(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(name).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def encrypted(
    port: int, context: ssl.SSLContext | None = None, name: str | None = "localhost"
) -> socket.socket:
    """Return the plain end of an encrypted connection."""
    return connect_tls(
        connected(port),
        context or trusting(),
        name,
        address=f"127.0.0.1:{port}",
        deadline=time.monotonic() + WATCHDOG,
    )


def read_all(sock: socket.socket) -> bytes:
    if sock.gettimeout() != WATCHDOG:  # else another thread may be sending
        sock.settimeout(WATCHDOG)
    data = bytearray()
    while piece := sock.recv(1 << 16):
        data += piece
    return bytes(data)


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both plain ends of one encrypted connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        raw = connected(server.getsockname()[1])
        accepted, _ = server.accept()
    theirs = accept_tls(accepted, server_context(), WATCHDOG, print)
    mine = connect_tls(
        raw, trusting(), "localhost", address="it", deadline=time.monotonic() + WATCHDOG
    )
    with mine, theirs:
        for sock in (mine, theirs):
            sock.settimeout(WATCHDOG)
        yield mine, theirs


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize("nbytes", [1, 16_384, 16_385, 5_000_000])
def test_bytes_arrive_in_both_directions_at_once(nbytes: int) -> None:
    data = os.urandom(nbytes)
    with pair() as (mine, theirs):

        def send(sock: socket.socket) -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=send, args=(sock,)) for sock in (mine, theirs)]
        got: dict[str, bytes] = {}
        threads += [
            threading.Thread(target=lambda: got.update(mine=read_all(mine))),
            threading.Thread(target=lambda: got.update(theirs=read_all(theirs))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WATCHDOG)
        assert got == {"mine": data, "theirs": data}


def test_a_half_close_goes_through_and_the_other_direction_stays() -> None:
    with pair() as (mine, theirs):
        mine.sendall(b"the last bytes")
        mine.shutdown(socket.SHUT_WR)
        assert read_all(theirs) == b"the last bytes"
        theirs.sendall(b"acknowledged")
        assert mine.recv(100) == b"acknowledged"
        theirs.sendall(b" again")
        theirs.shutdown(socket.SHUT_WR)
        assert read_all(mine) == b" again"


@pytest.mark.parametrize("side", ["client", "server"])
def test_the_end_of_one_side_ends_the_other(side: str) -> None:
    with pair() as (mine, theirs):
        gone, left = (mine, theirs) if side == "client" else (theirs, mine)
        gone.close()
        assert read_all(left) == b""


def test_a_peer_that_reads_nothing_holds_up_its_own_sender_only() -> None:
    with pair() as (mine, theirs):
        mine.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += mine.send(bytes(1 << 16))
                time.sleep(0)
        theirs.sendall(b"go on")
        mine.settimeout(WATCHDOG)
        assert mine.recv(100) == b"go on"
        threading.Thread(target=lambda: mine.shutdown(socket.SHUT_WR)).start()
        assert len(read_all(theirs)) == sent


def test_a_connection_that_is_reset_ends_the_plain_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        raw = connected(server.getsockname()[1])
        accepted, _ = server.accept()
    context = trusting()
    theirs = accept_tls(accepted, server_context(), WATCHDOG, print)
    with context.wrap_socket(raw, server_hostname="localhost") as client, theirs:
        client.sendall(b"x")
        assert theirs.recv(1) == b"x"
        linger = (1).to_bytes(4, "little") + bytes(4)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        with contextlib.suppress(ConnectionResetError):
            assert read_all(theirs) == b""


# ---------------------------------------------------------------- the whole wire


def test_samples_parameters_and_tokens_go_through_tls() -> None:
    who = identity(TOKEN)
    with serving(tls=server_context(), tokens={"ann": TOKEN}, publishes=VALUE) as listener:
        assert listener.publisher is not None
        with encrypted(listener.port) as sock:
            open_wire(sock, who)
            sock.sendall((7).to_bytes(8, "little"))
            sock.settimeout(WATCHDOG)
            assert int.from_bytes(sock.recv(8), "little") == 1
            assert listener.ingress.samples == [7]
            host, _ = listener.ingress.peers[0][0].split(":")
            assert host == "127.0.0.1"
            remote = RemoteSubscriber(
                lambda deadline: encrypted(listener.port),
                who,
                role="control",
                address="the server",
            )
            listener.publisher.publish(VALUE)
            found = remote.latest(None)
            assert found is not None
            assert found[0] == 1
            remote.close()


def pumps() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "shm-echo-tls"]


def test_descriptors_and_threads_return_to_where_they_were() -> None:
    wait_until(lambda: not pumps(), "the connections of other tests have ended")
    before = open_descriptors()
    with serving(tls=server_context()) as listener:
        with encrypted(listener.port) as sock:
            open_wire(sock)
        with connected(listener.port) as sock:
            sock.sendall(b"no TLS at all")
            read_all(sock)
    wait_until(lambda: not pumps(), "all connections have ended")
    assert open_descriptors() == before


# ---------------------------------------------------------------- what can be wrong


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    with serving(tls=server_context()) as listener:
        with pytest.raises(PeerRefusedError, match=r"certificate of localhost is not trusted: .+"):
            encrypted(listener.port, ssl.create_default_context())


def test_a_certificate_of_another_host_is_refused() -> None:
    with serving(tls=server_context("learner.example")) as listener:
        with pytest.raises(PeerRefusedError, match="localhost.*not trusted.*[Hh]ostname"):
            encrypted(listener.port)


def test_a_server_without_tls_is_named() -> None:
    with serving() as listener:
        with pytest.raises(ProtocolError, match="made without tls="):
            encrypted(listener.port)


def test_a_client_without_tls_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with serving(tls=server_context()) as listener, connected(listener.port) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_all(sock)
        wait_until(lambda: "does not speak TLS" in caplog.text, "it is in the log")


def test_a_silent_client_is_disconnected_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor_module, "HANDSHAKE_SECONDS", 0.1)
    with serving(tls=server_context()) as listener, connected(listener.port) as sock:
        assert read_all(sock) == b""


def test_a_silent_server_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = connected(server.getsockname()[1])
        with pytest.raises(HandshakeTimeoutError, match="TLS handshake did not come"):
            connect_tls(
                sock, trusting(), "localhost", address="it", deadline=time.monotonic() + 0.05
            )


def test_a_server_that_hangs_up_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = connected(server.getsockname()[1])
        server.accept()[0].close()
        with pytest.raises((ConnectionClosedError, ProtocolError), match="TLS handshake"):
            connect_tls(sock, trusting(), "localhost", address="it", deadline=time.monotonic() + 9)


def test_a_client_certificate_can_be_asked_for() -> None:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)
    mine = trusting()
    with serving(tls=context) as listener:
        with pytest.raises(ConnectionClosedError):
            with encrypted(listener.port, mine) as sock:
                open_wire(sock)
        CA.issue_cert("actor").configure_cert(mine)
        with encrypted(listener.port, mine) as sock:
            open_wire(sock)


# ---------------------------------------------------------------- contexts


def test_true_means_what_this_machine_trusts() -> None:
    context = client_context(True)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("tls", [False, None, 1, "yes", object()])
def test_what_is_no_context_is_refused(tls: object) -> None:
    with pytest.raises(TypeError, match="tls must be"):
        client_context(tls)
    with pytest.raises(TypeError, match="tls must be"):
        check_server_context(tls)


def test_the_context_of_the_other_side_is_refused() -> None:
    with pytest.raises(ValueError, match="context of a client"):
        check_server_context(trusting())
    with pytest.raises(ValueError, match="context of a server"):
        client_context(server_context())


def test_a_context_without_tls_1_3_is_refused() -> None:
    mine, theirs = trusting(), server_context()
    mine.maximum_version = theirs.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ValueError, match="TLSv1_3 is needed"):
        client_context(mine)
    with pytest.raises(ValueError, match="TLSv1_3 is needed"):
        check_server_context(theirs)


def test_a_peer_that_knows_tls_1_2_only_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(tls=server_context()) as listener:
        with pytest.raises(ProtocolError, match=r"agreed on TLSv1.2"):
            encrypted(listener.port, context)
        wait_until(lambda: "agreed on TLSv1.2" in caplog.text, "it is in the log")


def test_a_server_context_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="certificate"):
        check_server_context(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))


def test_a_server_context_with_a_certificate_is_accepted() -> None:
    context = server_context()
    assert check_server_context(context) is context
