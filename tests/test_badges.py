"""The README's badges say what pyproject.toml says."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("tomllib", reason="the generator needs Python 3.11")

import shm_echo
from tools import badges, generate

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_stale_badge_is_named_and_a_missing_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That those of this checkout are current is a test of `tools.generate`."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    folder = tmp_path / "badges"
    monkeypatch.setattr(badges, "ROOT", tmp_path)
    monkeypatch.setattr(badges, "FOLDER", folder)

    assert folder / "version.svg" in generate.stale("badges")
    assert sorted(generate.write("badges")) == sorted(folder.iterdir()) != []
    assert generate.stale("badges") == []
    (folder / "version.svg").write_text("<svg/>")
    assert generate.stale("badges") == [folder / "version.svg"]


def test_their_words_are_read_from_the_project_table() -> None:
    project = {
        "project": {
            "version": "2.5",
            "license": "MIT",
            "classifiers": [
                "Programming Language :: Python :: 3",
                "Programming Language :: Python :: 3.9",
                "Programming Language :: Python :: 3.10",
                "Typing :: Typed",
            ],
        },
        "tool": {"mypy": {"strict": True}},
    }
    assert badges.values(project) == {
        "version": "2.5",
        "python": "3.9 to 3.10",
        "licence": "MIT",
        "typed": "mypy --strict",
    }


def test_a_badge_is_well_formed_and_read_aloud() -> None:
    root = ElementTree.fromstring(badges.badge('a "b"', "c & d"))

    assert root.get("aria-label") == root.findtext(f"{SVG}title") == 'a "b": c & d'
    assert [text.text for text in root.iter(f"{SVG}text")] == ['a "b"', "c & d"]


def test_every_badge_stands_in_the_readme_with_its_words() -> None:
    readme = (ROOT / "README.md").read_text()
    for path, text in badges.files().items():
        label = ElementTree.fromstring(text).get("aria-label")
        found = re.search(rf'alt="([^"]*)" src="{path.relative_to(ROOT)}"', readme)
        assert found is not None, path
        assert found[1] == label
    assert f"version: {shm_echo.__version__}" in readme
