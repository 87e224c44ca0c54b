"""Finds the tests of a source file or folder, and runs them.

    python tools/tests_for.py PATH ... [PYTEST OPTIONS]
    python tools/tests_for.py --list PATH ...

The tests mirror the sources: `shm_echo/control/server/acceptor.py` is tested by
`tests/control/server/test_acceptor.py`, or by the files of that folder where no file has its name.
`ELSEWHERE` lists the tests of what has no mirror. A path below `tests/`, also one with the name of
a test behind `::`, stands for itself.

The exit status is pytest's; 2 when a path does not exist or has no tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]

PACKAGE = "shm_echo"
TESTS = "tests"

# The longest entry that a path starts with counts.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    ".ci": ("tests/test_project_files.py",),
    ".github": ("tests/test_project_files.py",),
    "README.md": ("tests/docs",),
    "benchmarks": ("tests/benchmarks",),
    "csrc": ("tests/native",),
    "csrc/python": ("tests/ring", "tests/smoke", "tests/transports"),
    "docs": ("tests/docs",),
    "examples": ("tests/examples", "tests/mechestim/remote/test_examples.py"),
    "mechestim": ("tests/mechestim/alias",),
    "newsfragments": ("tests/test_project_files.py",),
    "packaging": ("tests/mechestim/remote/test_wheel.py",),
    "pyproject.toml": ("tests/boundaries", "tests/test_build.py", "tests/test_project_files.py"),
    "shm_echo/__init__.py": ("tests/boundaries",),
    "shm_echo/async_consumer.py": ("tests/async_consumer",),
    "shm_echo/async_sampling.py": ("tests/async_consumer",),
    "tools": ("tests/tools", "tests/mechestim/registry"),
}

# What these rooms know about a family of operations is tested in two folders: the mirror of the
# room, and the folder of the family, such as tests/mechestim/fft.
BY_FAMILY = tuple(f"shm_echo/mechestim/{room}/" for room in ("costs", "local", "registry"))

_USAGE = 2


class NoTestsError(Exception):
    """A path that no test belongs to."""


def find_tests(path: str, root: Path = ROOT) -> list[str]:
    """Return the test files and folders that belong to one path, relative to `root`.

    Args:
        path: a file or folder of the repository, absolute or relative to the working directory or
            to `root`.
        root: the repository.

    Raises:
        NoTestsError: the path does not exist, lies outside of the repository, or has no tests.
    """
    name, colons, test = path.partition("::")
    source = _relative(name, root)
    if source.parts[:1] == (TESTS,):
        return [f"{source}{colons}{test}"]
    if colons:
        raise NoTestsError(f"{path}: '::' follows a file of {TESTS}/ only")
    listed = _elsewhere(source)
    if listed is not None:
        found = [one for one in listed if (root / one).exists()]
    elif source.parts[:1] == (PACKAGE,):
        found = _mirrored(source, root)
    else:
        # The other files at the root, such as tox.ini, configure the project.
        found = [TESTS + "/test_project_files.py"] if len(source.parts) == 1 else []
    if not found:
        raise NoTestsError(f"{path}: no tests belong to it")
    return found


def _relative(name: str, root: Path) -> PurePosixPath:
    candidates = [Path(os.path.abspath(path)) for path in (name, root / name)]
    existing = [path for path in candidates if path.exists()]
    if not existing:
        raise NoTestsError(f"{name}: no such file or folder")
    inside = [path for path in existing if path.is_relative_to(root)]
    if not inside:
        raise NoTestsError(f"{name}: lies outside of {root}")
    return PurePosixPath(inside[0].relative_to(root).as_posix())


def _elsewhere(source: PurePosixPath) -> tuple[str, ...] | None:
    for path in (source, *source.parents):
        if str(path) in ELSEWHERE:
            return ELSEWHERE[str(path)]
    return None


def _mirrored(source: PurePosixPath, root: Path) -> list[str]:
    """The tests of a file or folder of the package."""
    inside = PurePosixPath(*source.parts[1:])
    if (root / source).is_dir():
        return [_nearest_folder(inside, root)]
    if inside.stem == "__init__":
        return [_nearest_folder(inside.parent, root)]
    if str(source).startswith(BY_FAMILY):
        family = PurePosixPath(TESTS, "mechestim", inside.stem)
        room = _nearest_folder(inside.parent, root)
        return [room, str(family)] if (root / family).is_dir() else [room]
    return _by_name(inside, root) or _all_of(inside.parent, root)


def _by_name(inside: PurePosixPath, root: Path) -> list[str]:
    """`test_STEM.py` and `test_STEM_*.py` in the mirror of the file's folder and below it."""
    folder = root / _nearest_folder(inside.parent, root)
    names = (f"test_{inside.stem}.py", f"test_{inside.stem}_*.py")
    return sorted(str(path.relative_to(root)) for name in names for path in folder.rglob(name))


def _nearest_folder(inside: PurePosixPath, root: Path) -> str:
    """The mirror of a folder, or of the nearest one above it that has a mirror."""
    for path in (inside, *inside.parents):
        if (root / TESTS / path).is_dir():
            return str(PurePosixPath(TESTS, path))
    raise NoTestsError(f"{root / TESTS}: no such folder")


def _all_of(inside: PurePosixPath, root: Path) -> list[str]:
    """Every test of a folder's mirror; of the package itself, the files and not the folders."""
    folder = _nearest_folder(inside, root)
    if folder != TESTS:
        return [folder]
    return sorted(str(path.relative_to(root)) for path in (root / TESTS).glob("test_*.py"))


def merged(paths: Iterable[str]) -> list[str]:
    """The paths without those that lie inside of another one, which would run twice."""
    unique = list(dict.fromkeys(paths))
    return [
        one
        for one in unique
        if not any(
            PurePosixPath(other) in PurePosixPath(one.partition("::")[0]).parents
            or (other != one and other == one.partition("::")[0])
            for other in unique
        )
    ]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    only_list = arguments[:1] == ["--list"]
    if only_list:
        del arguments[0]
    # The paths come first; from the first option on, everything is pytest's.
    count = next((i for i, one in enumerate(arguments) if one.startswith("-")), len(arguments))
    paths, options = arguments[:count], arguments[count:]
    if not paths:
        print("usage: tests_for.py [--list] PATH ... [PYTEST OPTIONS]", file=sys.stderr)
        return _USAGE
    try:
        found = merged(test for path in paths for test in find_tests(path))
    except NoTestsError as error:
        print(f"tests_for: {error}", file=sys.stderr)
        return _USAGE
    print("pytest", *found, *options, flush=True)
    if only_list:
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", *found, *options], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
