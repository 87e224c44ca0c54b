"""Processes for `mechestim_remote.py`: servers, clients that are timed from inside, a ping-pong.

A timed client reads one line per round and answers with one line of JSON, so that contenders take
turns. It imports nothing but the library that it times.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.children import ended
from harness.line_client import LineClient

__all__ = ["TimedClient", "environment", "flopscope", "pingpong", "rss_mb", "serving"]

ROOT = Path(__file__).resolve().parents[2]

# The timed calls, for a library `m`: nanoseconds of each.
_TIMED = """
import json, sys, time
counts = dict(zip(CASES, map(int, sys.argv[1:])))
clock = time.perf_counter_ns

def measured(call, count):
    times = []
    for _ in range(count):
        start = clock()
        call()
        times.append(clock() - start)
    return times

print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps({name: measured(CASES[name], n) for name, n in counts.items()}), flush=True)
"""

_OURS = """
import array
import mechestim as m
context = m.BudgetContext(flop_budget=2**62, quiet=True)
context.__enter__()
v = m.array([1.0, 2.0, 3.0, 4.0])
A, w = m.ones((256, 256)), m.ones(256)
numbers = [0.5] * 10_000
short, long = m.zeros(10_000), m.zeros(1_000_000)
content = array.array("d", bytes(8_000_000))
CASES = {
    "add": lambda: v + v,
    "matvec": lambda: m.einsum("ij,j->i", A, w),
    "create 10k": lambda: m.array(numbers),
    "fetch 10k": lambda: short.tolist(),
    "fetch 1M": lambda: long.tolist(),
    "8 MB up": lambda: m.array(content),
    "8 MB down": lambda: long.tobytes(),
}
"""

_FLOPSCOPE = """
import flopscope, flopscope.numpy as m
context = flopscope.BudgetContext(flop_budget=10**15, quiet=True)
context.__enter__()
v = m.array([1.0, 2.0, 3.0, 4.0])
A, w = m.ones((256, 256)), m.ones(256)
numbers = [0.5] * 10_000
short, long = m.zeros(10_000), m.zeros(1_000_000)
CASES = {
    "add": lambda: v + v,
    "matvec": lambda: m.einsum("ij,j->i", A, w),
    "create 10k": lambda: m.array(numbers),
    "fetch 10k": lambda: short.tolist(),
    "fetch 1M": lambda: long.tolist(),
}
"""

_PINGPONG = """
import os, socket, sys
ours, theirs = socket.socketpair()
payload = bytes(64)
if os.fork() == 0:
    ours.close()
    fd = theirs.detach()
    while True:
        data = os.read(fd, 4096)
        if not data:
            os._exit(0)
        os.write(fd, data)
theirs.close()
fd = ours.detach()
def turn():
    os.write(fd, payload)
    os.read(fd, 4096)
CASES = {"turn": turn}
"""


def environment(**more: str) -> dict[str, str]:
    """Of a client or a server: the checkout can be imported, no other server is named."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_SERVER_URL")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


class TimedClient(LineClient):
    """A process that times its calls, a round for each line that it is given.

    Args:
        name: for the error.
        source: makes `CASES`.
        counts: how often each is called in a round.
        python: the interpreter.
        variables: of the environment.
        server: as `LineClient` takes it.
    """

    def __init__(
        self,
        name: str,
        source: str,
        counts: Mapping[str, int],
        python: str = sys.executable,
        variables: Mapping[str, str] | None = None,
        server: subprocess.Popen[str] | None = None,
    ) -> None:
        names = f"\nCASES = {{name: CASES[name] for name in {list(counts)!r}}}\n"
        command = [python, "-c", source + names + _TIMED, *map(str, counts.values())]
        super().__init__(name, command, dict(variables or environment()), server)

    def round(self) -> dict[str, list[int]]:
        """Nanoseconds of every call of one round."""
        found: dict[str, list[int]] = self.ask()
        return found


def ours(url: str, counts: Mapping[str, int]) -> TimedClient:
    """Run a client of our server."""
    variables = environment(MECHESTIM_SERVER_URL=url)
    return TimedClient("the client of mechestim", _OURS, counts, variables=variables)


def pingpong(count: int) -> TimedClient:
    """Measure two Python processes and a Unix socket alone."""
    return TimedClient("the ping-pong", _PINGPONG, {"turn": count})


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Our server, as `shm-echo serve` starts it: its address and its pid.

    Raises:
        ChildDiedError: it did not start, or has ended by itself on leaving.
    """
    url = f"ipc://{folder}/ours.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "shm_echo.cli.main", "serve", "--url", url, *options],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise ended("the server", process.wait())
        yield url, process.pid
    finally:
        died = process.poll()
        process.terminate()
        process.wait()
        process.stdout.close()
        if died is not None:  # the other failures follow from it
            raise ended("the server", died) from None


def _environment_of(venvs: Path, package: str, version: str) -> Path:
    """Return the interpreter of a virtual environment with `package`; make it if needed."""
    python = venvs / package / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(venvs / package)])
    if subprocess.run([python, "-m", "pip", "show", "-q", package], capture_output=True).returncode:
        run([str(python), "-m", "pip", "install", "-q", f"{package}=={version}"])
    return python


def run(command: Sequence[str]) -> None:
    """Run a command; `RuntimeError` with the end of its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{' '.join(command[-3:])}: {lines[-1]}")


@contextmanager
def flopscope(
    venvs: Path, folder: Path, counts: Mapping[str, int], version: str = "0.12.4"
) -> Iterator[TimedClient]:
    """Run a client of flopscope's server, each in its own virtual environment under `venvs`.

    Raises:
        RuntimeError: they cannot be installed, or do not start.
    """
    server_python = _environment_of(venvs, "flopscope-server", version)
    client_python = _environment_of(venvs, "flopscope-client", version)
    path = folder / "flopscope.sock"
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    server = subprocess.Popen(
        [str(server_python), "-m", "flopscope_server", "--url", f"ipc://{path}"],
        env=plain,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("flopscope-server did not start")
            time.sleep(0.05)
        variables = {**plain, "FLOPSCOPE_SERVER_URL": f"ipc://{path}"}
        client = TimedClient(
            "flopscope's client", _FLOPSCOPE, counts, str(client_python), variables, server
        )
        try:
            yield client
        finally:
            client.close()
    finally:
        server.terminate()
        server.wait()


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has gone")


def start_clients(
    name: str, source: str, count: int, url: str, *arguments: Any
) -> list[dict[str, Any]]:
    """Run `count` client processes at once; the JSON that each prints at its end.

    Each prints a line when it is ready, and begins on a line of ours: no client is still importing
    while the others are measured.

    Raises:
        ChildDiedError: one of them failed.
    """
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            env=environment(MECHESTIM_SERVER_URL=url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        for client in clients:
            assert client.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its exit status is looked at below
                client.stdin.write("\n")
                client.stdin.flush()
        printed = [client.communicate()[0] for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()
    for number, client in enumerate(clients):
        if client.returncode:
            raise ended(f"{name} {number}", client.returncode)
    return [json.loads(text) for text in printed]
