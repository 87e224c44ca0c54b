"""`ulimit -v` and `ulimit -f`: one clear error each, before anything is made."""

from __future__ import annotations

import pytest

from tests.support.scripts import run_script

PRELUDE = """
import errno, os, resource, sys
import numpy as np
from shm_echo import Server, ShmClient, ShmTooSmallError, ShmTransport
from tests.support.leftovers import open_descriptors, shm_names

name = f"ulimit-{os.getpid()}"
large = {"x": np.zeros(1 << 20, np.uint8)}  # 32 of them: 32 MiB
small = {"x": np.zeros(1 << 10, np.uint8)}
backing = sys.argv[1]

def server(example):
    transport = None if backing == "private" else ShmTransport(name, backing)
    return Server(example, 16, transport, num_buffers=2)

def limit(which, size):
    resource.setrlimit(which, (size, resource.getrlimit(which)[1]))

def address_space():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()

def refused(example):
    before, names = open_descriptors(), shm_names()
    try:
        server(example).start()
    except ShmTooSmallError as error:
        assert error.need > 32 << 20
        print(error.path, error.have)
    assert open_descriptors() == before and shm_names() <= names

def works(example):
    with server(example) as running:
        running.submit(example)
        assert running.flush().batch["x"].shape[0] == 1
"""
BACKINGS = ["auto", "posix", "memfd"]


@pytest.mark.parametrize("backing", [*BACKINGS, "private"])
def test_the_address_space_is_named_with_what_is_left(backing: str) -> None:
    out = run_script(
        f"""{PRELUDE}
works(small)
limit(resource.RLIMIT_AS, address_space() + (20 << 20))
refused(large)
works(small)
limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
works(large)
""",
        backing,
    )
    path, have = out.strip().rsplit(" ", 1)
    assert path == "the address space of this process (ulimit -v)"
    assert 0 < int(have) <= 20 << 20


@pytest.mark.parametrize("backing", BACKINGS)
def test_the_file_size_limit_is_named_for_a_memfd_too(backing: str) -> None:
    out = run_script(
        f"""{PRELUDE}
limit(resource.RLIMIT_FSIZE, 16 << 20)
refused(large)
works(small)
""",
        backing,
    )
    assert out == f"the file size limit of this process (ulimit -f) {16 << 20}\n"


def test_memory_of_one_process_is_no_file() -> None:
    run_script(
        f"""{PRELUDE}
limit(resource.RLIMIT_FSIZE, 1 << 20)
works(large)
""",
        "private",
    )


@pytest.mark.parametrize("backing", ["posix", "memfd"])
def test_a_limit_that_comes_between_check_and_allocation_is_the_same_error(backing: str) -> None:
    out = run_script(
        f"""{PRELUDE}
import shm_echo.ring.segment as segment
segment.free_under_ulimits = lambda in_file: ()
limit(resource.RLIMIT_FSIZE, 16 << 20)
refused(large)
limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
limit(resource.RLIMIT_AS, address_space() + (20 << 20))
refused(large)
""",
        backing,
    )
    assert out.splitlines() == [
        "the file size limit of this process (ulimit -f) 0",
        "the address space of this process (ulimit -v) 0",
    ]


def test_a_client_without_address_space_is_told_so() -> None:
    out = run_script(
        f"""{PRELUDE}
with server(large):
    limit(resource.RLIMIT_AS, address_space() + (20 << 20))
    try:
        ShmClient(name, large)
    except MemoryError as error:
        print(error)
""",
        "memfd",
    )
    assert "no memory or address space left (see 'ulimit -v')" in out


@pytest.mark.parametrize("backing", ["posix", "memfd"])
def test_no_descriptor_for_the_memory_is_named(backing: str) -> None:
    out = run_script(
        f"""{PRELUDE}
from shm_echo.errors import DescriptorLimitError
from shm_echo.ring.segment import Segment
Segment.allocate(4096, backing).close()
lowest = os.dup(0)
os.close(lowest)
limit(resource.RLIMIT_NOFILE, lowest)
try:
    Segment.allocate(4096, backing)
except DescriptorLimitError as error:
    print(error)
""",
        backing,
    )
    assert out.startswith("no file descriptor left for the memory of the ring")
