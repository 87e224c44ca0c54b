"""The generated files are what their generators make, and are marked as generated."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tools import generate

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("generator", generate.GENERATORS)
def test_the_files_that_are_checked_in_are_current(generator: str) -> None:
    """If it fails: `tox -e generate`."""
    assert [path.relative_to(ROOT).as_posix() for path in generate.stale(generator)] == []


@pytest.mark.parametrize("generator", generate.GENERATORS)
def test_generated_files_are_marked_for_reviews(generator: str) -> None:
    lines = (ROOT / ".gitattributes").read_text().splitlines()
    marked = [line.split()[0] for line in lines if line.endswith(" linguist-generated")]
    for path in generate.files(generator):
        name = path.relative_to(ROOT).as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in marked), name


def test_what_is_marked_exists() -> None:
    lines = (ROOT / ".gitattributes").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            pattern, mark = re.split(r"\s+", line)
            assert mark == "linguist-generated"
            assert list(ROOT.glob(pattern)), pattern
