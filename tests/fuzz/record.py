"""Records the requests of a client: the seeds of the fuzzers, one file for each operation.

Run as a program: ``python -m tests.fuzz.record FOLDER [OP ...]``. A client without NumPy plays the
parity cases, each in a forked child and therefore in a session of its own. The recorder writes down
all bytes that the session's stream receives, with the headers of the frames.
"""

from __future__ import annotations

import struct
import sys
import threading
from pathlib import Path
from typing import Any

from shm_echo.mechestim.service.session.frame_stream import FrameStream
from tests.mechestim.remote.client_script import run_client
from tests.mechestim.remote.serving import serving

__all__ = ["record"]

_LONGEST = 8192  # of one seed, in bytes: fuzzers like them short

_PLAY = """
import os
from tests.mechestim.parity.cases import CASES, some
from tests.mechestim.remote.parity_runner import play

play(some("add", 1)[0])  # imports the modules that the children need
for name in sys.argv[1:] or sorted(CASES):
    for case in some(name, 1):
        child = os.fork()
        if child == 0:
            try:
                play(case)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
"""


class _Recorder:
    """Stands for what gives a stream's next payload, and keeps it, by session."""

    def __init__(self) -> None:
        self._next_payload = FrameStream._next_payload
        self._lock = threading.Lock()
        self.sessions: dict[Any, bytearray] = {}  # by stream, which stays alive

    def __enter__(self) -> _Recorder:
        recorder, next_payload = self, self._next_payload

        def kept(stream: Any) -> bytes:
            payload = next_payload(stream)
            with recorder._lock:
                said = recorder.sessions.setdefault(stream, bytearray())
                said += struct.pack("<I", len(payload)) + payload
            return payload

        FrameStream._next_payload = kept  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        FrameStream._next_payload = self._next_payload  # type: ignore[method-assign]


def record(folder: Path, *names: str) -> int:
    """Write the seeds of these operations, or of all of them; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    with _Recorder() as recorder, serving() as server:
        done = run_client(server.url, _PLAY, *names, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
    seeds = {bytes(said) for said in recorder.sessions.values() if len(said) <= _LONGEST}
    for number, seed in enumerate(sorted(seeds)):
        (folder / f"seed-{number:04d}").write_bytes(seed)
    return len(seeds)


def main() -> None:
    count = record(Path(sys.argv[1]), *sys.argv[2:])
    print(f"{count} seeds in {sys.argv[1]}")


if __name__ == "__main__":
    main()
