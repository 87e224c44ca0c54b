"""The files of the alias package that type checkers read: all of the real module, for each one.

At run time ``mechestim.X`` is ``shm_echo.mechestim.X`` and they are never executed. What lies
deeper than one level is internal and has no such file. To write them again after a module was added
or removed::

    python -m tests.support.alias_files
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FOLDER", "found", "wanted"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mechestim"
REAL = ROOT / "shm_echo" / "mechestim"

TEXT = '''"""Read by type checkers only: see ``__init__.py``."""

from shm_echo.mechestim.{name} import *
'''


def wanted() -> dict[str, str]:
    """What the files must say, by their names in :data:`FOLDER`."""
    modules = {path.stem for path in REAL.glob("*.py")}
    packages = {path.parent.name for path in REAL.glob("*/__init__.py")}
    public = [name for name in modules | packages if not name.startswith("_")]
    return {f"{name}.py": TEXT.format(name=name) for name in sorted(public)}


def found() -> dict[str, str]:
    """What they say."""
    paths = [path for path in FOLDER.glob("*.py") if not path.name.startswith("_")]
    return {path.name: path.read_text() for path in sorted(paths)}


def main() -> None:
    for name in found():
        (FOLDER / name).unlink()
    for name, text in wanted().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
