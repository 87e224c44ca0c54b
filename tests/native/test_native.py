"""The C core by itself: its own test programs, and the rules that its sources keep.

The programs are in csrc/tests, built and run by its Makefile with each compiler that is there. The
sanitizer builds (``make asan``, ``make tsan``) are run by tox environments of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from shm_echo.ring.core import Result

CSRC = Path(__file__).parents[2] / "csrc"
TESTS = CSRC / "tests"
SOURCES = sorted(
    path for path in CSRC.rglob("*.[ch]") if "build" not in path.relative_to(CSRC).parts
)
BINDING = CSRC / "python"
CORE = [path for path in SOURCES if TESTS not in path.parents and BINDING not in path.parents]
WITHOUT_PYTHON = [path for path in SOURCES if BINDING not in path.parents]

COMPILERS = ("gcc", "clang")
KINDS = ("check", "faults")
# Less than the watchdog of a test, so that it is the output that one gets to see.
TIMEOUT = 540


def programs_of(kind: str) -> set[str]:
    """The test programs that a target of the Makefile names, without building anything."""
    text = (TESTS / "Makefile").read_text().replace("\\\n", " ")
    variables = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))
    words = variables[f"PROGRAMS_{kind}"].replace("$(UNITS)", variables["UNITS"]).split()
    return {f"test_{word}" for word in words}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_test_programs_of_the_core_pass(compiler: str, kind: str) -> None:
    for tool in ("make", compiler):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    # A make that runs these tests must not hand its own flags on.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    run = subprocess.run(
        ["make", "-j2", "-C", str(TESTS), kind, f"CC={compiler}", "WATCHDOG=200"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    ran = {
        name
        for name, cases in re.findall(r"^(test_\w+): (\d+) cases ok$", run.stdout, re.MULTILINE)
        if int(cases) > 0
    }
    skipped = re.findall(r"^.*skipped: .*$", run.stdout, re.MULTILINE)
    summary = re.search(rf"^{kind}: (\d+) passed, (\d+) skipped, failed: none$", run.stdout, re.M)
    assert summary is not None, run.stdout
    assert int(summary[1]) == len(ran)
    assert int(summary[1]) + int(summary[2]) == len(programs_of(kind))
    assert int(summary[2]) == len(skipped), "a program skips only with a reason"
    if not skipped:
        assert ran == programs_of(kind)


def test_every_test_program_is_run_by_some_target() -> None:
    written = {path.stem for path in TESTS.glob("test_*.c")}
    assert written == programs_of("check") | programs_of("faults")


def test_the_core_and_python_agree_on_every_result() -> None:
    header = (CSRC / "include/shm_echo/ring.h").read_text()
    body = re.search(r"enum she_result \{(.*?)\};", header, re.DOTALL)
    assert body is not None
    native = {name: int(value) for name, value in re.findall(r"SHE_(\w+) = (-?\d+)", body[1])}
    assert len(native) == len(re.findall(r"\bSHE_\w+", body[1])), "each member has its value"
    # GONE is the binding's own: the server's process has ended.
    assert native == {one.name: one.value for one in Result if one is not Result.GONE}
    assert Result.GONE not in native.values()


@pytest.mark.parametrize("path", WITHOUT_PYTHON, ids=lambda path: str(path.relative_to(CSRC)))
def test_the_core_knows_nothing_of_python(path: Path) -> None:
    assert not re.search(r"#\s*include\s*[<\"](Python|numpy/)", path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CSRC)))
def test_atomics_are_used_by_the_names_of_one_header(path: Path) -> None:
    if path.name == "atomics.h":
        pytest.skip("this is the header")
    found = re.findall(
        r"\batomic_\w+|\b__(?:atomic|sync)_\w+|\b_Atomic\b|stdatomic", path.read_text()
    )
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CSRC)))
def test_lines_have_at_most_100_columns(path: Path) -> None:
    """clang-format breaks code there, and leaves comments as they are."""
    assert [line for line in path.read_text().splitlines() if len(line) > 100] == []


def test_every_sync_tag_has_a_partner() -> None:
    tags = Counter(
        tag for path in CORE for tag in re.findall(r"\bSYNC ([a-z]+(?:-[a-z]+)*)", path.read_text())
    )
    del tags["tag"]  # where atomics.h says what a tag is
    assert len(tags) > 5
    assert {tag for tag, uses in tags.items() if uses < 2} == set()
