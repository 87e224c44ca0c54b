"""The documentation against the code: programs run, links lead somewhere, no name is missing.

A ``python`` block that begins with ``# file: NAME.py`` is a program: it is saved under that name
and run, with warnings as errors. Where the next block is ``text`` it shows what is printed, with
``...`` for what differs from run to run. A program of a library that is not installed is skipped:
``tox -e frameworks`` has them. All other ``python`` blocks are pieces; they must parse.
"""

from __future__ import annotations

import ast
import configparser
import dataclasses
import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import shm_echo
from shm_echo import errors, metrics
from tests.support import markdown
from tests.support.folders import socket_folder
from tests.support.log_filters import (
    without_copy_warnings,
    without_no_producer_warnings,
    without_slow_callbacks,
    without_wait_hints,
)

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS]
# Libraries that pages are about, and that the library itself does not need.
LIBRARIES = ("jax", "torch")
CASES = [(page, program) for page in PAGES for program in markdown.programs(page)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ---------------------------------------------------------------- what it shows


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: sockets go there, and their paths are limited."""
    with socket_folder() as path:
        yield path


@pytest.mark.parametrize(
    ("page", "program"), CASES, ids=[f"{name_of(page)}:{program.file}" for page, program in CASES]
)
def test_a_program_runs_and_prints_what_the_page_shows(
    page: Path, program: markdown.Program, folder: Path
) -> None:
    for library in LIBRARIES:
        if (
            re.search(rf"^(import {library}\b|from shm_echo.{library}\b)", program.text, re.M)
            and find_spec(library) is None
        ):
            pytest.skip(f"{library} is not installed")
    script = folder / program.file
    script.write_text(program.text)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(script)],
        cwd=folder,
        # So that no name of a server on the page meets another one on this machine.
        env={**os.environ, "SHM_ECHO_RUNTIME_DIR": str(folder), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    said = without_copy_warnings(without_no_producer_warnings(done.stderr))
    said = without_slow_callbacks(without_wait_hints(said))
    assert (done.returncode, said) == (0, ""), f"{name_of(page)}, line {program.line}"
    if program.printed is not None:
        # A kernel before 6.15 does not report the signal of a process that its parent has reaped.
        with_signal = re.sub(
            r"(pid \d+) ended without", r"\1 was ended by SIGKILL without", done.stdout
        )
        check = doctest.OutputChecker().check_output
        same = [check(program.printed, out, doctest.ELLIPSIS) for out in (done.stdout, with_signal)]
        assert any(same), f"{name_of(page)}, line {program.line}, prints\n{done.stdout}"


def test_there_are_programs_to_run() -> None:
    with_programs = {page.name for page, _ in CASES}
    assert {"README.md", "getting-started.md", "zero-copy.md", "transports.md"} <= with_programs


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_piece_of_python_parses(page: Path) -> None:
    for block in markdown.blocks(page):
        if block.language == "python":
            ast.parse(block.text, f"{name_of(page)}:{block.line}")


# ---------------------------------------------------------------- what it points to


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in markdown.links(page):
        if re.match(r"\w+://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        # The anchors of API pages come from docstrings: `mkdocs build --strict` checks those.
        generated = target.parent == ROOT / "docs" / "reference" / "api"
        checked = anchor and not generated
        if not target.exists() or (
            checked and anchor not in markdown.anchors(target) | markdown.ids(target)
        ):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_exists(page: Path) -> None:
    folders = "csrc|shm_echo|tests|examples|benchmarks|docs|\\.ci"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", markdown.prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_site_lists_every_page_and_no_other() -> None:
    """The contributing page and the changelog stand at the root; a hook adds them."""
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = re.findall(r"[:-]\s+(\S+\.md)\s*$", navigation, re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in DOCS]
    assert sorted(listed) == sorted([*pages, "changelog.md", "contributing/index.md"])


# ---------------------------------------------------------------- what it says to type


def test_the_readme_begins_with_the_command_for_the_demo_and_the_one_for_the_tests() -> None:
    first, second = (b.text for b in markdown.blocks(README)[:2] if b.language == "sh")
    assert re.fullmatch(r"[^\n]+/shm-echo demo\n", first)
    assert re.fullmatch(r"[^\n]+/tox\n", second)


def test_every_tox_environment_that_is_named_exists() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    sections = {section.partition(":")[2] for section in tox.sections()}
    known = {env for section in sections for env in expand(section)}
    missing = {
        env
        for page in PAGES
        for names in re.findall(r"tox -e ([\w,-]+)", page.read_text())
        for env in names.split(",")
        if env not in known
    }
    assert missing == set()


def expand(name: str) -> list[str]:
    """``py3{10,11}-smoke`` as the names that it stands for."""
    match = re.search(r"\{([\w,]*)\}", name)
    if match is None:
        return [name]
    return [name.replace(match[0], choice) for choice in match[1].split(",")]


def test_every_make_target_that_is_named_exists() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "csrc/tests/Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    texts = [page.read_text() for page in (*PAGES, ROOT / "tox.ini")]
    named = {name for text in texts for name in re.findall(r"make -C csrc/tests (\w+)", text)}
    assert named - set(phony[1].split()) == set()


def test_every_option_of_the_demo_that_is_named_exists() -> None:
    usage = subprocess.run(
        [sys.executable, "-m", "shm_echo.cli.main", "demo", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line for page in PAGES for line in re.findall(r"shm-echo demo.*", page.read_text())]
    options = {option for line in lines for option in re.findall(r"--[a-z-]+", line)}
    assert {option for option in options if option not in usage} == set()


# ---------------------------------------------------------------- what must not be missing


def test_every_public_name_is_explained() -> None:
    text = "\n".join(markdown.prose(page) for page in DOCS)
    names = [name for name in shm_echo.__all__ if name != "__version__"]
    assert [name for name in names if not re.search(rf"`{name}[`(.]", text)] == []


def test_every_exception_has_its_section() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text()
    headings = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert sorted(headings) == sorted(errors.__all__)


@pytest.mark.parametrize("record", ["SampleInfo", "HistSnapshot", "ProducerInfo", "ReaderInfo"])
def test_every_metric_has_its_row(record: str) -> None:
    kind = getattr(metrics, record)
    fields = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    text = (ROOT / "docs/reference/metrics.md").read_text()
    _, _, section = text.partition(f"\n## {record}\n")
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == list(fields)


def test_every_memory_order_tag_is_explained_and_every_explained_one_is_used() -> None:
    folders = [ROOT / "csrc", ROOT / "csrc/ingress", ROOT / "csrc/include/shm_echo"]
    sources = [source for folder in folders for source in folder.glob("*.[ch]")]
    used = {
        tag
        for source in sources
        for tag in re.findall(r"SYNC ([a-z]+(?:-[a-z]+)*)", source.read_text())
    } - {"tag"}  # "carries a SYNC tag"
    text = (ROOT / "docs/explanation/memory-model.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    explained = {tag for heading in headings for tag in heading.split(", ")}
    assert used <= explained
    assert {tag for tag in explained if re.fullmatch(r"[a-z-]+", tag)} <= used
