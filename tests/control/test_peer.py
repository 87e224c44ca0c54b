"""The process at the other end: its identity, and the way it ended, without reaping it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shm_echo.control import peer as peer_module
from shm_echo.control.peer import (
    Peer,
    check_peer,
    exit_signal,
    has_exited,
    open_pidfd,
    peer_of,
)
from shm_echo.errors import PeerRefusedError
from tests.control.harness import Program, ended, readable

# A process whose parent, in between, is neither the test nor init: the parent reaps on demand.
GRANDCHILD = """
import os, signal, sys
there, here = os.pipe()
child = os.fork()
if child == 0:
    os.close(1)
    with open("/proc/self/comm", "w") as name:
        name.write(sys.argv[1])
    os.write(here, b".")
    signal.pause()
os.read(there, 1)
print(child, flush=True)
for line in sys.stdin:
    os.waitpid(child, 0)
    print("reaped", flush=True)
"""

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        yield ours, theirs


def test_the_kernel_identifies_the_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    assert peer_of(pair[0]) == Peer(os.getpid(), os.geteuid())


def test_only_a_process_of_this_user_and_namespace_is_accepted() -> None:
    check_peer(Peer(os.getpid(), os.geteuid()), "the client")
    with pytest.raises(PeerRefusedError, match=f"the client runs as user {os.geteuid() + 1}"):
        check_peer(Peer(1, os.geteuid() + 1), "the client")
    with pytest.raises(PeerRefusedError, match="the client lives in another pid namespace"):
        check_peer(Peer(0, os.geteuid()), "the client")


@pytest.mark.parametrize("number", [77, 9999], ids=["by the socket", "by the pid"])
def test_a_pidfd_of_the_peer_is_had_with_and_without_the_kernels_help(
    number: int, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "_SO_PEERPIDFD", number)
    pidfd = open_pidfd(pair[0], peer_of(pair[0]))
    try:
        assert fcntl.fcntl(pidfd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert not has_exited(pidfd)
        assert exit_signal(pidfd) is None
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            assert f"Pid:\t{os.getpid()}\n" in info.read()
    finally:
        os.close(pidfd)


def test_without_the_kernels_help_a_peer_that_has_hung_up_is_not_trusted_to_be_itself(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "_SO_PEERPIDFD", 9999)
    before = set(os.listdir("/proc/self/fd"))
    pair[1].close()
    with pytest.raises(ProcessLookupError):
        open_pidfd(pair[0], peer_of(pair[0]))
    assert set(os.listdir("/proc/self/fd")) < before


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL])
def test_a_peer_that_the_kernel_finds_no_more_has_gone(number: int) -> None:
    class Socket:
        def getsockopt(self, *_: int) -> int:
            raise OSError(number, "")

    with pytest.raises(ProcessLookupError):
        open_pidfd(Socket(), Peer(1, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_signal_that_killed_a_child_is_found_and_its_exit_status_stays(
    number: int,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as child:
        pidfd = os.pidfd_open(child.pid)
        try:
            assert exit_signal(pidfd) is None
            os.kill(child.pid, number)
            readable(pidfd)
            assert has_exited(pidfd)
            assert [exit_signal(pidfd) for _ in range(3)] == [number] * 3
            assert child.wait() == -number
        finally:
            os.close(pidfd)


@pytest.mark.parametrize("status", [0, 9])
def test_a_child_that_ends_by_itself_has_no_signal(status: int) -> None:
    with subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"]) as child:
        pidfd = os.pidfd_open(child.pid)
        try:
            readable(pidfd)
            assert exit_signal(pidfd) is None
            assert child.wait() == status
            assert exit_signal(pidfd) is None
        finally:
            os.close(pidfd)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_signal_that_killed_another_process_child_is_found_before_and_after_reaping(
    number: int,
) -> None:
    with Program(GRANDCHILD, "child") as parent:
        child = int(parent.hear())
        pidfd = os.pidfd_open(child)
        try:
            assert exit_signal(pidfd) is None
            os.kill(child, number)
            readable(pidfd)
            assert ended(child)
            assert exit_signal(pidfd) == number
            parent.say()
            parent.expect("reaped")
            if not kernel_tells_after_reaping():
                pytest.skip("this kernel forgets a process when its parent has reaped it")
            assert exit_signal(pidfd) == number
        finally:
            os.close(pidfd)


def kernel_tells_after_reaping() -> bool:
    """PIDFD_GET_INFO with PIDFD_INFO_EXIT came with Linux 6.15."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (6, 15)


def test_a_process_whose_status_the_kernel_hides_has_no_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOTTY, "")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with Program(GRANDCHILD, "child") as parent:
        child = int(parent.hear())
        pidfd = os.pidfd_open(child)
        try:
            os.kill(child, signal.SIGKILL)
            parent.say()
            parent.expect("reaped")
            assert exit_signal(pidfd) is None
        finally:
            os.close(pidfd)


def test_a_program_name_with_parentheses_and_spaces_is_parsed() -> None:
    with Program(GRANDCHILD, "x) S 1 (") as parent:
        child = int(parent.hear())
        pidfd = os.pidfd_open(child)
        try:
            os.kill(child, signal.SIGKILL)
            readable(pidfd)
            assert exit_signal(pidfd) == signal.SIGKILL
        finally:
            os.close(pidfd)
