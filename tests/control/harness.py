"""Shared by the control tests: a recording service, processes that talk in lines, raw sockets.

Every wait has a watchdog, so that a test that would hang fails instead.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.frames import FrameDecoder, encode_frame
from shm_echo.control.protocol.messages import PROTOCOL
from shm_echo.control.server.service import ServiceRefusalError, Session
from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).parents[2]


class Recorder:
    """A service that answers a few ops and records the calls that it gets, in order."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.calls: list[tuple[Any, ...]] = []
        self.sessions: list[Session] = []
        self.info: dict[str, Any] = {"greeting": "hi"}
        self.refusal: ServiceRefusalError | None = None
        self.failure: Exception | None = None
        self.watch = True
        self.release = threading.Event()
        self.fds: Sequence[int] = ()
        self._changed = threading.Condition()

    def _record(self, *call: Any) -> None:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    def calls_of(self, what: str) -> list[tuple[Any, ...]]:
        with self._changed:
            return [call for call in self.calls if call[0] == what]

    def wait_for(self, what: str, count: int = 1) -> list[tuple[Any, ...]]:
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: sum(call[0] == what for call in self.calls) >= count, WATCHDOG
            )
            assert arrived, f"no {count} x {what!r} in {self.calls}"
            return [call for call in self.calls if call[0] == what]

    def open(self, session: Session) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        if self.failure is not None:
            raise self.failure
        session.watch = self.watch
        self.sessions.append(session)
        self._record("open", session)
        return self.info

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        self._record("request", session, op)
        if op == "refuse":
            raise ServiceRefusalError("not_now", "come back later", {"hours": 2})
        if op == "fail":
            raise RuntimeError("a secret of the server")
        if op == "unsendable":
            return {"object": object()}, ()
        if op == "badly_refuse":
            raise ServiceRefusalError("not_now", "come back later", {"object": object()})
        if op == "bad_fd":
            return {}, [10**6]
        if op == "fds":
            return {}, self.fds
        if op == "big":
            return {"data": b"x" * args["size"]}, ()
        if op == "wait":
            assert self.release.wait(WATCHDOG)
        return {"op": op, "args": args}, ()

    def goodbye(self, session: Session) -> None:
        self._record("goodbye", session)

    def hangup(self, session: Session) -> None:
        self._record("hangup", session)

    def died(self, session: Session, pid: int, signal: int | None) -> None:
        self._record("died", session, pid, signal)

    def tick(self, now: float) -> None:
        self._record("tick", now)


class Program:
    """A Python process that runs a script and talks with the test in lines."""

    def __init__(self, script: str, *args: str, prefix: Sequence[str] = ()) -> None:
        # Without warnings: some tests fork beside a thread on purpose, and Python warns of that.
        command = [*prefix, sys.executable, "-W", "ignore", "-c", script, *args]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.pid = self._process.pid
        self._heard = b""

    def say(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + WATCHDOG
        fd = self._process.stdout.fileno()
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            assert left > 0, "the program said nothing"
            assert select.select([fd], [], [], left)[0], "the program said nothing"
            data = os.read(fd, 4096)
            assert data, "the program ended without a word"
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def expect(self, line: str) -> None:
        assert self.hear() == line

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(WATCHDOG)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class RawClient:
    """A socket to a control server that can send any bytes."""

    def __init__(self, where: str | socket.socket) -> None:
        if isinstance(where, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(where)
        else:
            self.sock = where
        self.sock.settimeout(WATCHDOG)
        self._frames = FrameDecoder()

    def send(self, data: bytes) -> None:
        """Send bytes, even to a server that may have dropped this client: `hear` shows that."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def say(self, **message: Any) -> None:
        self.send(frame(**message))

    def hear(self) -> dict[str, Any] | None:
        """The next message; None at the end of the stream."""
        while True:
            payload = self._frames.next_frame()
            if payload is not None:
                return Codec().decode(payload)
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._frames.feed(data)

    def hello(self, service: str = "test") -> None:
        self.say(type="hello", protocol=PROTOCOL, package="0", service=service)
        answer = self.hear()
        assert answer is not None
        assert answer["type"] == "welcome", answer

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def frame(**message: Any) -> bytes:
    return encode_frame(Codec().encode(message))


WELCOME = frame(
    type="welcome",
    protocol=PROTOCOL,
    package="0",
    session=1,
    limits={"max_frame": 1 << 20},
    info={},
)


def readable(*sources: Any) -> list[Any]:
    """Wait until one of them is readable."""
    ready, _, _ = select.select(sources, [], [], WATCHDOG)
    assert ready, "nothing happened"
    return ready


def process_state(pid: int) -> str:
    """One letter as in ps; X also if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends between the two calls
        return "X"


def ended(pid: int) -> bool:
    """Return True if a process has ended; a zombie has."""
    return process_state(pid) in "ZX"


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that the kernel shows and that no event announces."""
    deadline = time.monotonic() + WATCHDOG
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def open_fds() -> set[int]:
    # The listing has a descriptor of its own, which is gone when it is looked for.
    listed = os.listdir("/proc/self/fd")
    return {int(fd) for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")}


def descriptor_links(pid: int | str) -> list[str]:
    """The files and sockets behind the open descriptors of a process, as /proc names them."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        # Closed in the meantime, or gone with its process.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


@contextlib.contextmanager
def fake_server(path: str, *words: bytes, close: bool = True) -> Iterator[socket.socket]:
    """A listener that is not a control server: it sends the same bytes to each client."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stop = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError):
                sock, _ = listener.accept()
                with sock:
                    sock.settimeout(WATCHDOG)
                    sock.recv(4096)
                    for word in words:
                        sock.sendall(word)
                    if not close:
                        stop.wait(WATCHDOG)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(WATCHDOG)
            os.unlink(path)


SERVER = """
import sys
from shm_echo.control.server.control_server import ControlServer
from tests.control.harness import Recorder
service = Recorder()
server = ControlServer(sys.argv[1], {"test": service})
server.start()
print("serving", flush=True)
"""

CLIENT = """
import os, signal, sys
from shm_echo.control.client.client_connection import connect
connection = connect(sys.argv[1], "test", 20.0)
print("connected", flush=True)
"""
