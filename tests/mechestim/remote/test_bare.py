"""A client needs the standard library and msgpack; over a descriptor, not even sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.mechestim.remote.client_script import ROOT, environment, run_client

PROGRAM = """
import mechestim as me

with me.BudgetContext(flop_budget=10**6, quiet=True) as budget:
    x = me.zeros((256,))
    W = me.random.randn(256, 256)
    h = me.einsum('ij,j->i', W, x)
    big = me.array([0.5] * 100_000)
    assert big.tolist() == [0.5] * 100_000
    assert me.apply_along_axis(lambda row: row * 2, 0, me.ones((2, 2))).tolist() == [[2, 2]] * 2
    try:
        me.linalg.inv(me.zeros((2, 2)))
    except me.linalg.LinAlgError:
        pass
    print(budget.summary())
print(float(h.sum()), me.float32(3), me.finfo("f4").eps, me.dtype("f4"))
"""

# In a sandbox, importing these modules and starting a thread raise.
SANDBOX = """
import sys, threading

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("_socket", "socket", "fcntl", "ctypes", "_ctypes", "subprocess",
                    "_posixsubprocess", "select", "multiprocessing"):
            raise ImportError(f"{name} is forbidden in here", name=name)

def start(self):
    raise RuntimeError("threads are forbidden in here")

threading.Thread.start = start
sys.meta_path.insert(0, Forbidden())
for name in ("_socket", "fcntl", "select"):
    sys.modules.pop(name, None)
before = set(sys.modules)
"""


def summary_of(output: str) -> str:
    return output[output.index("mechestim FLOP") :]


def test_a_client_imports_no_foreign_package_but_msgpack(server: object) -> None:
    source = (
        "before = set(sys.modules)  # installed packages may have Python import some at its start\n"
        + PROGRAM
        + """
for name in ("numpy", "optree", "cffi", "posix_ipc", "opt_einsum", "shm_echo.ring"):
    assert name not in sys.modules, name
top = {name.partition(".")[0] for name in set(sys.modules) - before}
foreign = {name for name in top if name not in sys.stdlib_module_names and name[0] != "_"}
assert foreign - {"cython_runtime"} == {"msgpack", "mechestim", "shm_echo"}, foreign
"""
    )
    done = run_client(server.url, source)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_pure_python_form_of_msgpack_will_do(server: object) -> None:
    url = server.url  # type: ignore[attr-defined]
    source = PROGRAM + "import msgpack.fallback as f; assert me and msgpack_is(f)"
    source = "import msgpack\nmsgpack_is = lambda f: msgpack.Packer is f.Packer\n" + source
    done = run_client(url, source, env={"MSGPACK_PUREPYTHON": "1"})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(params=["threads", "process"])
def adopted(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Yield the client's end of a socket that a service has adopted."""
    from shm_echo.mechestim.service.server import MechEstimService

    service = MechEstimService()
    ours, theirs = socket.socketpair()
    try:
        service.adopt(ours, isolation=request.param)
        with theirs:
            yield theirs
    finally:
        service.close()


def sandboxed(url: str, fds: list[int]) -> subprocess.CompletedProcess[str]:
    """Run the program with these descriptors and no others."""
    check = 'assert not {"socket", "_socket", "fcntl", "ctypes", "numpy"} & set(sys.modules)'
    return run_client(url, SANDBOX + PROGRAM + check, pass_fds=fds)


def test_over_a_descriptor_a_client_needs_no_sockets_no_threads_and_no_foreign_code(
    adopted: socket.socket,
) -> None:
    fd = adopted.fileno()
    done = sandboxed(f"fd://{fd}", [fd])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "einsum" in done.stdout


def test_the_same_with_an_arena_that_was_handed_over(adopted: socket.socket) -> None:
    from shm_echo.mechestim.remote.session_opening import prepare_descriptors

    fd = adopted.fileno()
    areas = prepare_descriptors(fd)
    try:
        done = sandboxed(f"fd://{fd}?arena={areas[0]},{areas[1]}", [fd, *areas])
    finally:
        for area in areas:
            os.close(area)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "einsum" in done.stdout


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("fd://x", "AddressError"),
        ("fd://3?arena=4", "AddressError"),
        ("fd://3?memory=4,5", "AddressError"),
        ("fd://987", "ServerNotFoundError"),
        ("fd://0?arena=987,988", "ServerNotFoundError"),
    ],
)
def test_an_invalid_descriptor_is_rejected_with_its_address(url: str, error: str) -> None:
    done = run_client(url, "import mechestim as me; me.ones(1)", stdin=subprocess.DEVNULL)
    assert error in done.stderr.splitlines()[-1]
    assert url in done.stderr


def test_importing_the_client_imports_little() -> None:
    """Modules that take long to import are imported when they are used."""
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
before = set(sys.modules)
import mechestim
mechestim.BudgetContext, mechestim.add
late = {{"asyncio", "socket", "multiprocessing", "unittest", "tempfile", "logging", "json"}}
assert not late & set(sys.modules), late & set(sys.modules)
""",
        ],
        env=environment("ipc:///nowhere"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
