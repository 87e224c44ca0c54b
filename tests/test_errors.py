"""Every exception: its attributes and its message, before and after pickling."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

import shm_echo
from shm_echo import error_base, errors
from shm_echo.errors import ShmEchoError

PACKAGE = Path(shm_echo.__file__).parent

# How each is raised; then its built-in base, and the words that a reader must find in its message.
CASES: dict[str, tuple[ShmEchoError, type[Exception], tuple[str, ...]]] = {
    "AddressError": (
        errors.AddressError("tcp:/x", "what is that"),
        ValueError,
        ("'tcp:/x'", "what is that"),
    ),
    "AddressInUseError": (
        errors.AddressInUseError("/run/a.sock", 77),
        OSError,
        ("/run/a.sock", "pid 77", "another name"),
    ),
    "BatchesHeldError": (
        errors.BatchesHeldError(3, 0.5),
        RuntimeError,
        ("all 3 batch buffers", "0.5 s", "num_buffers above 3"),
    ),
    "BindError": (
        errors.BindError("[::1]:80", "Permission denied", 13),
        OSError,
        ("failed to start transport: cannot listen at [::1]:80: Permission denied",),
    ),
    "PortInUseError": (
        errors.PortInUseError("127.0.0.1:5000", 98),
        RuntimeError,
        ("failed to start transport: ", "127.0.0.1:5000", "in use", "port=0"),
    ),
    "ConnectionClosedError": (
        errors.ConnectionClosedError("the server has gone", 17),
        ConnectionError,
        ("the server has gone",),
    ),
    "DescriptorLimitError": (
        errors.DescriptorLimitError("another client", 1024),
        OSError,
        ("another client", "1024", "ulimit -n"),
    ),
    "EchoWireError": (
        errors.EchoWireError("Unexpected handshake magic b'HTTP' from h:1; is it an echo server?"),
        ValueError,
        ("Unexpected handshake magic b'HTTP' from h:1",),
    ),
    "ForkedHandleError": (errors.ForkedHandleError("the parent's"), RuntimeError, ("parent's",)),
    "HandshakeError": (errors.HandshakeError("no"), ConnectionError, ("no",)),
    "ItemError": (
        errors.ItemError(17, 2, 77, "ValueError: bad image", ""),
        RuntimeError,
        ("item 17 failed in worker 2 (pid 77): ValueError: bad image",),
    ),
    "LoaderTimeoutError": (
        errors.LoaderTimeoutError(2.5, 1, 77, 17),
        TimeoutError,
        ("not ready within 2.5 s", "worker 1 (pid 77)", "item 17"),
    ),
    "NotBuiltError": (
        errors.NotBuiltError("/src/shm_echo", "python -m pip install -e /src"),
        ImportError,
        ("/src/shm_echo is not built", "python -m pip install -e /src"),
    ),
    "OtherServerError": (
        errors.OtherServerError("tcp://h:1"),
        ConnectionError,
        ("tcp://h:1 is served by another server", "get a connector from the new server"),
    ),
    "PeerRefusedError": (errors.PeerRefusedError("other user"), ConnectionError, ("other user",)),
    "PidfdUnavailableError": (
        errors.PidfdUnavailableError("pidfd_open is not there"),
        OSError,
        ("pidfd_open is not there",),
    ),
    "ProducerDiedError": (
        errors.ProducerDiedError(12, signal.SIGKILL),
        RuntimeError,
        ("producer pid 12 was ended by SIGKILL without closing",),
    ),
    "HandshakeTimeoutError": (
        errors.HandshakeTimeoutError("/run/a.sock", 30, 12, "no answer came"),
        TimeoutError,
        ("/run/a.sock: the server is there (pid 12) and does not answer", "30 s"),
    ),
    "ProtocolError": (errors.ProtocolError("garbage"), ConnectionError, ("garbage",)),
    "ProtocolVersionError": (
        errors.ProtocolVersionError("/run/a.sock", 1, 2, "9.9"),
        ConnectionError,
        ("/run/a.sock", "protocol 2", "9.9", "speaks 1", "both sides"),
    ),
    "RefusedError": (
        errors.RefusedError("/run/a.sock", "full", "there is no room", {"limit": 4}),
        ConnectionError,
        ("/run/a.sock", "there is no room"),
    ),
    "RequestError": (
        errors.RequestError("bad_op", "unknown request", {"op": "x"}),
        RuntimeError,
        ("unknown request",),
    ),
    "RequestTimeoutError": (
        errors.RequestTimeoutError("/run/a.sock", "attach", 30),
        TimeoutError,
        ("/run/a.sock", "'attach'", "30 s"),
    ),
    "RingCorruptedError": (
        errors.RingCorruptedError("slot 3 was overwritten", slot=3, sent=2),
        RuntimeError,
        ("the shared memory of the ring is damaged", "slot 3 was overwritten"),
    ),
    "RingFullError": (
        errors.RingFullError(96, "nobody samples"),
        TimeoutError,
        ("96 samples", "nobody samples", "sample()"),
    ),
    "SendTimeoutError": (
        errors.SendTimeoutError(2.5, 40),
        TimeoutError,
        ("2.5 s", "40 samples"),
    ),
    "ServerNotFoundError": (
        errors.ServerNotFoundError("/run/a.sock", "no such file"),
        ConnectionError,
        ("/run/a.sock", "no such file"),
    ),
    "ServiceUnavailableError": (
        errors.ServiceUnavailableError("/run/a.sock", "ring", ["status", "stop"]),
        ConnectionError,
        ("/run/a.sock", "'ring'", "'status', 'stop'"),
    ),
    "ShmEchoError": (ShmEchoError("any"), Exception, ("any",)),
    "ShmTooSmallError": (
        errors.ShmTooSmallError(3 << 20, 1 << 20, "/dev/shm", "use less"),
        OSError,
        ("3,145,728 bytes", "3.0 MiB", "/dev/shm", "1,048,576", "use less"),
    ),
    "SpecMismatchError": (
        errors.SpecMismatchError("['obs']", "expected this, got that"),
        ValueError,
        ("['obs']: expected this, got that",),
    ),
    "WorkerDiedError": (
        errors.WorkerDiedError(
            1, 77, signal=signal.SIGKILL, exit_status=None, index=17, deaths=3, at_row=True
        ),
        RuntimeError,
        ("3 workers died at item 17", "worker 1", "pid 77 was ended by SIGKILL", "memory", "fewer"),
    ),
    "WorkerStartError": (errors.WorkerStartError("no memory"), RuntimeError, ("no memory",)),
}


def test_every_exception_has_a_case_here() -> None:
    assert sorted(CASES) == sorted(errors.__all__)


def test_all_lists_every_exception_of_the_module_in_order() -> None:
    found = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, ShmEchoError)
    ]
    assert sorted(found) == errors.__all__ == sorted(errors.__all__)


def test_no_other_module_defines_an_exception_for_users() -> None:
    """Private ones never leave the package. The demo is a program of its own."""
    elsewhere = []
    for path in PACKAGE.rglob("*.py"):
        if path in (
            PACKAGE / "errors.py",
            PACKAGE / "connection_errors.py",
            PACKAGE / "loader_errors.py",
        ):
            continue
        if path.parent.name in ("demo", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                elsewhere += [f"{path.name}: {node.name}"] if bases & set(errors.__all__) else []
    assert elsewhere == []


@pytest.mark.parametrize("name", CASES)
def test_it_is_of_its_own_kind_and_of_a_built_in_one(name: str) -> None:
    error, base, _ = CASES[name]
    assert type(error).__name__ == name
    assert isinstance(error, ShmEchoError)
    assert isinstance(error, base)


@pytest.mark.parametrize("name", CASES)
def test_its_message_says_what_where_and_what_to_do(name: str) -> None:
    error, _, words = CASES[name]
    for word in words:
        assert word in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickling_with_its_attributes(name: str, protocol: int) -> None:
    error = CASES[name][0]
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        for field in facts(error):
            assert getattr(again, field) == getattr(error, field)


def facts(error: ShmEchoError) -> list[str]:
    return [name for name in vars(error) if not name.startswith("_")]


@pytest.mark.parametrize("name", CASES)
def test_its_attributes_are_named_in_its_docstring(name: str) -> None:
    kind = getattr(errors, name)
    words = "".join(base.__doc__ or "" for base in kind.__mro__ if issubclass(base, ShmEchoError))
    assert kind.__doc__
    for fact in facts(CASES[name][0]):
        assert fact in words, fact


def test_the_attributes_have_the_given_values() -> None:
    given: dict[str, dict[str, Any]] = {
        "BatchesHeldError": {"held": 3},
        "HandshakeTimeoutError": {"address": "/run/a.sock", "pid": 12},
        "ItemError": {"index": 17, "worker": 2, "pid": 77, "traceback": ""},
        "LoaderTimeoutError": {"worker": 1, "pid": 77, "index": 17, "stack": ""},
        "WorkerDiedError": {"index": 17, "signal": 9, "exit_status": None, "deaths": 3},
        "NotBuiltError": {
            "command": "python -m pip install -e /src",
            "folder": "/src/shm_echo",
        },
        "ProducerDiedError": {"pid": 12, "signal": 9},
        "ProtocolVersionError": {"ours": 1, "theirs": 2},
        "RefusedError": {"code": "full", "fields": {"limit": 4}},
        "RequestTimeoutError": {"sent": 0, "op": "attach"},
        "RingFullError": {"capacity": 96},
        "SendTimeoutError": {"sent": 40},
        "ConnectionClosedError": {"sent": 17},
        "ServiceUnavailableError": {"service": "ring", "offered": ("status", "stop")},
        "ShmTooSmallError": {"need": 3 << 20, "have": 1 << 20, "path": "/dev/shm"},
        "AddressInUseError": {"address": "/run/a.sock", "pid": 77},
        "SpecMismatchError": {"path": "['obs']"},
    }
    for name, expected in given.items():
        error = CASES[name][0]
        assert {fact: getattr(error, fact) for fact in expected} == expected


def test_messages_without_an_unknown_pid_or_signal() -> None:
    assert "another process" in str(errors.AddressInUseError("/a", None))
    assert "it offers none" in str(errors.ServiceUnavailableError("/a", "ring", []))
    assert str(errors.SpecMismatchError("", "no dict")) == "the sample: no dict"
    assert error_base.describe_death(5, None) == "pid 5 ended"
    assert error_base.describe_death(5, signal.SIGSEGV) == "pid 5 was ended by SIGSEGV"
    assert error_base.describe_death(5, 250) == "pid 5 was ended by signal 250"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [("SendTimeoutError", TimeoutError), ("ConnectionClosedError", ConnectionError)],
)
def test_code_that_knows_only_the_built_in_kind_catches_it(
    kind: str, builtin: type[Exception]
) -> None:
    with pytest.raises(builtin):
        raise CASES[kind][0]
