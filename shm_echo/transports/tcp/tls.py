"""TLS on both sides: a thread for each connection, between the socket and one end of a socketpair.

    TCP socket  <->  pump: encrypts and decrypts  <->  socketpair  <->  C ingress, or client

So everything behind it sees a plain stream socket. A half-close goes through in both directions, as
TLS's close_notify; that takes TLS 1.3, since earlier versions end both directions at once. TLS
costs a call of Python's ssl for every 16 KiB, and a copy more on each side; the guide has figures.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.errors import (
    ConnectionClosedError,
    HandshakeTimeoutError,
    PeerRefusedError,
    ProtocolError,
)
from shm_echo.transports.tcp.socket_thread import start_without_signals
from shm_echo.transports.tcp.tls_context import NEEDED_VERSION, client_text, server_text

__all__ = ["accept_tls", "connect_tls"]

# Bytes that are read at once.
_PIECE = 1 << 18
# Seconds at the exit of the process for connections that were closed before.
_LAST_WAIT = 1.0


def connect_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_hostname: str | None,
    *,
    address: str,
    deadline: float,
) -> socket.socket:
    """Begin TLS as a client, and return a plain socket for what is inside.

    Args:
        sock: a connected socket. It belongs to this function, even if it raises.
        context: the client's context, see `tls_context`.
        server_hostname: the name that the server's certificate is to have.
        address: the server's address, for messages.
        deadline: the moment on the monotonic clock by which the handshake must be done.

    Raises:
        PeerRefusedError: the server's certificate is not trusted.
        ProtocolError: the server does not speak TLS, or the two agree on no version or cipher.
        HandshakeTimeoutError: the server did not answer in time.
        ConnectionClosedError: the server closed the connection.
        DescriptorLimitError: this process may open no more descriptors.
    """
    began = time.monotonic()
    try:
        pump = _Pump(sock, context, False, server_hostname)
    except BaseException:
        sock.close()
        raise
    try:
        pump.shake_hands(deadline)
    except ssl.SSLCertVerificationError as error:
        pump.close_all()
        raise PeerRefusedError(
            f"{address}: the certificate of {server_hostname or 'the server'} is not trusted: "
            f"{error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        pump.close_all()
        raise ProtocolError(client_text(address, error)) from None
    except TimeoutError:
        pump.close_all()
        raise HandshakeTimeoutError(
            address, time.monotonic() - began, None, "its part of the TLS handshake did not come"
        ) from None
    except OSError as error:
        pump.close_all()
        raise ConnectionClosedError(
            f"{address} closed the connection in the TLS handshake: {error.strerror or error}"
        ) from None
    except BaseException:
        pump.close_all()
        raise
    _clients.add(pump)
    return pump.start()


def accept_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    seconds: float,
    report: Callable[[str], None],
    lost: Callable[[], object] = lambda: None,
) -> socket.socket:
    """Begin TLS as a server, without waiting, and return a plain socket for what is inside.

    Args:
        sock: an accepted socket. It belongs to this function, even if it raises.
        context: the server's context.
        seconds: the time of the handshake, after which the connection is closed.
        report: called with the reason if the handshake fails.
        lost: called before the plain socket ends, if the peer has not said that it ends the stream.

    Raises:
        OSError: this process may open no more descriptors, or start no more threads.
    """
    try:
        pump = _Pump(sock, context, True, None, lost)
    except BaseException:
        sock.close()
        raise
    return pump.start(time.monotonic() + seconds, report)


_clients: weakref.WeakSet[_Pump] = weakref.WeakSet()


@atexit.register
def _finish_clients() -> None:
    """Wait until what was closed has said so: else it counts as lost at its server."""
    until = time.monotonic() + _LAST_WAIT
    for pump in list(_clients):
        pump.finish(until)


class _Pump:
    """Moves the bytes of one connection. It owns both of its sockets.

    Args:
        sock: the TCP socket.
        context: the context of this side.
        server_side: True on the server's side.
        server_hostname: the name that the server's certificate is to have, on the client's side.
        lost: as for `accept_tls`.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        lost: Callable[[], object] = lambda: None,
    ) -> None:
        self._lost = lost
        self._thread: threading.Thread | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(
                self._incoming, self._outgoing, server_side, server_hostname
            )
        except ValueError as error:
            raise ValueError(f"server_hostname {server_hostname!r}: {error}") from None
        self._sock = sock
        sock.setblocking(False)
        try:
            with FORK_LOCK:
                self._plain, self._other_end = socket.socketpair()
                register_at_fork(self)
        except OSError:
            raise descriptor_limit_error("a TLS connection") from None
        self._plain.setblocking(False)
        self._buffer = memoryview(bytearray(_PIECE))
        self._to_net = memoryview(b"")
        self._to_plain: deque[memoryview] = deque()
        # Which of the two directions may still bring bytes.
        self._net_open = self._plain_open = True

    def after_fork_in_child(self) -> None:
        self._sock.close()
        self._plain.close()

    def close_all(self) -> None:
        """Close the sockets of a connection that failed before `start`."""
        self._close()
        self._other_end.close()

    def start(
        self, deadline: float | None = None, report: Callable[[str], None] | None = None
    ) -> socket.socket:
        """Start the thread, and return the plain socket, which belongs to the caller.

        Args:
            deadline: the moment by which the thread must have done the handshake; None if that is
                done.
            report: called with the reason if the handshake fails.
        """
        other_end = self._other_end
        del self._other_end  # the caller's: if it goes, the thread must notice
        self._thread = threading.Thread(
            target=self._run, args=(deadline, report), name="shm-echo-tls", daemon=True
        )
        try:
            start_without_signals(self._thread)
        except BaseException as error:
            self._close()
            other_end.close()
            if isinstance(error, RuntimeError):
                text = "this process may start no more threads, and a TLS connection needs one"
                raise OSError(errno.ENOMEM, text) from None
            raise
        return other_end

    def finish(self, until: float) -> None:
        """Wait until the thread has ended, if nobody has the plain socket any more."""
        poll = select.poll()
        with contextlib.suppress(ValueError):  # it closes them now
            poll.register(self._plain, select.POLLRDHUP)
        if self._thread is not None and poll.poll(0):
            self._thread.join(max(0.0, until - time.monotonic()))

    def _close(self) -> None:
        self._sock.close()
        self._plain.close()

    # ---------------------------------------------------------------- the handshake

    def shake_hands(self, deadline: float) -> None:
        """Do the handshake.

        Raises:
            TimeoutError: it was not done by the deadline.
            ssl.SSLError: the peer does not speak TLS, or is not trusted.
            OSError: the connection ended.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            try:
                self._tls.do_handshake()
                self._send_all(deadline)
                if self._tls.version() != NEEDED_VERSION:
                    raise ssl.SSLError(
                        f"the two agreed on {self._tls.version()}, without the "
                        f"half-close of {NEEDED_VERSION}"
                    )
                return
            except ssl.SSLWantReadError:
                self._send_all(deadline)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert, which says why
                    self._send_all(min(deadline, time.monotonic() + 1.0))
                raise
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                if not self._receive():
                    raise ConnectionResetError("it hung up")

    def _send_all(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        while self._take_outgoing():
            with contextlib.suppress(BlockingIOError):
                self._to_net = self._to_net[self._sock.send(self._to_net, socket.MSG_NOSIGNAL) :]
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError

    def _take_outgoing(self) -> bool:
        """Return True if there are encrypted bytes to send."""
        if not self._to_net and self._outgoing.pending:
            self._to_net = memoryview(self._outgoing.read())
        return bool(self._to_net)

    def _receive(self) -> int:
        count = self._sock.recv_into(self._buffer)
        if count:
            self._incoming.write(self._buffer[:count])
        else:
            self._incoming.write_eof()
        return count

    # ---------------------------------------------------------------- the thread

    def _run(self, deadline: float | None, report: Callable[[str], None] | None) -> None:
        try:
            if deadline is not None:
                self.shake_hands(deadline)
                deadline = None
            self._pump()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if deadline is not None and report is not None:
                report(server_text(error))
            self._lost()
        finally:
            self._close()

    def _pump(self) -> None:
        poll = select.poll()
        net, plain = self._sock.fileno(), self._plain.fileno()
        self._decrypt()  # bytes that came with the end of the handshake
        while True:
            self._send_to_net()
            self._send_to_plain()
            done = not self._to_net and not self._plain_open
            if done and not self._net_open and not self._to_plain:
                return
            _watch(poll, net, self._net_events())
            _watch(poll, plain, self._plain_events(), always=done)
            ready = dict(poll.poll())
            if done and ready.get(plain, 0) & select.POLLHUP:
                return  # nobody is left to read what may still come
            if ready.get(net, 0) & ~select.POLLOUT and self._net_open and not self._to_plain:
                self._on_net()
            if ready.get(plain, 0) & ~select.POLLOUT and self._plain_open and not self._to_net:
                self._on_plain()

    def _net_events(self) -> int:
        reads = self._net_open and not self._to_plain
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self._to_net else 0)

    def _plain_events(self) -> int:
        reads = self._plain_open and not self._to_net
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self._to_plain else 0)

    def _on_net(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._receive()
            self._decrypt()

    def _decrypt(self) -> None:
        """Take what can be decrypted, to the end of the stream if that has come."""
        try:
            while self._net_open:
                data = self._tls.read(_PIECE)
                if not data:
                    break
                self._to_plain.append(memoryview(data))
            else:
                return
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLEOFError:  # without close_notify: a peer that was killed, or a cut connection
            self._lost()
        self._net_open = False
        self._send_to_plain()

    def _on_plain(self) -> None:
        try:
            count = self._plain.recv_into(self._buffer)
        except BlockingIOError:
            return
        view = self._buffer[:count]
        while view:
            view = view[self._tls.write(view) :]
        if count == 0:
            self._plain_open = False
            # It sends close_notify, and would then wait for the peer's, which may take any time.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()

    def _send_to_net(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._take_outgoing():
                self._to_net = self._to_net[self._sock.send(self._to_net, socket.MSG_NOSIGNAL) :]
        if not self._to_net and not self._plain_open and not self._outgoing.pending:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def _send_to_plain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._to_plain:
                batch = [self._to_plain[i] for i in range(min(len(self._to_plain), 64))]
                sent = self._plain.sendmsg(batch, [], socket.MSG_NOSIGNAL)
                while self._to_plain and sent >= self._to_plain[0].nbytes:
                    sent -= self._to_plain.popleft().nbytes
                if sent:
                    self._to_plain[0] = self._to_plain[0][sent:]
        if not self._to_plain and not self._net_open:
            with contextlib.suppress(OSError):
                self._plain.shutdown(socket.SHUT_WR)


def _watch(poll: select.poll, fd: int, events: int, *, always: bool = False) -> None:
    """Watch a descriptor for events; for none, not at all: its end would come again and again.

    Args:
        always: watch it for its end alone.
    """
    poll.register(fd, events)
    if not events and not always:
        poll.unregister(fd)
