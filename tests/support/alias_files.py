"""The files of the alias package for type checkers: each re-exports its public module.

At run time `mechestim.X` is `shm_echo.mechestim.X` and these files are never executed. To write
them again after a public module was added or removed::

    python -m tests.support.alias_files
"""

from __future__ import annotations

from pathlib import Path

from mechestim._finder import PUBLIC

__all__ = ["FOLDER", "found", "wanted"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mechestim"

TEXT = '''"""Read by type checkers only: see `__init__.py`."""

from shm_echo.mechestim.{name} import *
'''


def wanted() -> dict[str, str]:
    """Return what the files must say, by their names in `FOLDER`."""
    return {f"{name}.py": TEXT.format(name=name) for name in PUBLIC}


def found() -> dict[str, str]:
    """Return what the files say."""
    paths = [path for path in FOLDER.glob("*.py") if not path.name.startswith("_")]
    return {path.name: path.read_text() for path in sorted(paths)}


def main() -> None:
    for name in found():
        (FOLDER / name).unlink()
    for name, text in wanted().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
