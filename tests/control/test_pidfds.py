"""A kernel or a container without pidfd_open: said by name, before anything is made."""

from __future__ import annotations

import errno
import os

import pytest

from shm_echo.control.server.processes import require_pidfds
from shm_echo.errors import DescriptorLimitError, PidfdUnavailableError
from tests.support.scripts import run_script

FILTERS = ["forbid(PIDFD_OPEN, number)", "old_kernel_without_pidfds(number)"]
NUMBERS = [errno.ENOSYS, errno.EPERM]  # of kernels, and of profiles that don't know the call

PRELUDE = """
import logging, os, sys
import numpy as np
from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import PidfdUnavailableError
from tests.support.leftovers import open_descriptors, shm_names
from tests.support.seccomp import PIDFD_OPEN, forbid, old_kernel_without_pidfds

address, number = sys.argv[1], int(sys.argv[2])
example = {"x": np.float32(0)}
"""


def expected(number: int) -> str:
    """Return the beginning of the message."""
    return f"pidfd_open is not available here ({os.strerror(number)})"


@pytest.mark.parametrize("number", NUMBERS, ids=["ENOSYS", "EPERM"])
@pytest.mark.parametrize("filtered", FILTERS, ids=["new kernel", "old kernel"])
def test_a_server_says_so_at_its_start_and_leaves_nothing(
    filtered: str, number: int, address: str, path: str
) -> None:
    out = run_script(
        f"""{PRELUDE}
{filtered}
server = Server(example, 1, ShmTransport(address))
before, names = open_descriptors(), shm_names()
try:
    server.start()
except PidfdUnavailableError as error:
    print(error)
assert open_descriptors() == before and shm_names() <= names
""",
        address,
        str(number),
    )
    assert out.startswith(expected(number))
    assert "Linux 5.3 or later" in out
    assert "seccomp" in out
    assert not os.path.exists(path)


def test_a_client_says_so_when_it_attaches(address: str) -> None:
    out = run_script(
        f"""{PRELUDE}
import subprocess
server = subprocess.Popen(
    [sys.executable, "-c", '''
import sys
import numpy as np
from shm_echo import Server, ShmTransport
with Server({{"x": np.float32(0)}}, 1, ShmTransport(sys.argv[1])) as server:
    print("serving", flush=True)
    sys.stdin.read()
    print(server.producers(), flush=True)
''', address],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
assert server.stdout.readline() == "serving\\n"
old_kernel_without_pidfds(number)
before = open_descriptors()
try:
    ShmClient(address, example, connect_timeout=30)
except PidfdUnavailableError as error:
    print(error)
assert open_descriptors() == before
print(server.communicate()[0])
""",
        address,
        str(errno.ENOSYS),
    )
    assert out.startswith(expected(errno.ENOSYS))
    assert out.rstrip().endswith("[]")


def test_a_filter_that_comes_later_is_no_shortage_of_descriptors(address: str) -> None:
    """The client has no filter; the server's refusal names the reason, and so does its log."""
    out = run_script(
        f"""{PRELUDE}
import subprocess
from shm_echo.errors import RefusedError
logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stdout)
server = Server(example, 1, ShmTransport(address)).start()
client = subprocess.Popen(
    [sys.executable, "-c", '''
import sys
import numpy as np
from shm_echo import ShmClient
from shm_echo.errors import RefusedError
sys.stdin.readline()
try:
    ShmClient(sys.argv[1], {{"x": np.float32(0)}})
except RefusedError as error:
    print("client:", error)
''', address],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
# Applied to all threads: the control server's has been started.
old_kernel_without_pidfds(number, all_threads=True)
print(client.communicate("go\\n")[0])
server.close()
""",
        address,
        str(errno.ENOSYS),
    )
    log, refusal = (line for line in out.splitlines() if line)
    assert log.startswith(f"refused a connection: {expected(errno.ENOSYS)}")
    assert refusal.startswith("client:")
    assert expected(errno.ENOSYS) in refusal
    assert "descriptor" not in out


def test_a_python_without_the_call_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some distributions build it, on headers of an old kernel."""
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(PidfdUnavailableError, match=r"this Python was built without os\.pidfd_op"):
        require_pidfds()


def test_a_real_shortage_of_descriptors_is_still_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", full)
    with pytest.raises(DescriptorLimitError, match="no file descriptor left for a pidfd"):
        require_pidfds()
