"""What a client is told when it cannot attach: each reason has an error of its own, with the facts.

And each leaves nothing behind: no descriptor here, no producer there.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError
from shm_echo.control.codec import Codec
from shm_echo.control.frames import encode_frame
from shm_echo.control.messages import PROTOCOL
from shm_echo.errors import (
    AddressError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServerNotFoundError,
)
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")

Pair = namedtuple("Pair", ["a", "b"])

EXAMPLE: dict[str, Any] = {
    "obs": {"pos": np.zeros(4, np.float32), "image": np.zeros((8, 8, 3), np.uint8)},
    "action": [np.zeros(2, np.int32), np.int64(0)],
    "pair": Pair(np.float32(0), np.zeros(3, ">i4")),
}


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """The example with another value at a path."""

    def change(node: Any, path: list[Any]) -> Any:
        if not path:
            return value
        key, *rest = path
        if isinstance(node, dict):
            return {**node, key: change(node.get(key), rest)}
        parts = list(node)
        parts[key] = change(parts[key], rest)
        return Pair(*parts) if isinstance(node, Pair) else parts

    return dict(change(EXAMPLE, path))


MISMATCHES = {
    "dtype": (
        changed(["obs", "pos"], np.zeros(4)),
        "['obs']['pos']",
        "expected float32 (4,), got float64 (4,)",
    ),
    "item size alone is equal": (
        changed(["action", 0], np.zeros(2, np.float32)),
        "['action'][0]",
        "expected int32 (2,), got float32 (2,)",
    ),
    "byte order": (
        changed(["pair", 1], np.zeros(3, "<i4")),
        "['pair'].b",
        "expected >i4 (3,), got int32 (3,)",
    ),
    "shape": (
        changed(["obs", "image"], np.zeros((8, 3, 8), np.uint8)),
        "['obs']['image']",
        "expected uint8 (8, 8, 3), got uint8 (8, 3, 8)",
    ),
    "dimensions": (
        changed(["action", 1], np.zeros(1, np.int64)),
        "['action'][1]",
        "expected int64 (), got int64 (1,)",
    ),
    "a key that is missing": (
        {key: value for key, value in EXAMPLE.items() if key != "action"},
        "['action']",
        "without this key",
    ),
    "a key too many": (changed(["reward"], np.float32(0)), "['reward']", "without this key"),
    "a list instead of a dict": (
        changed(["obs"], [np.zeros(4, np.float32), np.zeros((8, 8, 3), np.uint8)]),
        "['obs']",
        "expected a dict",
    ),
    "a tuple instead of a list": (
        changed(["action"], (np.zeros(2, np.int32), np.int64(0))),
        "['action']",
        "expected a list",
    ),
    "a list of another length": (
        changed(["action"], [np.zeros(2, np.int32)]),
        "['action']",
        "expected a list",
    ),
    "a tuple instead of a namedtuple": (
        changed(["pair"], (np.float32(0), np.zeros(3, ">i4"))),
        "['pair']",
        "Pair",
    ),
    "a leaf instead of a node": (changed(["pair"], np.float32(0)), "['pair']", "Pair"),
    "a node instead of a leaf": (
        changed(["obs", "pos"], {"x": np.float32(0)}),
        "['obs']['pos']",
        "expected float32 (4,), got a dict",
    ),
}


@pytest.mark.parametrize(("example", "path", "words"), MISMATCHES.values(), ids=MISMATCHES)
def test_an_example_that_differs_is_refused_with_the_leafs_path_and_both_sides(
    name: str, example: Any, path: str, words: str
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with pytest.raises(SpecMismatchError) as refused:
            ShmClient(name, example)
        assert server.producers() == []
    assert isinstance(refused.value, ValueError)
    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)
    assert "(the server's example, and the client's)" in str(refused.value)


def test_examples_that_mean_the_same_attach(name: str) -> None:
    same = OrderedDict(reversed(EXAMPLE.items()))
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, same):
        assert len(server.producers()) == 1


@pytest.mark.parametrize(
    ("serves", "expects", "path", "words"),
    [
        (None, {"w": np.zeros(2)}, None, "publishes nothing"),
        (
            {"w": np.zeros(2)},
            {"w": np.zeros(3)},
            "['w']",
            r"expected float64 \(2,\), got float64 \(3,\)",
        ),
        ({"w": np.zeros(2)}, {"v": np.zeros(2)}, "['w']", "without this key"),
    ],
)
def test_what_is_published_is_compared_as_samples_are(
    name: str, serves: Any, expects: Any, path: str | None, words: str
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes=serves) as server:
        with pytest.raises(ValueError, match=words) as refused:
            ShmClient(name, EXAMPLE, publishes=expects)
        assert getattr(refused.value, "path", None) == path
        assert server.producers() == []


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"x": 1.0}, r"\['x'\]: an example leaf is a NumPy array or scalar.*got a Python float"),
        ({"x": np.array([object()])}, r"\['x'\]: dtype object holds Python objects"),
    ],
)
def test_an_example_that_cannot_be_one_is_refused_before_anybody_is_asked(
    name: str, example: Any, words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        ShmClient(name, example)  # nobody serves there: that would be another error


# ---------------------------------------------------------------- nobody there


def test_no_server_is_an_error_that_names_the_socket_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(ServerNotFoundError, match="there is no socket; start the server") as error:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert error.value.address == str(path)
    assert isinstance(error.value, ConnectionError)


def test_the_socket_of_a_dead_server_is_no_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(ServerNotFoundError, match="has ended and left the socket behind"):
        ShmClient(f"ipc://{path}", EXAMPLE)


def test_a_server_that_was_closed_is_no_server(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)):
        pass
    with pytest.raises(ServerNotFoundError):
        ShmClient(name, EXAMPLE)


def test_a_file_that_is_no_socket_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("hello")
    with pytest.raises(ServerNotFoundError, match="that file is not a socket"):
        ShmClient(f"ipc://{path}", EXAMPLE)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("two words", "not a name"),
        ("ipc://relative.sock", "must be absolute"),
        ("tcp://localhost:7", "is not supported for this service"),
        (f"ipc:///tmp/{'x' * 120}", "the kernel takes at most 107"),
    ],
)
def test_an_address_that_cannot_be_used_is_explained(address: str, words: str) -> None:
    with pytest.raises(AddressError, match=words) as error:
        ShmClient(address, EXAMPLE)
    assert error.value.address == address
    with pytest.raises(AddressError, match=words):
        ShmTransport(address)


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), "soon"])
def test_a_connect_timeout_that_is_no_time_is_refused(name: str, timeout: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="timeout"):
        ShmClient(name, EXAMPLE, connect_timeout=timeout)


def test_one_producer_too_many_is_told_the_limit_and_its_name(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name, max_producers=1)), ShmClient(name, EXAMPLE):
        with pytest.raises(RefusedError, match=r"\(1\).*raise max_producers") as refused:
            ShmClient(name, EXAMPLE)
        assert refused.value.code == "too_many_producers"


# ---------------------------------------------------------------- somebody else there


def frame(**message: Any) -> bytes:
    return encode_frame(Codec().encode(message))


@contextmanager
def imposter(path: Path, *words: bytes, kind: int = socket.SOCK_STREAM) -> Iterator[None]:
    """Serve at a path, say these words to whoever comes, and then nothing more."""
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(path))
        done = threading.Event()

        def serve() -> None:
            listener.settimeout(WATCHDOG)
            with listener.accept()[0] as sock:
                sock.settimeout(WATCHDOG)
                sock.recv(4096)
                for word in words:
                    sock.sendall(word)
                if not words:
                    done.wait(WATCHDOG)

        thread = threading.Thread(target=serve, daemon=True)
        if kind == socket.SOCK_STREAM:
            listener.listen()
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.ident is not None:
                thread.join(WATCHDOG)


NOT_OURS = {
    "it hangs up": ([b""], "is not served by shm-echo"),
    "it speaks HTTP": (
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        "does not speak the shm-echo control protocol",
    ),
    "it speaks half a word": ([b"\x10\x00\x00\x00abc"], "is not served by shm-echo"),
    "its frame is no message": ([encode_frame(b"\xc1")], "does not speak the shm-echo control"),
    "its message has no type": ([frame(hello="world")], "does not speak the shm-echo control"),
    "it says hello itself": (
        [frame(type="hello", protocol=PROTOCOL, package="1", service="ring")],
        "does not speak the shm-echo control protocol",
    ),
    "its welcome is incomplete": (
        [frame(type="welcome", protocol=PROTOCOL, package="1")],
        "does not speak the shm-echo control protocol",
    ),
}


@pytest.mark.parametrize(("words", "error"), NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_a_server_of_ours_is_named_so(
    tmp_path: Path, words: list[bytes], error: str
) -> None:
    path = tmp_path / "s"
    with imposter(path, *words), pytest.raises(ProtocolError, match=error) as refused:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert str(path) in str(refused.value)


def test_what_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = "shm_echo.transports.shm_client.connect"
    from shm_echo.control.connection import connect as original

    monkeypatch.setattr(
        connect, lambda *args, **options: original(*args, **options, handshake_timeout=0.1)
    )
    path = tmp_path / "s"
    with imposter(path), pytest.raises(ProtocolError, match=f"{path} gave no answer within 0.1 s"):
        ShmClient(f"ipc://{path}", EXAMPLE)


def test_a_socket_of_another_kind_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with imposter(path, kind=socket.SOCK_DGRAM):
        with pytest.raises(ProtocolError, match="it is a socket of another kind"):
            ShmClient(f"ipc://{path}", EXAMPLE)


@pytest.mark.parametrize(
    "words",
    [
        frame(type="welcome", protocol=PROTOCOL + 1, package="9.9", something="new"),
        frame(
            type="refused",
            code="version",
            message="this server speaks another one",
            fields={"protocol": PROTOCOL + 1, "package": "9.9"},
        ),
    ],
    ids=["a newer server welcomes", "a newer server refuses"],
)
def test_another_protocol_version_is_told_with_both_numbers_and_what_to_do(
    tmp_path: Path, words: bytes
) -> None:
    path = tmp_path / "s"
    with imposter(path, words), pytest.raises(ProtocolVersionError) as refused:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert (refused.value.ours, refused.value.theirs) == (PROTOCOL, PROTOCOL + 1)
    assert str(refused.value) == (
        f"{path} speaks control protocol {PROTOCOL + 1} (shm-echo 9.9), this process speaks "
        f"{PROTOCOL}: install the same shm-echo on both sides"
    )


def test_no_descriptor_is_left_to_attach_with(name: str) -> None:
    import resource

    from shm_echo.errors import DescriptorLimitError

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        logging.disable(logging.CRITICAL)  # the log's tracebacks would hold what went wrong
        hogs: list[int] = []
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    hogs.append(os.open("/dev/null", os.O_RDONLY))
            for spare in range(12):  # at every point of the attach there is one less
                if spare:
                    os.close(hogs.pop())
                try:
                    ShmClient(name, EXAMPLE).close()
                    break
                except (DescriptorLimitError, RefusedError) as error:
                    # What is short on the other side is for the other side's log.
                    assert "descriptor" in str(error) or "server's log" in str(error), error
        finally:
            logging.disable(logging.NOTSET)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for hog in hogs:
                os.close(hog)
        assert spare > 1, "it attached with none"
        ShmClient(name, EXAMPLE).close()
        # One that was let in and could not take the ring's descriptor has hung up.
        wait_until(
            lambda: all(producer.state == "hung up" for producer in server.producers()),
            "nobody is attached",
        )
