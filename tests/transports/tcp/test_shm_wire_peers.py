"""Peers of the shm wire that leave, or vanish, where Python keeps the real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from shm_echo import Server, TcpClient, TcpTransport
from shm_echo.transports.tcp import tls
from tests.support.forwarder import Forwarder
from tests.support.numbered import EXAMPLE, numbered
from tests.support.processes import start
from tests.support.waiting import WATCHDOG, wait_until

CA = trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    return context


def client_context(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority)


def connected(port: int, authority: str) -> TcpClient:
    return TcpClient(
        "127.0.0.1", port, EXAMPLE, tls=client_context(authority), server_hostname="localhost"
    )


def authority() -> str:
    return CA.cert_pem.bytes().decode()


# ---------------------------------------------------------------- the end of an encrypted stream


def send_one(pipe: Any, port: int, trusted: str, stay: bool) -> None:
    client = connected(port, trusted)
    client.send(numbered(1))
    client.wait()
    pipe.send("sent")
    if stay:
        pipe.recv()
    client.close()  # the process ends at once


@pytest.mark.parametrize("end", ["closed", "killed", "cut"])
def test_only_a_stream_that_is_closed_ends_in_good_order(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    transport = TcpTransport(0, tls=server_context())
    with (
        Server(EXAMPLE, 1, transport, num_buffers=2) as server,
        Forwarder(server.port) as forwarder,
        start(send_one, forwarder.port, authority(), end != "closed", method="spawn") as child,
    ):
        assert child.hear() == "sent"
        assert server.sample(WATCHDOG) is not None
        if end == "killed":
            child.kill()
        elif end == "cut":
            forwarder.link(0).end("close")
        wait_until(lambda: server.info().active_connections == 0, "the connection has ended")
        wait_until(lambda: not server.producers(), "the producer is forgotten")
    told = [r.getMessage() for r in caplog.records if "was lost" in r.getMessage()]
    assert len(told) == (end != "closed")
    assert all("encrypted connection broke off" in text for text in told)


def test_without_threads_the_acceptor_pauses_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with Server(EXAMPLE, 1, TcpTransport(0, tls=server_context())) as server:
        with monkeypatch.context() as patch:
            patch.setattr(tls, "start_without_signals", none_left)
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", server.port), WATCHDOG) as sock:
                    assert sock.recv(1) == b""
        with connected(server.port, authority()) as client:
            client.send(numbered(1))
        assert server.sample(WATCHDOG) is not None
    assert caplog.text.count("accepts no connection for now") == 1
    assert "Traceback" not in caplog.text


# ---------------------------------------------------------------- hosts that vanish


@contextlib.contextmanager
def accepted(port: int) -> Iterator[list[socket.socket]]:
    """Copies of this process's sockets that were accepted at a port."""
    found = []
    with contextlib.ExitStack() as stack:
        for name in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(name).startswith("socket:"):
                    sock = stack.enter_context(socket.socket(fileno=os.dup(int(name.name))))
                    if sock.family == socket.AF_INET and sock.getsockname()[1] == port:
                        sock.getpeername()
                        found.append(sock)
        yield found


def tcp_option(sock: socket.socket, name: int) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, name)


@pytest.mark.parametrize("dead_after", [30.0, 9.0, None])
@pytest.mark.parametrize("secured", [False, True])
def test_every_connection_is_probed(secured: bool, dead_after: float | None) -> None:
    context = server_context() if secured else None
    transport = TcpTransport(0, wire="shm", tls=context, dead_after=dead_after)
    with Server(EXAMPLE, 1, transport, publishes=np.zeros(2)) as server:
        with TcpClient(
            "127.0.0.1",
            server.port,
            EXAMPLE,
            tls=client_context(authority()) if secured else None,
            server_hostname="localhost" if secured else None,
        ) as client:
            client.send(numbered(1))
            client.wait()
            assert client.latest() is None  # a control connection, too
            with accepted(server.port) as sockets:
                assert len(sockets) == 2
                for sock in sockets:
                    probed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                    assert bool(probed) == (dead_after is not None)
                    assert tcp_option(sock, socket.TCP_NODELAY)
                    if dead_after is not None:
                        idle = tcp_option(sock, socket.TCP_KEEPIDLE)
                        interval = tcp_option(sock, socket.TCP_KEEPINTVL)
                        count = tcp_option(sock, socket.TCP_KEEPCNT)
                        assert idle + count * interval <= dead_after
                    limit = round(1000 * dead_after) if secured and dead_after is not None else 0
                    assert tcp_option(sock, socket.TCP_USER_TIMEOUT) == limit
