"""Writes every generated file of this repository that is checked in.

    python -m tools.generate [--check]

`--check` compares instead of writing, names each file that is stale, and exits with status 1 if
there is one. A generator is a module of this folder with a function `files()` that returns the
text of each of its files by path. Every such file is marked `linguist-generated` in
`.gitattributes`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# In this order, since the stubs are made from the table of signatures. A generator is imported only
# when those before it have written their files.
GENERATORS = (
    "mechestim_signatures",
    "mechestim_stubs",
    "mechestim_op_table",
    "cli_page",
    "architecture",
    "state_machines",
    "badges",
)


def files(generator: str) -> dict[Path, str]:
    """The text of each file that one generator makes, by path."""
    made: dict[Path, str] = importlib.import_module(f"tools.{generator}").files()
    return made


def stale(generator: str) -> list[Path]:
    """The files of one generator that differ from what it makes now, or do not exist."""
    return [
        path
        for path, text in files(generator).items()
        if not path.exists() or path.read_text() != text
    ]


def write(generator: str) -> list[Path]:
    """Write the stale files of one generator; returns their paths."""
    made, changed = files(generator), stale(generator)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])
    return changed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    check = parser.parse_args(argv).check
    changed = [path for name in GENERATORS for path in (stale if check else write)(name)]
    for path in changed:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
