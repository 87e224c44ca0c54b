"""The sweep: names in /dev/shm whose creator died between creating and unlinking them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import posix_ipc
import pytest

from shm_echo import Server, ShmTransport
from shm_echo.ring.segment import sweep
from tests.control.server.test_refused_peers import needs_root
from tests.support.numbered import EXAMPLE
from tests.support.scripts import run_script

SHM = Path("/dev/shm")


def start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def leave() -> Iterator[Callable[[str], Path]]:
    """Put a file into /dev/shm, and remove it after the test if it is still there."""
    made: list[Path] = []

    def make(middle: str) -> Path:
        path = SHM / f"shm-echo-{middle}{secrets.token_hex(8)}"
        path.touch(mode=0o600)
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink(missing_ok=True)


def test_the_name_of_a_process_that_has_ended_is_removed(leave: Callable[[str], Path]) -> None:
    path = leave(f"{ended_process()}-12345-")
    sweep()
    assert not path.exists()


def test_the_name_of_a_process_whose_number_is_used_again_is_removed(
    leave: Callable[[str], Path],
) -> None:
    path = leave(f"{os.getpid()}-1-")  # there is such a process, and it began later
    sweep()
    assert not path.exists()


def test_the_name_of_a_live_process_is_kept(leave: Callable[[str], Path]) -> None:
    path = leave(f"{os.getpid()}-{start_time(os.getpid())}-")
    sweep()
    assert path.exists()


@pytest.mark.parametrize("middle", ["", "x-1-", "1-2-3-", "12x-5-", "-1-2-"])
def test_foreign_names_are_kept(leave: Callable[[str], Path], middle: str) -> None:
    path = leave(middle)
    sweep()
    assert path.exists()


@pytest.mark.parametrize("error", [posix_ipc.PermissionsError, posix_ipc.ExistentialError])
def test_names_that_cannot_be_removed_are_skipped(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They belong to another user, or another server has swept them at the same moment."""
    names = {f"shm-echo-{ended_process()}-1-{n}" for n in range(3)}
    for stale in names:
        (tmp_path / stale).touch()
    refused = set()

    def unlink(name: str) -> None:
        refused.add(name.removeprefix("/"))
        raise error(name)

    # A folder of its own: in the real one the servers of other programs sweep too.
    monkeypatch.setattr("shm_echo.ring.segment._SHM", tmp_path)
    monkeypatch.setattr(posix_ipc, "unlink_shared_memory", unlink)
    assert sweep() == 0
    assert refused == names


@needs_root
def test_a_stale_name_of_another_user_stops_no_server(leave: Callable[[str], Path]) -> None:
    leave(f"{ended_process()}-1-")
    printed = run_script(
        """
        import os, sys
        from shm_echo.ring.segment import sweep

        os.setresuid(65534, 65534, 65534)
        print(sweep())
        """
    )
    assert printed == "0\n"


def test_a_server_that_starts_sweeps(leave: Callable[[str], Path], name: str) -> None:
    path = leave(f"{ended_process()}-777-")
    with Server(EXAMPLE, 2, ShmTransport(name)):
        assert not path.exists()
