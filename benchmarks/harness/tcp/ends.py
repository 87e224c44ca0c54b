"""The servers and the clients: id-echo's and shm-echo's, each with its defaults.

They are sent to processes of their own, so they are picklable and import what they measure late.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from harness.contender import Send
from harness.loads import NUM_BUFFERS, Load

__all__ = ["BATCHED", "ECHO", "ECHO_CLIENT", "OURS", "OUR_CLIENT", "ClientEnd", "ServerEnd"]

HOST = "127.0.0.1"


class Opened(Protocol):
    """A server that has started."""

    port: int

    def batch(self) -> Any:
        """Wait for the next batch; None once the server is closed."""

    def hush(self) -> None:
        """Print nothing from now on: connections are about to be cut."""

    def close(self) -> None:
        """End the wait of another thread in `batch`."""


class ServerEnd(Protocol):
    """A kind of server."""

    @property
    def name(self) -> str:
        """Return the name for the tables."""

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""

    def open(self, load: Load, /) -> Opened:
        """Start a server on a free port."""


class ClientEnd(Protocol):
    """A kind of client."""

    @property
    def name(self) -> str:
        """Return the name for the tables."""

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""

    def fits(self, load: Load, /) -> bool:
        """Return False if it has nothing to send of this load."""

    def connect(self, port: int, load: Load, /) -> tuple[Send, Callable[[], object]]:
        """Connect; return the call that sends, and the one that closes."""


def _no_echo() -> str | None:
    if importlib.util.find_spec("echo") is None:
        return "id-echo: not installed (pip install 'shm-echo[bench]')"
    return None


class _Open:
    """A server of either library: they have the same methods."""

    def __init__(self, module: str, load: Load) -> None:
        library = importlib.import_module(module)
        self._server = library.Server(
            load.make(),
            batch_size=load.batch_size,
            transport=library.TcpTransport(port=0),
            num_buffers=NUM_BUFFERS,
        )
        self._server.start()
        self.port: int = self._server.port
        self._sample = self._server.sample

    def batch(self) -> Any:
        sample = self._sample()
        return None if sample is None else sample.batch

    def hush(self) -> None:
        pass

    def close(self) -> None:
        self._server.close()


class _OpenEcho(_Open):
    def hush(self) -> None:  # its threads print a line for each connection that is reset
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)


@dataclass(frozen=True)
class EchoServer:
    """id-echo's server."""

    name: str = "id-echo"

    def missing(self) -> str | None:
        return _no_echo()

    def open(self, load: Load, /) -> Opened:
        return _OpenEcho("echo", load)


@dataclass(frozen=True)
class OurServer:
    """shm-echo's server with a TcpTransport of its own wire's default, which is echo's."""

    name: str = "shm-echo"

    def missing(self) -> str | None:
        return None

    def open(self, load: Load, /) -> Opened:
        logging.getLogger("shm_echo").setLevel(logging.ERROR)  # producers are killed on purpose
        return _Open("shm_echo", load)


@dataclass(frozen=True)
class EchoClient:
    """id-echo's TcpClient, one `send` per sample."""

    name: str = "id-echo"

    def missing(self) -> str | None:
        return _no_echo()

    def fits(self, load: Load, /) -> bool:
        return True

    def connect(self, port: int, load: Load, /) -> tuple[Send, Callable[[], object]]:
        echo = importlib.import_module("echo")
        logging.getLogger("echo").setLevel(logging.ERROR)  # it warns when a round is over
        client = echo.TcpClient(HOST, port, load.make())
        return _one(client, load.make()), client.close


@dataclass(frozen=True)
class OurClient:
    """shm-echo's TcpClient: one `send` per sample, or `send_batch` of load.stack samples."""

    batched: bool = False

    @property
    def name(self) -> str:
        return "shm-echo send_batch" if self.batched else "shm-echo"

    def missing(self) -> str | None:
        return None

    def fits(self, load: Load, /) -> bool:
        return bool(load.stack) or not self.batched

    def connect(self, port: int, load: Load, /) -> tuple[Send, Callable[[], object]]:
        shm_echo = importlib.import_module("shm_echo")
        logging.getLogger("shm_echo").setLevel(logging.ERROR)  # the server is killed at the end
        client = shm_echo.TcpClient(HOST, port, load.make())
        if not self.batched:
            return _one(client, load.make()), client.close
        stacked, send_batch = load.stacked(load.stack), client.send_batch

        def send_many() -> int:
            send_batch(stacked)
            return load.stack

        return send_many, client.close


def _one(client: Any, sample: Any) -> Send:
    send = client.send

    def send_one() -> int:
        send(sample)
        return 1

    return send_one


ECHO, OURS = EchoServer(), OurServer()
ECHO_CLIENT, OUR_CLIENT, BATCHED = EchoClient(), OurClient(), OurClient(batched=True)
