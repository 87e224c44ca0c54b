"""Servers of mechestim as real processes, and clients that say whatever a test wants said.

A :class:`RawClient` speaks frames and msgpack and knows no rules; :func:`dialled` is the client
that users have, as an object, so that a test can hold several.
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
    """``shm-echo serve`` in a process of its own.

    Attributes:
        url: where it serves.
        pid: its number.
        ready: the line that it printed.
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
        """What it prints after ``ready``: there is a line for each address."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, self.log.read_text()
        return line

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(WATCHDOG)

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def state(self) -> dict[str, Any]:
        """What its status service says."""
        with status(self.url) as read:
            return read()

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """Bytes of its memory that are there."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def children(self) -> list[int]:
        """The processes that it has started."""
        return child_processes(self.pid)

    def watched(self) -> set[int]:
        """The processes of which it has a pidfd."""
        found = set()
        for path in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                lines = [line.split() for line in path.read_text().splitlines()]
                found.update(int(line[1]) for line in lines if line[:1] == ["Pid:"])
        return found

    def wait_for_spare(self) -> list[int]:
        """Wait until each session has its worker, one more is kept ready, and no other is left.

        Returns:
            The processes. All of them have been started to the end: the server has a pidfd of each,
            which comes last, and nothing open any more that was for their start.
        """

        def staff() -> list[int]:
            rows = [row for row in self.state()["rows"] if row["isolation"] == "process"]
            serving, children = {row["pid"] for row in rows}, set(self.children())
            complete = serving < children and len(children) == len(rows) + 1
            return sorted(children) if complete and children <= self.watched() else []

        return wait_until(staff, "each session has a worker, and one is kept ready")

    def close(self) -> None:
        """Kill it if it lives, and let go of it."""
        if self.alive:
            self.signal(signal.SIGKILL)
        self.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[ServerProcess]:
    """A server for the ``with`` statement."""
    server = ServerProcess(folder, *options)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def status(url: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """What asks the status service of the server at ``url``, over one connection."""
    with connect(url, "status", WATCHDOG, handshake_timeout=WATCHDOG) as link:
        yield lambda: link.request("read", {}, WATCHDOG)[0]


@contextlib.contextmanager
def dialled(url: str) -> Iterator[Channel]:
    """A well-behaved client."""
    channel = open_session(url)
    try:
        yield channel
    finally:
        channel.close()


class RawClient:
    """A client without manners: sends any bytes.

    Args:
        where: the path of a server's socket, or a connected socket.
        service: what it says that it wants; None to say nothing at first.
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
                self._greet(ClientHandshake("server", service))
            except BaseException:
                self.sock.close()
                raise

    def _greet(self, handshake: ClientHandshake) -> None:
        self.send(handshake.hello())  # a server that is full has refused before it reads this
        while handshake.receive(self._received(1)) is None:
            pass

    def _received(self, most: int) -> bytes:
        """What has come; nothing at the end, whether that is one in order or a reset."""
        try:
            return self.sock.recv(most)
        except ConnectionResetError:
            return b""

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that has closed the connection is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def frame(self, payload: bytes) -> None:
        """Send a payload behind its length."""
        self.send(struct.pack("<I", len(payload)) + payload)

    def say(self, message: Any) -> None:
        """Send a message."""
        self.frame(msgpack.packb(message))

    def hear(self) -> dict[str, Any] | None:
        """The next message; None when the server has closed the connection.

        That an operation is still running is passed over: it depends on how fast the machine is.
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
        """Make a request, and hear what comes."""
        self._number += 1
        self.say({"id": self._number, "op": op, "a": list(args), "b": budget, **more})
        return self.hear()

    def result(self, op: str, *args: Any, budget: Any = 0, **more: Any) -> Any:
        """What a request that succeeds brings."""
        reply = self.ask(op, *args, budget=budget, **more)
        assert reply is not None
        assert "e" not in reply, reply
        return reply["r"]

    def error(self, op: str, *args: Any, budget: Any = 0, **more: Any) -> tuple[str, str]:
        """The class and the message of the error of a request that fails."""
        reply = self.ask(op, *args, budget=budget, **more)
        assert reply is not None, "the server has closed the connection"
        assert "e" in reply, reply
        return reply["e"][0], reply["e"][1]

    def farewell(self) -> str | None:
        """What the server says before it closes the connection, which it must."""
        said = None
        while (message := self.hear()) is not None:
            said = message.get("closed", said)
        return said

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def handle_of(result: Any) -> msgpack.ExtType:
    """The reference to an array that came as a result."""
    assert isinstance(result, msgpack.ExtType), result
    assert result.code == wire.ARRAY
    return wire.handle_ext(msgpack.unpackb(result.data)[0])
