"""One fuzzer, in this process: ``python -m tests.fuzz.fuzzer TARGET [libFuzzer's arguments]``.

Needs atheris. It instruments modules when they are imported, so this module must be the first to
import the code under test.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["shm_echo.mechestim", "shm_echo.control", "shm_echo.transports.tcp"]
):
    from tests.fuzz import mutations, targets


def mutator(data: bytes, max_size: int, seed: int) -> bytes:
    """Change requests in three calls of four, and bytes in the fourth."""
    found = mutations.mutated(data, seed) if seed % 4 else None
    if found is None or len(found) > max_size:
        found = bytes(atheris.Mutate(data, max_size))
    return found


def main() -> None:
    name, *arguments = sys.argv[1:]
    options = {"custom_mutator": mutator} if name == "session" else {}
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name], **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
