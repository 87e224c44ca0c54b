"""Runs a program and prints a digest of every array that its functions hold when they return.

Run as `python -m tests.mechestim.remote.array_digests PROGRAM`, locally and as a client: equal
lines mean equal arrays, to the last bit.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from types import FrameType
from typing import Any

import mechestim as me


def digests(frame: FrameType, returned: Any) -> list[str]:
    """Return a line for each array among the variables of a function and its result."""
    found = []
    for name, value in [*sorted(frame.f_locals.items()), ("return", returned)]:
        if isinstance(value, me.ndarray):
            digest = hashlib.sha256(value.tobytes()).hexdigest()[:16]
            where = f"{frame.f_code.co_name}.{name}"
            found.append(f"{where} {value.dtype} {tuple(value.shape)} {digest}")
    return found


def main(path: str) -> None:
    """Run the program at `path`."""
    lines: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code.co_filename == path:
            lines.extend(digests(frame, argument))

    me.random.seed(2026)  # for programs that set none
    sys.setprofile(watch)
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.setprofile(None)
    print(*lines, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
