"""The README fits on its page, and its tables say what the trials of the features found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.benchmarks import BENCHMARKS, run_benchmark

README = Path(__file__).resolve().parents[2] / "README.md"
MATRIX = str(BENCHMARKS / "feature_matrix.py")
UNKNOWN = "?"


def tables(text: str) -> dict[tuple[str, str], str]:
    """The cells of all tables that begin with an empty head, by title of the row and column."""
    cells = {}
    for table in re.findall(r"^\| \| .+\n\|(?:---\|)+\n((?:\|.+\n)+)", text, re.MULTILINE):
        head = text[: text.index(table)].splitlines()[-2]
        columns = [column.strip() for column in head.split("|")[2:-1]]
        for line in table.splitlines():
            title, *row = (cell.strip() for cell in line.split("|")[1:-1])
            cells |= {(title, column): cell for column, cell in zip(columns, row, strict=True)}
    return cells


def test_it_is_short_and_narrow() -> None:
    lines = README.read_text().splitlines()

    assert len(lines) < 150
    assert [line for line in lines if len(line) > 110] == []


def test_no_image_comes_from_another_host() -> None:
    assert re.findall(r"\bhttps?://", README.read_text()) == []


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], str]:
    """The trials of our own columns, and what was read of the others."""
    return tables(run_benchmark(MATRIX, "--libraries", "shm-echo", "mechestim"))


def test_its_tables_have_the_rows_and_columns_of_the_trials(
    found: dict[tuple[str, str], str],
) -> None:
    assert list(tables(README.read_text())) == list(found)


def test_our_own_cells_are_what_the_trials_find(found: dict[tuple[str, str], str]) -> None:
    shown = tables(README.read_text())
    ours = {key: cell for key, cell in found.items() if key[1] in ("shm-echo", "mechestim")}

    assert UNKNOWN not in ours.values()
    assert {key: shown[key] for key in ours} == ours


@pytest.mark.nightly
@pytest.mark.parametrize("feature", ["view", "misfit", "full", "broadcast", "hosts"])
def test_a_peer_is_as_the_table_says(feature: str) -> None:
    """The trials of id-echo and of a queue that take a moment only."""
    cells = tables(run_benchmark(MATRIX, "--only", feature, "--libraries", "id-echo", "Queue"))
    shown = tables(README.read_text())

    known = {key: cell for key, cell in cells.items() if cell != UNKNOWN}
    assert known
    assert {key: shown[key] for key in known} == known
