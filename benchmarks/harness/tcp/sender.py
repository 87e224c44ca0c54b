"""Builds tcp_sender.c, and names its command lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["SOURCE", "build", "missing", "send", "sink", "stream"]

SOURCE = Path(__file__).resolve().parents[2] / "tcp_sender.c"
WRITES = 32  # unacknowledged writes of a connection, as echo's client has 32 samples


def _compiler() -> str | None:
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


def missing() -> str | None:
    """Return why the sender cannot be built here, or None."""
    if _compiler() is None:
        return "the sender in C: no C compiler (cc, gcc, or the variable CC)"
    return None


@cache
def build() -> str:
    """Compile the sender, once per run, and return the program's path.

    Raises:
        SystemExit: the compiler failed; its own words are on stderr.
    """
    compiler = _compiler()
    assert compiler is not None  # `missing` is asked first
    folder = tempfile.TemporaryDirectory(prefix="tcp-sender-")
    _folders.append(folder)  # kept until the interpreter ends
    program = Path(folder.name) / "tcp_sender"
    command = [*compiler.split(), "-std=c11", "-O2", "-o", str(program), str(SOURCE)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{compiler} could not compile {SOURCE.name}")
    return str(program)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def send(connections: int, per_write: int, rate: int, congestion: str) -> list[str]:
    """Return the command that sends samples to the port `PORT`."""
    numbers = (str(number) for number in (connections, per_write, WRITES, rate))
    return [build(), "send", "PORT", *numbers, congestion]


def stream(port: int, connections: int, nbytes: int, congestion: str) -> list[str]:
    """Return the command of the bare sender."""
    return [build(), "stream", str(port), str(connections), str(nbytes), congestion]


def sink(connections: int, nbytes: int, congestion: str) -> list[str]:
    """Return the command of the bare receiver."""
    return [build(), "sink", str(connections), str(nbytes), congestion]
