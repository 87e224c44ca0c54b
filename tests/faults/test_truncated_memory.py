"""A client truncates the segment through its descriptor: the server and its producers survive.

Each server runs in a process of its own, because the guard's signal handler is per process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[2]

# The vandal is a client that keeps the descriptors that the server sends it.
VANDAL = """
import os, sys
import numpy as np
from shm_echo import ShmClient
from shm_echo.ring.segment import Segment

kept, real = [], Segment.from_fd.__func__
def from_fd(cls, fd, size):
    kept.append(os.dup(fd))
    return real(cls, fd, size)
Segment.from_fd = classmethod(from_fd)
address, bytes_left, *segments = sys.argv[1], *map(int, sys.argv[2:])
client = ShmClient(address, {"x": np.zeros(1024)})
for which in segments:
    os.ftruncate(kept[which], bytes_left)
os.kill(os.getpid(), 9)
"""

# `truncate` and `expect_damage` are for the scripts below.
PRELUDE = f"""
import faulthandler, os, signal, subprocess, sys, threading
import numpy as np
from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import RingCorruptedError

address = "vandal-" + str(os.getpid())
example = {{"x": np.zeros(1024)}}
ones = {{"x": np.ones(1024)}}

def truncate(*segments, bytes_left=0, status=-9):
    numbers = map(str, (bytes_left, *(segments or (0,))))
    done = subprocess.run([sys.executable, "-c", {VANDAL!r}, address, *numbers])
    assert done.returncode == status, done

def expect_damage(call, *args, **options):
    try:
        result = call(*args, **options)
    except RingCorruptedError as error:
        assert "another process has truncated it" in str(error), error
    else:
        raise AssertionError(f"{{call}} returned {{result}}")
"""


def run(script: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script],
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * WATCHDOG,
    )


def output(script: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a script prints that ends well."""
    done = run(script, env)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    return done.stdout


AFTERWARDS = """
expect_damage(server.sample, timeout=60)
expect_damage(client.send, ones, timeout=60)
expect_damage(server.sample, timeout=60)
client.close()
server.close()
with Server(example, 2, ShmTransport(address), publishes=example) as server:
    with ShmClient(address, example) as client:
        assert client.send_batch({"x": np.ones((2, 1024))}, timeout=60) == 2
        assert (server.sample(timeout=60).batch["x"] == 1).all()
        server.publish(ones)
        assert (client.latest()[1]["x"] == 1).all()
print("survived")
"""


@pytest.mark.parametrize("bytes_left", [0, 4096, 20000], ids=["all", "most", "some"])
def test_the_server_survives_and_the_next_one_of_its_process_works(bytes_left: int) -> None:
    assert (
        output(f"""
server = Server(example, 2, ShmTransport(address, "posix"), num_buffers=4).start()
client = ShmClient(address, example)
client.send(ones)
truncate(bytes_left={bytes_left})
{AFTERWARDS}
""")
        == "survived\n"
    )


# The server looks for the handler of SIGBUS four times a second.
UNTIL_CAUGHT = """
while not any(line.startswith("SigCgt") and int(line.split()[1], 16) & 1 << signal.SIGBUS - 1
              for line in open("/proc/self/status")):
    threading.Event().wait(0.01)
"""
ENABLING = {
    "never": ("", "", "truncate()"),
    "before": ("faulthandler.enable()", "", "truncate()"),
    "before, then disabled": (
        "faulthandler.enable()",
        f"faulthandler.disable(){UNTIL_CAUGHT}",
        "truncate()",
    ),
    "before, then disabled and enabled": (
        "faulthandler.enable()",
        "faulthandler.disable(); faulthandler.enable()\n"
        "server._parts.ring.segment.mapping.renew_guard()",
        "truncate()",
    ),
    # Its report of threads that run meanwhile can crash. So nobody dies here, which another thread
    # would notice: this thread has the fault, and the interpreter lock.
    "after": ("", "faulthandler.enable()", "os.ftruncate(server._parts.ring.segment.fileno(), 0)"),
}


@pytest.mark.parametrize(("before", "after", "cut"), ENABLING.values(), ids=ENABLING)
def test_faulthandler_may_be_enabled_before_or_after(before: str, after: str, cut: str) -> None:
    done = run(f"""
{before}
server = Server(example, 2, ShmTransport(address, "posix")).start()
client = ShmClient(address, example)
{after}
{cut}
{AFTERWARDS}
""")
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr
    # Enabled later, it gets the signal first and says so; nobody else does.
    assert ("Bus error" in done.stderr) == (not before and bool(after)), done.stderr


def test_a_batch_in_use_turns_to_zeros_and_what_waits_is_told() -> None:
    assert (
        output("""
server = Server(example, 2, ShmTransport(address, "posix")).start()
client = ShmClient(address, example)
client.send_batch({"x": np.ones((2, 1024))}, timeout=60)
batch = server.sample(timeout=60).batch["x"]
assert batch.sum() == 2048
outcomes = []
def wait():
    try:
        outcomes.append(server.sample())
    except RingCorruptedError:
        outcomes.append("damaged")
waiter = threading.Thread(target=wait)
waiter.start()
truncate()
waiter.join(60)
assert outcomes == ["damaged"], outcomes
assert not batch.any()
client.close()
server.close()
print("told")
""")
        == "told\n"
    )


def test_every_call_of_a_producer_in_another_process_says_so() -> None:
    assert (
        output("""
producer = '''
import sys
import numpy as np
from shm_echo import ShmClient
from shm_echo.errors import RingCorruptedError
ones = {"x": np.ones(1024)}
with ShmClient(sys.argv[1], ones) as client:
    client.latest()
    slot = client.reserve()
    print("ready", flush=True)
    sys.stdin.readline()
    def commit():
        slot["x"][...] = 3
        slot.commit()
    for call in (
        commit,
        lambda: client.send(ones, timeout=60),
        lambda: client.send_batch({"x": np.ones((300, 1024))}, timeout=60),
        lambda: client.reserve(timeout=60),
        lambda: client.wait(timeout=60),
        lambda: client.wait(timeout=60, until="stored"),
        lambda: client.latest(),
        lambda: client.wait_for(3, timeout=60),
    ):
        try:
            print("no error:", call())
        except RingCorruptedError as error:
            assert error.sent == 0
print("done")
'''
server = Server(example, 2, ShmTransport(address, "posix"), publishes=example).start()
server.publish(ones)
child = subprocess.Popen([sys.executable, "-c", producer, address], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert child.stdout.readline() == "ready\\n"
truncate(0, 1)
print(child.communicate("go\\n")[0], end="")
expect_damage(server.sample, timeout=60)
expect_damage(server.publish, ones)
server.close()
""")
        == "done\n"
    )


def test_the_broadcast_alone_may_be_truncated() -> None:
    assert (
        output("""
server = Server(example, 2, ShmTransport(address, "posix"), publishes=example).start()
server.publish(ones)
client = ShmClient(address, example)
truncate(1, bytes_left=4096)
expect_damage(client.latest)
expect_damage(server.publish, ones)
client.send_batch({"x": np.ones((2, 1024))}, timeout=60)
assert (server.sample(timeout=60).batch["x"] == 1).all()
client.close()
server.close()
print("apart")
""")
        == "apart\n"
    )


# ---------------------------------------------------------------- without the guard

UNGUARDED = """
server = Server(example, 2, ShmTransport(address, "posix"{options})).start()
truncate()
server.sample(timeout=60)
"""


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ("", {"SHM_ECHO_SIGBUS": "0"}),
        ("", {"SHM_ECHO_SIGBUS": "off"}),
        (", sigbus_guard=False", {}),
    ],
    ids=["0", "off", "argument"],
)
def test_the_guard_can_be_left_out(options: str, env: dict[str, str]) -> None:
    assert run(UNGUARDED.format(options=options), env).returncode == -signal.SIGBUS


def test_a_wrong_value_of_the_switch_is_an_error_of_server_and_client() -> None:
    out = output(
        """
for make in (lambda: Server(example, 2), lambda: ShmClient("nobody", example)):
    try:
        make()
    except ValueError as error:
        print(error)
""",
        {"SHM_ECHO_SIGBUS": "perhaps"},
    )
    lines = out.splitlines()
    assert len(lines) == 2
    assert all("SHM_ECHO_SIGBUS must be one of" in line for line in lines)


# Bit 6 of the mask in /proc is signal 7.
CATCHES = """
def catches_sigbus():
    mask = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> 6 & 1)
before = catches_sigbus()
transport = {transport}
with Server(example, 2, transport) as server:
    print(before, catches_sigbus(), server._parts.ring.segment.kind)
"""


@pytest.mark.parametrize(
    ("transport", "installed", "kind"),
    [
        ('ShmTransport(address, "posix")', True, "posix"),
        ("ShmTransport(address)", True, "posix"),
        ('ShmTransport(address, "memfd")', False, "memfd"),
        ("None", False, "private"),
        ('ShmTransport(address, "posix", sigbus_guard=False)', False, "posix"),
        (
            'ShmTransport(f"ipc:///tmp/{address}.sock", allow_uids={4711: ["ring"]})',
            False,
            "memfd",
        ),
    ],
)
def test_the_handler_is_installed_for_memory_that_can_be_truncated_only(
    transport: str, installed: bool, kind: str
) -> None:
    assert output(CATCHES.format(transport=transport)) == f"False {installed} {kind}\n"


def test_users_of_other_services_leave_the_ring_where_it_is() -> None:
    transport = """ShmTransport(f"ipc:///tmp/{address}.sock",
    services={"other": type("Other", (), {"name": "other"})()}, allow_uids={4711: ["other"]})"""
    assert output(CATCHES.format(transport=transport)) == "False True posix\n"


def test_a_sealed_ring_cannot_be_truncated() -> None:
    assert (
        output("""
with Server(example, 2, ShmTransport(address, "memfd")) as server:
    truncate(status=1)  # PermissionError
    with ShmClient(address, example) as client:
        client.send_batch({"x": np.ones((2, 1024))}, timeout=60)
        assert (server.sample(timeout=60).batch["x"] == 1).all()
print("sealed")
""")
        == "sealed\n"
    )


# ---------------------------------------------------------------- the bus errors of others


@pytest.mark.parametrize("enabled", [True, False])
def test_a_bus_error_elsewhere_still_ends_the_process(enabled: bool, tmp_path: Path) -> None:
    done = run(f"""
import mmap
if {enabled}:
    faulthandler.enable()
server = Server(example, 2, ShmTransport(address, "posix")).start()
file = open({str(tmp_path / "file")!r}, "w+b")
file.truncate(4096)
memory = mmap.mmap(file.fileno(), 4096)
file.truncate(0)
memory[0]
""")
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.count("Fatal Python error: Bus error") == enabled
