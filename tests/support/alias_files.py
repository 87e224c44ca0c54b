"""The files of the alias package for type checkers: each re-exports its public module.

At run time `mechestim.X` is `shm_echo.mechestim.X` and these files are never executed. To write
them again after a public module was added or removed::

    python -m tests.support.alias_files
"""

from __future__ import annotations

from pathlib import Path

from mechestim._finder import PUBLIC

__all__ = ["FOLDER", "current", "expected"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mechestim"

TEXT = '''"""Read by type checkers only: see `__init__.py`."""

from shm_echo.mechestim.{name} import *
'''


def expected() -> dict[str, str]:
    """Return the text that each file must have, by its name in `FOLDER`."""
    return {f"{name}.py": TEXT.format(name=name) for name in PUBLIC}


def current() -> dict[str, str]:
    """Return the text that each file has, by its name."""
    paths = [path for path in FOLDER.glob("*.py") if not path.name.startswith("_")]
    return {path.name: path.read_text() for path in sorted(paths)}


def main() -> None:
    for name in current():
        (FOLDER / name).unlink()
    for name, text in expected().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
