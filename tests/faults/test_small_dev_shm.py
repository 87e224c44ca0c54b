"""/dev/shm is smaller than the ring, as in a container: a clear error or a memfd, never SIGBUS.

A script runs in a mount namespace of its own, with a small tmpfs on /dev/shm.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[2]

# As root, or as a user that may create user namespaces.
WAYS = (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"])
MOUNT = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'

PRELUDE = """
import logging, os, sys
import numpy as np
from shm_echo import Server, ShmClient, ShmTooSmallError, ShmTransport

logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
name = f"small-{os.getpid()}"
large = {"x": np.zeros(1 << 18, np.uint8)}  # 256 KiB: eight of them are twice what there is
small = {"x": np.zeros(1 << 15, np.uint8)}

def have():
    stat = os.statvfs("/dev/shm")
    return stat.f_bavail * stat.f_frsize

def fill_twice(server, example):
    '''Write every byte of the ring, and read it: a page that is not there would be a SIGBUS.'''
    with ShmClient(name, example) as client:
        for n in range(16):
            client.send({"x": np.full_like(example["x"], n)})
            if n % 4 == 3:
                x = server.sample(timeout=30).batch["x"]
                assert (x == np.arange(n - 3, n + 1, dtype=np.uint8)[:, None]).all()
"""


def inside(script: str, mount: str = MOUNT) -> subprocess.CompletedProcess[str]:
    """Run a script where /dev/shm has one MiB, or is as `mount` leaves it."""
    refusals = []
    for way in WAYS:
        try:
            allowed = subprocess.run(
                [*way, "sh", "-c", mount, "sh", "true"], capture_output=True, text=True
            )
        except FileNotFoundError:
            pytest.skip("there is no unshare program")
        if allowed.returncode == 0:
            return subprocess.run(
                [*way, "sh", "-c", mount, "sh", sys.executable, "-c", PRELUDE + script],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=2 * WATCHDOG,
            )
        refusals.append(allowed.stderr.strip())
    pytest.skip(f"a tmpfs may not be mounted here: {'; '.join(refusals)}")


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a script that ended with status 0."""
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    return done.stdout


def test_posix_backing_is_rejected_with_the_needed_and_available_bytes() -> None:
    done = inside("""
before = have()
try:
    Server(large, 4, ShmTransport(name, "posix"), num_buffers=2).start()
except ShmTooSmallError as error:
    assert error.need > 2 << 20 and error.have == before == 1 << 20, (error.need, error.have)
    assert have() == before and os.listdir("/dev/shm") == []
    print(error.path, error, sep=chr(10))
""")
    path, text = succeeded(done).splitlines()
    assert path == "/dev/shm"
    assert text.startswith("the ring needs 2,")
    assert "but /dev/shm has 1,048,576 (1.0 MiB): " in text
    assert "backing='memfd'" in text


def test_auto_backing_uses_a_memfd_and_logs_one_line() -> None:
    done = inside("""
with Server(large, 4, ShmTransport(name), num_buffers=2) as server:
    fill_twice(server, large)
    assert os.listdir("/dev/shm") == [] and have() == 1 << 20
print("done")
""")
    assert succeeded(done) == "done\n"
    lines = [line for line in done.stderr.splitlines() if "memfd" in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("shm_echo.ring INFO /dev/shm has 1048576 bytes free, the ring needs")


def test_a_ring_that_fits_is_allocated_in_full_at_the_start() -> None:
    done = inside("""
with Server(small, 4, ShmTransport(name, "posix"), num_buffers=2) as server:
    taken = (1 << 20) - have()
    assert taken >= 8 * small["x"].nbytes, taken
    filler = os.open("/dev/shm/filler", os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(filler, bytes(4096))  # another process uses all the rest
    except OSError:
        pass
    assert have() == 0
    fill_twice(server, small)
print("done")
""")
    assert succeeded(done) == "done\n"


@pytest.mark.parametrize("backing", ["posix", "auto"])
def test_the_broadcast_segment_meets_the_same_rules(backing: str) -> None:
    done = inside(f"""
server = Server(small, 4, ShmTransport(name, {backing!r}), num_buffers=2, publishes=large)
try:
    server.start()
except ShmTooSmallError as error:
    assert {backing!r} == "posix"
    assert error.need > 3 << 18
    print("refused")
    sys.exit()
server.publish({{"x": np.full(1 << 18, 7, np.uint8)}})
with ShmClient(name, small) as client:
    assert (client.latest()[1]["x"] == 7).all()
server.close()
print("memfd")
""")
    assert succeeded(done) == {"posix": "refused\n", "auto": "memfd\n"}[backing]


def test_after_a_rejection_the_space_is_free_and_another_server_starts() -> None:
    done = inside("""
for _ in range(3):
    try:
        Server(small, 4, ShmTransport(name, "posix"), num_buffers=2, publishes=large).start()
    except ShmTooSmallError:
        pass
    print("refused", have() == 1 << 20, len(os.listdir("/proc/self/fd")))
with Server(small, 4, ShmTransport(name, "posix"), num_buffers=2) as server:
    fill_twice(server, small)
print("done")
""")
    refused, *others, last = succeeded(done).splitlines()
    assert refused.startswith("refused True")
    assert others == [refused, refused]
    assert last == "done"


def test_space_that_others_use_between_check_and_allocation_is_reported_too() -> None:
    done = inside("""
real = os.statvfs
class Plenty:
    f_bavail, f_frsize, f_blocks, f_flag = 1 << 40, 4096, 1 << 40, 0
os.statvfs = lambda path: Plenty
try:
    Server(large, 4, ShmTransport(name, "posix"), num_buffers=2).start()
except ShmTooSmallError as error:
    os.statvfs = real
    print(error.path, have() == 1 << 20)
os.statvfs = lambda path: Plenty
with Server(large, 4, ShmTransport(name), num_buffers=2) as server:
    fill_twice(server, large)
print("done")
""")
    assert succeeded(done) == "/dev/shm True\ndone\n"


# ---------------------------------------------------------------- no /dev/shm at all

WITHOUT = {
    # /dev becomes an empty folder but for the devices that Python needs.
    "absent": "mount -t tmpfs tmpfs /dev/shm && "
    "for d in null zero urandom random; do touch /dev/shm/$d && "
    "mount --bind /dev/$d /dev/shm/$d || exit 1; done && "
    'mount --rbind /dev/shm /dev && exec "$@"',
    "read-only": 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"',
}


@pytest.mark.parametrize("why", WITHOUT)
def test_without_a_usable_dev_shm_posix_is_refused_and_auto_takes_a_memfd(why: str) -> None:
    done = inside(
        """
try:
    Server(small, 4, ShmTransport(name, "posix"), num_buffers=2).start()
except ShmTooSmallError as error:
    print(error.path, error.have, sep=chr(10))
    print(error)
with Server(small, 4, ShmTransport(name), num_buffers=2, publishes=small) as server:
    fill_twice(server, small)
print("memfd")
""",
        WITHOUT[why],
    )
    path, have, text, last = succeeded(done).splitlines()
    assert (path, have, last) == (f"/dev/shm ({why})", "0", "memfd")
    assert f"but /dev/shm ({why}) has 0 (0.0 MiB): " in text
    assert "backing='memfd'" in text
    assert f"/dev/shm ({why}) has 0 bytes free" in done.stderr
