"""The files around the code: workflows, recipes and pages name only what exists.

Workflows have not run on their host yet, so this is what is known about them: they are valid YAML,
have the shape that the host asks for, and every tox environment and recipe that they name is there.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boundaries.test_import_order import LEVEL_OF
from tests.support import markdown

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "README.md", "docs/contributing/development.md")
GUIDES = ("CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md", "newsfragments/README.md")
# Addresses, which these pages have none of while [project.urls] is absent.
URL = re.compile(r"https?://[^\s)>\"']+")

pytestmark = pytest.mark.skipif(
    not (ROOT / "tox.ini").exists(), reason="installed without the project's files"
)


def load(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def environments() -> set[str]:
    """Return every environment of tox.ini, with the braces of its headings expanded."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    names: set[str] = set()
    for section in parser.sections():
        name = section.removeprefix("testenv:")
        if name == section:
            continue
        choices = re.search(r"\{([^}]*)\}", name)
        for choice in choices[1].split(",") if choices else [""]:
            names.add(name.replace(choices[0], choice) if choices else name)
    return names


def recipes() -> set[str]:
    text = (ROOT / "justfile").read_text()
    return set(re.findall(r"^([a-z][a-z-]*)[^:=\n]*:(?!=)", text, re.MULTILINE))


def tox_calls(text: str) -> list[str]:
    """Return the environments after each `-e` of a call of tox."""
    calls = re.findall(r"\btox\b(?: run)?(?: -e |\s+-e)\s*([\w{},.-]+)", text)
    return [name for call in calls for name in call.split(",")]


def test_the_environments_and_recipes_are_found() -> None:
    assert {"full", "lint", "docs", "py310-smoke", "py313-smoke", "release-check"} <= environments()
    assert recipes() == {
        *("bench", "dev", "docs", "generate", "lint", "release-check", "test", "test-fast")
    }


@pytest.mark.parametrize("page", [*PAGES, "justfile", "tox.ini", ".pre-commit-config.yaml"])
def test_a_page_names_environments_and_recipes_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    assert set(tox_calls(text)) <= environments()
    named = set(re.findall(r"`just ([a-z][a-z-]*)", text))
    assert named <= recipes()


FOLDERS = "benchmarks|csrc|docs|examples|newsfragments|packaging|shm_echo|tests|tools"


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_names_files_and_pages_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(rf"`((?:{FOLDERS})/[\w./*-]*)`", text)
    named += [link.partition("#")[0] for link in markdown.links(ROOT / page) if "://" not in link]
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    # Capitals stand for the name of something new.
    assert [name for name in missing if not re.search("[A-Z]{4}", name)] == []


def test_the_rooms_are_explained_in_the_order_that_imports_follow() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    house = text.partition("## The house")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`shm_echo/.*?) \|", house, re.MULTILINE)
    rooms = [
        room.removesuffix(".py").strip("/").replace("/", ".")
        for cell in cells
        for room in re.findall(r"`(shm_echo/[\w/.]+)`", cell)
    ]
    data_plane = [LEVEL_OF[room] for room in rooms if ".mechestim" not in room]
    mechestim = [LEVEL_OF[room] for room in rooms if ".mechestim" in room]
    assert data_plane == sorted(data_plane)
    assert mechestim == sorted(mechestim)
    assert {room.split(".")[1] for room in LEVEL_OF if "." in room} <= {
        room.split(".")[1] for room in rooms
    }


def rows(workflow: dict[Any, Any]) -> list[str]:
    """Return the tox environments that a workflow runs, its matrices filled in."""
    found: list[str] = []
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        values = [
            *matrix.get("row", []),
            *(one["row"] for one in matrix.get("include", ()) if "row" in one),
        ]
        for step in job["steps"]:
            command = step.get("run", "")
            if "${{ matrix.row }}" in command:
                found += [str(value) for value in values]
            else:
                found += tox_calls(command)
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_valid_and_names_environments_that_exist(path: Path) -> None:
    workflow = load(path)
    assert workflow["name"]
    assert True in workflow or "on" in workflow  # YAML 1.1 reads a bare `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), (name, step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./-]+", step.get("uses", "a/b@c")), step
        for before in [job.get("needs", [])]:
            assert set([before] if isinstance(before, str) else before) <= set(workflow["jobs"])
    assert set(rows(workflow)) <= environments()


def test_every_row_of_tox_runs_in_a_workflow() -> None:
    ran = {row for path in WORKFLOWS for row in rows(load(path))}
    assert environments() - ran == {"generate"}, "tests/tools checks what it would write"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_says_that_it_has_not_run(path: Path) -> None:
    """Take a file out of here after its first run, with the line that says it."""
    assert path.read_text().startswith("# Untested: ")


def test_hooks_are_local_and_over_tools_of_the_extra_dev() -> None:
    hooks = load(ROOT / ".pre-commit-config.yaml")
    tools = (ROOT / "pyproject.toml").read_text().split("\ndev = [")[1].split("]")[0]
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert f'"{hook["entry"].split()[0]}' in tools


@pytest.mark.parametrize("page", ["CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_no_address_stands_where_the_project_has_none(page: str) -> None:
    if "[project.urls]" not in (ROOT / "pyproject.toml").read_text():
        assert URL.findall((ROOT / page).read_text()) == []


def test_fragments_have_a_type_that_the_changelog_knows() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    types = set(re.findall(r'directory = "(\w+)", name', text))
    assert len(types) == 5
    for path in (ROOT / "newsfragments").glob("*.md"):
        if path.name != "README.md":
            assert re.fullmatch(rf"\+?[\w-]+\.({'|'.join(types)})\.md", path.name), path.name
            assert path.read_text().strip().endswith(".")


@pytest.mark.skipif(shutil.which("just") is None, reason="just comes with the extra dev")
def test_just_reads_its_recipes() -> None:
    done = subprocess.run(["just", "--summary"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == recipes()


def test_just_test_maps_a_folder_to_its_tests() -> None:
    done = subprocess.run(
        [sys.executable, "tools/tests_for.py", "--list", "shm_echo/control/server"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "pytest tests/control/server\n")
