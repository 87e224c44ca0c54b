"""Which tests belong to a path: of a small tree made for the purpose, and of this repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.tests_for import ELSEWHERE, ROOT, NoTestsError, find_tests, merged

FILES = (
    "csrc/ring_create.c",
    "csrc/python/module.c",
    "docs/guide/ring.md",
    "justfile",
    "shm_echo/__init__.py",
    "shm_echo/server.py",
    "shm_echo/trajectory.py",
    "shm_echo/control/ticket.py",
    "shm_echo/control/peer.py",
    "shm_echo/control/server/__init__.py",
    "shm_echo/control/server/acceptor.py",
    "shm_echo/mechestim/costs/flops/fft.py",
    "shm_echo/mechestim/costs/flops/sorting.py",
    "tests/boundaries/test_imports.py",
    "tests/control/test_addresses.py",
    "tests/control/test_ticket.py",
    "tests/control/test_ticket_limits.py",
    "tests/control/test_tickets.py",
    "tests/mechestim/costs/test_rules.py",
    "tests/mechestim/fft/test_fft.py",
    "tests/native/test_native.py",
    "tests/ring/test_ring.py",
    "tests/smoke/test_smoke.py",
    "tests/transports/test_sending.py",
    "tests/docs/test_pages.py",
    "tests/test_project_files.py",
    "tests/test_server.py",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("shm_echo/server.py", ["tests/test_server.py"]),
        ("shm_echo/control", ["tests/control"]),
        ("shm_echo/control/", ["tests/control"]),
        (
            "shm_echo/control/ticket.py",
            ["tests/control/test_ticket.py", "tests/control/test_ticket_limits.py"],
        ),
        # No test has its name: the tests of its folder, or of the nearest folder above.
        ("shm_echo/control/peer.py", ["tests/control"]),
        ("shm_echo/control/server/acceptor.py", ["tests/control"]),
        ("shm_echo/control/server", ["tests/control"]),
        ("shm_echo/control/server/__init__.py", ["tests/control"]),
        (
            "shm_echo/trajectory.py",
            ["tests/test_project_files.py", "tests/test_server.py"],
        ),
        (
            "shm_echo/mechestim/costs/flops/fft.py",
            ["tests/mechestim/costs", "tests/mechestim/fft"],
        ),
        ("shm_echo/mechestim/costs/flops/sorting.py", ["tests/mechestim/costs"]),
        ("shm_echo/__init__.py", ["tests/boundaries"]),
        ("shm_echo", ["tests"]),
        ("csrc/ring_create.c", ["tests/native"]),
        ("csrc/python/module.c", ["tests/ring", "tests/smoke", "tests/transports"]),
        ("docs/guide/ring.md", ["tests/docs"]),
        ("justfile", ["tests/test_project_files.py"]),
        ("tests/control", ["tests/control"]),
        ("tests/test_server.py::test_x", ["tests/test_server.py::test_x"]),
    ],
)
def test_a_path_has_these_tests(tree: Path, path: str, expected: list[str]) -> None:
    assert find_tests(path, tree) == expected


def test_an_absolute_path_and_one_from_another_folder_are_understood(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_tests(str(tree / "shm_echo/server.py"), tree) == ["tests/test_server.py"]
    monkeypatch.chdir(tree / "shm_echo/control")
    assert find_tests("ticket.py", tree) == find_tests("shm_echo/control/ticket.py", tree)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("shm_echo/sever.py", "no such file"),
        ("/", "outside"),
        ("shm_echo/server.py::test_x", "'::' follows a file of tests/ only"),
        ("nowhere", "no such file"),
    ],
)
def test_a_path_without_tests_is_an_error_that_names_it(tree: Path, path: str, reason: str) -> None:
    with pytest.raises(NoTestsError, match=reason) as caught:
        find_tests(path, tree)
    assert path in str(caught.value)


def test_no_test_is_run_twice() -> None:
    paths = ["tests/cli/test_run.py", "tests/cli", "tests/cli", "tests/test_a.py::test_b"]
    assert merged(paths) == ["tests/cli", "tests/test_a.py::test_b"]
    assert merged(["tests/test_a.py::test_b", "tests/test_a.py"]) == ["tests/test_a.py"]


# ---------------------------------------------------------------- this repository


def test_every_folder_and_file_of_the_packages_has_tests() -> None:
    sources = [
        path for package in ("shm_echo", "mechestim") for path in (ROOT / package).rglob("*")
    ]
    sources = [path for path in sources if path.is_dir() or path.suffix == ".py"]
    assert len(sources) > 200
    for path in sources:
        if "__pycache__" not in path.parts:
            for found in find_tests(str(path)):
                assert (ROOT / found).exists(), f"{path}: {found}"


def test_everything_that_is_kept_at_the_root_has_tests() -> None:
    done = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"git does not list the files that are kept: {done.stderr.strip()}")
    names = done.stdout.splitlines()
    assert {"csrc", "shm_echo", "tox.ini"} <= set(names)
    for name in names:
        assert find_tests(name), name


def test_the_tests_that_are_listed_by_hand_exist() -> None:
    for path, found in ELSEWHERE.items():
        for one in found:
            assert (ROOT / one).exists(), f"{path}: {one}"


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "tests_for.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_the_script_runs_what_it_found_and_returns_what_pytest_returns() -> None:
    here = "tests/tools/test_tests_for.py::test_no_test_is_run_twice"
    passed = script(here, "-q", "-p", "no:cacheprovider")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "1 passed" in passed.stdout
    none = script(here, "-q", "-p", "no:cacheprovider", "-k", "no_such_test")
    assert none.returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_script_lists_without_running_anything() -> None:
    done = script("--list", "shm_echo/server.py", "-x")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pytest tests/test_server.py ")
    assert done.stdout.endswith(" -x\n")


@pytest.mark.parametrize("arguments", [(), ("nowhere.py",)])
def test_the_script_says_what_is_wrong_in_one_line(arguments: tuple[str, ...]) -> None:
    done = script(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
