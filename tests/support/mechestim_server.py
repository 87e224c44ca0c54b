"""mechestim servers in processes of their own, and clients that can send any message.

A `RawClient` sends frames of msgpack and follows no rules. `dialled` opens the channel of the real
client as an object, so that one test can hold several.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack

from shm_echo.control.client.client_connection import connect
from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.mechestim import wire
from shm_echo.mechestim.remote.connection.channel import Channel
from shm_echo.mechestim.remote.session_opening import open_session
from tests.support.leftovers import child_processes
from tests.support.waiting import WATCHDOG, wait_until

__all__ = ["ROOT", "RawClient", "ServerProcess", "dialled", "handle_of", "serving", "status"]

ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """`shm-echo serve` in a process of its own.

    Attributes:
        url: The address of its socket file.
        pid: Its process number.
        ready: The first line that it has printed.
    """

    program = "shm_echo.cli.main"

    def __init__(self, folder: Path, *options: str) -> None:
        self.path = folder / "server.sock"
        self.url = f"ipc://{self.path}"
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.program, "serve", "--url", self.url, *options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        came = select.select([self._process.stdout], [], [], WATCHDOG)[0]
        self.ready = self._process.stdout.readline().decode() if came else ""
        if not self.ready:
            self.close()
            raise AssertionError(f"no server: {self.log.read_text()}")

    def next_line(self) -> str:
        """Return the next line that it prints: one for each address."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, self.log.read_text()
        return line

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end. Return its exit code."""
        return self._process.wait(WATCHDOG)

    @property
    def alive(self) -> bool:
        """Return True if it has not ended."""
        return self._process.poll() is None

    def state(self) -> dict[str, Any]:
        """Return the answer of its status service."""
        with status(self.url) as read:
            return read()

    def descriptors(self) -> int:
        """Return the number of its open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """Return the bytes of its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def children(self) -> list[int]:
        """Return the processes that it has started."""
        return child_processes(self.pid)

    def watched(self) -> set[int]:
        """Return the processes of which it has a pidfd."""
        found = set()
        for path in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                lines = [line.split() for line in path.read_text().splitlines()]
                found.update(int(line[1]) for line in lines if line[:1] == ["Pid:"])
        return found

    def wait_for_spare(self) -> list[int]:
        """Wait until each session has its worker, one spare worker is ready, and no other is left.

        Returns:
            The worker processes. Their start is complete: the server opens the pidfd of a worker
            last, and then has no descriptor open that only the start needed.
        """

        def workers() -> list[int]:
            rows = [row for row in self.state()["rows"] if row["isolation"] == "process"]
            serving, children = {row["pid"] for row in rows}, set(self.children())
            complete = serving < children and len(children) == len(rows) + 1
            return sorted(children) if complete and children <= self.watched() else []

        return wait_until(workers, "each session has a worker, and one is kept ready")

    def close(self) -> None:
        """Kill it if it runs, and release it."""
        if self.alive:
            self.signal(signal.SIGKILL)
        self.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[ServerProcess]:
    """Run a server for the duration of a `with` block."""
    server = ServerProcess(folder, *options)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def status(url: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Connect to the status service at `url`; yield a function that returns its answer."""
    with connect(url, "status", WATCHDOG, handshake_timeout=WATCHDOG) as link:
        yield lambda: link.request("read", {}, WATCHDOG)[0]


@contextlib.contextmanager
def dialled(url: str) -> Iterator[Channel]:
    """Open the channel of a well-behaved client."""
    channel = open_session(url)
    try:
        yield channel
    finally:
        channel.close()


class RawClient:
    """A client that sends any bytes and follows no rules.

    Args:
        where: The path of a server's socket, or a connected socket.
        service: The service that its hello asks for; None to send no hello.
    """

    def __init__(
        self, where: str | Path | socket.socket, service: str | None = "mechestim"
    ) -> None:
        if isinstance(where, socket.socket):
            self.sock = where
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(str(where))
        self.sock.settimeout(WATCHDOG)
        self._buffer = b""
        self._number = 0
        if service is not None:
            try:
                self.shake_hands(ClientHandshake("server", service))
            except BaseException:
                self.sock.close()
                raise

    def shake_hands(self, handshake: ClientHandshake) -> None:
        self.send(handshake.hello())  # a full server refuses before it reads this
        while handshake.receive(self._received(1)) is None:
            pass

    def _received(self, most: int) -> bytes:
        """Receive bytes; none at the end of the connection, in order or by a reset."""
        try:
            return self.sock.recv(most)
        except ConnectionResetError:
            return b""

    def send(self, data: bytes) -> None:
        """Send bytes; ignore that the server has closed the connection."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def frame(self, payload: bytes) -> None:
        """Send a payload with its length in front."""
        self.send(struct.pack("<I", len(payload)) + payload)

    def send_message(self, message: Any) -> None:
        """Send a message."""
        self.frame(msgpack.packb(message))

    def receive_message(self) -> dict[str, Any] | None:
        """Return the next message; None when the server has closed the connection.

        Busy messages are skipped: their number depends on the speed of the machine.
        """
        while True:
            if len(self._buffer) >= 4:
                end = 4 + struct.unpack_from("<I", self._buffer)[0]
                if len(self._buffer) >= end:
                    payload, self._buffer = self._buffer[4:end], self._buffer[end:]
                    message: dict[str, Any] = msgpack.unpackb(payload, strict_map_key=False)
                    if message == {"busy": True}:
                        continue
                    return message
            data = self._received(1 << 16)
            if not data:
                return None
            self._buffer += data

    def ask(self, op: str, *args: Any, budget: Any = 0, **more: Any) -> dict[str, Any] | None:
        """Make a request. Return the next message."""
        self._number += 1
        self.send_message({"id": self._number, "op": op, "a": list(args), "b": budget, **more})
        return self.receive_message()

    def result(self, op: str, *args: Any, budget: Any = 0, **more: Any) -> Any:
        """Make a request that must succeed. Return its result."""
        reply = self.ask(op, *args, budget=budget, **more)
        assert reply is not None
        assert "e" not in reply, reply
        return reply["r"]

    def error(self, op: str, *args: Any, budget: Any = 0, **more: Any) -> tuple[str, str]:
        """Make a request that must fail. Return the class and the message of the error."""
        reply = self.ask(op, *args, budget=budget, **more)
        assert reply is not None, "the server has closed the connection"
        assert "e" in reply, reply
        return reply["e"][0], reply["e"][1]

    def closed_reason(self) -> str | None:
        """Wait until the server closes the connection. Return the reason that it has sent."""
        said = None
        while (message := self.receive_message()) is not None:
            said = message.get("closed", said)
        return said

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def handle_of(result: Any) -> msgpack.ExtType:
    """Return a reference to an array that was received as a result."""
    assert isinstance(result, msgpack.ExtType), result
    assert result.code == wire.ARRAY
    return wire.handle_ext(msgpack.unpackb(result.data)[0])
