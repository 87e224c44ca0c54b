"""Segments: memory that is allocated in full, cannot be shrunk, and leaves no name behind."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import ShmTooSmallError
from shm_echo.ring.core import _core_cpython
from shm_echo.ring.memory_limit import free_memory
from shm_echo.ring.segment import Backing, Segment
from tests.support.leftovers import nothing_new_stays_in_shm, open_descriptors, shm_names

F_GET_SEALS, F_ADD_SEALS, F_SEAL_WRITE = 1034, 1033, 8
SIZE = 1 << 20

SHARED: tuple[Backing, ...] = ("posix", "memfd")


@pytest.fixture
def small_shm(monkeypatch: pytest.MonkeyPatch) -> int:
    """/dev/shm as a container has it, with 64 KiB left."""
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        found = real(path)
        return SimpleNamespace(f_bavail=16, f_frsize=4096, f_blocks=found.f_blocks, f_flag=0)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return 16 * 4096


# ---------------------------------------------------------------- what it is


@pytest.mark.parametrize("backing", ["auto", "posix", "memfd", "private"])
def test_new_memory_is_zeroed_writable_and_as_large_as_asked(backing: Backing) -> None:
    segment = Segment.allocate(SIZE + 4096, backing)
    assert segment.size == len(segment.mapping) == SIZE + 4096
    assert not any(memoryview(segment.mapping)[:: 4096 // 8])
    memoryview(segment.mapping)[-1] = 7
    assert memoryview(segment.mapping)[-1] == 7
    assert segment.kind == ("posix" if backing == "auto" else backing)
    segment.close()


@pytest.mark.parametrize("backing", SHARED)
def test_only_the_user_may_open_it_and_it_has_no_name(backing: Backing) -> None:
    before = shm_names()
    segment = Segment.allocate(SIZE, backing)
    found = os.fstat(segment.fileno())
    assert found.st_nlink == 0
    assert found.st_uid == os.geteuid()
    if backing == "posix":
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert os.readlink(f"/proc/self/fd/{segment.fileno()}").endswith("(deleted)")
    nothing_new_stays_in_shm(before)
    segment.close()


@pytest.mark.parametrize("backing", SHARED)
def test_every_page_is_allocated_so_that_a_shortage_cannot_show_later(backing: Backing) -> None:
    segment = Segment.allocate(SIZE, backing)
    found = os.fstat(segment.fileno())
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE
    segment.close()


@pytest.mark.parametrize("backing", SHARED)
def test_its_descriptor_is_not_inherited_by_programs(backing: Backing) -> None:
    segment = Segment.allocate(SIZE, backing)
    assert not os.get_inheritable(segment.fileno())
    segment.close()


@pytest.mark.parametrize("size", [0, SIZE // 2, SIZE + 4096])
def test_a_memfd_cannot_be_shrunk_or_grown(size: int) -> None:
    segment = Segment.allocate(SIZE, "memfd")
    with pytest.raises(PermissionError):
        os.ftruncate(segment.fileno(), size)
    with pytest.raises(PermissionError):  # the seals are sealed
        fcntl.fcntl(segment.fileno(), F_ADD_SEALS, F_SEAL_WRITE)
    assert fcntl.fcntl(segment.fileno(), F_GET_SEALS) == 0b111
    memoryview(segment.mapping)[0] = 1
    segment.close()


def test_private_memory_has_no_descriptor() -> None:
    segment = Segment.allocate(SIZE, "private")
    with pytest.raises(ValueError, match=r"this segment \(private\) has no descriptor"):
        segment.fileno()
    segment.close()


def test_an_unknown_backing_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="not 'ramdisk'"):
        Segment.allocate(SIZE, "ramdisk")  # type: ignore[arg-type]


# ---------------------------------------------------------------- too small


def test_posix_memory_that_does_not_fit_is_refused_with_the_numbers(small_shm: int) -> None:
    before, descriptors = shm_names(), open_descriptors()
    with pytest.raises(ShmTooSmallError, match="larger /dev/shm") as caught:
        Segment.allocate(SIZE, "posix")
    error = caught.value
    assert (error.need, error.have, error.path) == (SIZE, small_shm, "/dev/shm")
    assert isinstance(error, OSError)
    nothing_new_stays_in_shm(before)
    assert open_descriptors() <= descriptors


def test_auto_uses_a_memfd_if_dev_shm_is_too_small_and_logs_it(
    small_shm: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shm_echo.ring")
    segment = Segment.allocate(SIZE, "auto")
    assert segment.kind == "memfd"
    assert os.readlink(f"/proc/self/fd/{segment.fileno()}").startswith("/memfd:shm-echo")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"/dev/shm has {small_shm} bytes free, the ring needs {SIZE}: using a memfd instead"
    )
    segment.close()


@pytest.mark.usefixtures("small_shm")
def test_memory_that_fits_into_a_small_dev_shm_is_allocated_there() -> None:
    segment = Segment.allocate(64 << 10, "auto")
    assert segment.kind == "posix"
    segment.close()


@pytest.mark.parametrize(("backing", "path"), [("posix", "/dev/shm"), ("memfd", "memory")])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_a_shortage_that_shows_while_allocating_is_the_same_error(
    backing: Backing, path: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    descriptors = open_descriptors()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ShmTooSmallError) as caught:
        Segment.allocate(SIZE, backing)
    assert (caught.value.need, caught.value.path) == (SIZE, path)
    assert open_descriptors() <= descriptors


@pytest.mark.parametrize("backing", ["auto", "posix", "memfd", "private"])
def test_memory_above_the_limit_of_the_control_group_is_refused_by_its_name(
    backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "/sys/fs/cgroup/box/memory.max"
    monkeypatch.setattr("shm_echo.ring.segment.free_under_limit", lambda: (SIZE - 1, limit))
    with pytest.raises(ShmTooSmallError, match=f"{limit} has 1,048,575") as caught:
        Segment.allocate(SIZE, backing)
    assert caught.value.path == limit
    monkeypatch.setattr("shm_echo.ring.segment.free_under_limit", lambda: (SIZE, limit))
    Segment.allocate(SIZE, backing).close()


@pytest.mark.skipif(free_memory() is None, reason="the kernel does not tell how much there is")
@pytest.mark.parametrize("backing", ["auto", "posix", "memfd", "private"])
def test_memory_that_the_machine_does_not_have_is_refused(backing: Backing) -> None:
    """Shared memory beyond what there is would end in killed processes, not in an error."""
    with pytest.raises(ShmTooSmallError):
        Segment.allocate(1 << 50, backing)


@pytest.mark.parametrize("step", ["unlink_shared_memory", "statvfs", "posix_fallocate", "Mapping"])
def test_a_failure_at_any_step_leaves_no_name_and_no_descriptor(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import posix_ipc

    class Struck(Exception):
        pass

    def strike(*_: Any, **__: Any) -> None:
        raise Struck

    real_unlink = posix_ipc.unlink_shared_memory
    before, descriptors = shm_names(), open_descriptors()
    home = {"unlink_shared_memory": posix_ipc, "Mapping": _core_cpython}.get(step, os)
    monkeypatch.setattr(home, step, strike)
    with pytest.raises(Struck):
        Segment.allocate(SIZE, "posix")
    assert open_descriptors() <= descriptors
    ours = {name for name in shm_names() - before if f"-{os.getpid()}-" in name}
    for name in ours:  # only where the unlinking itself has failed
        assert step == "unlink_shared_memory"
        real_unlink(f"/{name}")


# ---------------------------------------------------------------- the other side


@pytest.mark.parametrize("backing", SHARED)
def test_a_process_with_the_descriptor_sees_the_same_memory(backing: Backing) -> None:
    segment = Segment.allocate(SIZE, backing)
    other = Segment.from_fd(os.dup(segment.fileno()), SIZE)
    memoryview(segment.mapping)[5] = 42
    memoryview(other.mapping)[6] = 43
    assert memoryview(other.mapping)[5] == 42
    assert memoryview(segment.mapping)[6] == 43
    with pytest.raises(ValueError, match="attached"):
        other.fileno()
    segment.close()


def test_a_descriptor_that_is_taken_over_is_closed_in_any_case() -> None:
    segment = Segment.allocate(SIZE, "memfd")
    good, bad = os.dup(segment.fileno()), os.dup(segment.fileno())
    Segment.from_fd(good, SIZE // 2)
    with pytest.raises(ValueError, match=f"memory of {SIZE} bytes cannot hold {2 * SIZE}"):
        Segment.from_fd(bad, 2 * SIZE)
    for fd in (good, bad):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    segment.close()


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="shared memory of 0 bytes cannot hold 4096"):
        Segment.from_fd(os.open(tmp_path / "empty", os.O_RDWR), 4096)


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("backing", ["posix", "memfd", "private"])
def test_closing_leaves_arrays_over_the_memory_alone(backing: Backing) -> None:
    segment = Segment.allocate(SIZE, backing)
    array = np.frombuffer(segment.mapping, np.uint8)
    array[3] = 9
    segment.close()
    segment.close()
    with pytest.raises(ValueError, match="no descriptor"):
        segment.fileno()
    del segment
    assert array[3] == 9
    array[4] = 10


@pytest.mark.parametrize("backing", ["posix", "memfd", "private"])
def test_closing_gives_the_descriptor_back_while_the_memory_is_in_use(backing: Backing) -> None:
    before = open_descriptors()
    segment = Segment.allocate(SIZE, backing)
    array = np.frombuffer(segment.mapping, np.uint8)
    segment.close()
    assert open_descriptors() == before
    assert not array[-1]


def test_attached_memory_keeps_no_descriptor() -> None:
    segment = Segment.allocate(SIZE, "posix")
    before = open_descriptors()
    other = Segment.from_fd(os.dup(segment.fileno()), SIZE)
    assert open_descriptors() == before
    assert len(other.mapping) == SIZE
    segment.close()


def test_memory_is_unmapped_with_the_last_buffer_over_it() -> None:
    segment = Segment.allocate(SIZE, "memfd")
    segment.close()
    array = np.frombuffer(segment.mapping, np.uint8)
    address = array.ctypes.data
    del segment
    view = memoryview(array)[1:]
    del array
    assert _is_mapped(address)
    view[0] = 3
    del view
    assert not _is_mapped(address)


def _is_mapped(address: int) -> bool:
    maps = Path("/proc/self/maps").read_text().splitlines()
    bounds = ([int(end, 16) for end in line.split()[0].split("-")] for line in maps)
    return any(low <= address < high for low, high in bounds)


@pytest.mark.parametrize("size", [0, -1])
def test_a_mapping_of_no_bytes_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 byte, not {size}"):
        _core_cpython.Mapping(-1, size)


def test_a_mapping_that_the_kernel_refuses_is_an_os_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        _core_cpython.Mapping(10**6, 4096)
