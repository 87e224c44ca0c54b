"""The plot of a budget: it writes a file that is not empty, and leaves other plots as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import mechestim as me
from shm_echo.mechestim.accounting import plot
from shm_echo.mechestim.accounting.account import Mark
from tests.support.scripts import run_script
from tests.support.spending import quiet, spend

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib (extra plot) is missing"
)


def marks(*totals: dict[tuple[str | None, str], int]) -> list[Mark]:
    return [Mark(float(i), flops) for i, flops in enumerate(totals, start=1)]


# ---------------------------------------------------------------- the drawing


def test_the_totals_are_those_of_each_operation_or_each_namespace_over_time() -> None:
    history = marks(
        {("a", "exp"): 1},
        {("a", "exp"): 4, (None, "exp"): 2},
        {("a", "exp"): 4, (None, "exp"): 2, ("a", "log"): 9},
    )
    moments, by_operation = plot.series(history, by_namespace=False)
    assert moments == [0.0, 1.0, 2.0, 3.0]
    assert by_operation == {"log": [0, 0, 0, 9], "exp": [0, 1, 6, 6]}
    assert list(by_operation) == ["log", "exp"]
    _, by_namespace = plot.series(history, by_namespace=True)
    assert by_namespace == {"a": [0, 1, 4, 13], "(unnamed)": [0, 0, 2, 2]}


def test_beyond_ten_the_smallest_are_drawn_as_one() -> None:
    history = marks({(None, f"op{i:02}"): i + 1 for i in range(25)})
    _, shown = plot.series(history, by_namespace=False)
    assert list(shown) == [*(f"op{i}" for i in range(24, 15, -1)), "16 others"]
    assert shown["16 others"] == [0, sum(range(1, 17))]
    assert sum(column[-1] for column in shown.values()) == sum(range(1, 26))
    _, ten = plot.series(marks({(None, f"op{i}"): i for i in range(10)}), by_namespace=False)
    assert len(ten) == 10


def test_an_empty_history_has_no_totals() -> None:
    assert plot.series(marks({}), by_namespace=True) == ([0.0, 1.0], {})


# ---------------------------------------------------------------- the file


def pixels(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB").copy()


def colours(path: Path) -> set[tuple[int, int, int]]:
    image = pixels(path)
    return {colour for count, colour in image.getcolors(2**24) if count > 500}


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


@needs_matplotlib
def test_a_plot_shows_a_band_for_each_operation(tmp_path: Path) -> None:
    with quiet(10**6, namespace="net") as budget:
        x = me.ones(100)
        for i in range(50):
            with me.namespace(f"part{i % 2}"):
                me.exp(x)
                me.add(x, x)
    budget.plot(str(tmp_path / "flops.png"))
    assert pixels(tmp_path / "flops.png").size == (1080, 840)
    assert {BLUE, ORANGE} <= colours(tmp_path / "flops.png")
    with quiet(10**6) as alone:
        me.exp(x)
    alone.plot(tmp_path / "alone.png")
    assert BLUE in colours(tmp_path / "alone.png")
    assert ORANGE not in colours(tmp_path / "alone.png")


@needs_matplotlib
def test_a_budget_without_charges_can_be_drawn(tmp_path: Path) -> None:
    quiet().plot(tmp_path / "empty.png")
    assert BLUE not in colours(tmp_path / "empty.png")


@needs_matplotlib
def test_an_open_budget_can_be_drawn_and_the_suffix_selects_the_format(tmp_path: Path) -> None:
    with quiet() as budget:
        spend(5)
        budget.plot(tmp_path / "flops.svg")
        budget.plot(tmp_path / "flops.pdf")
    assert "<svg" in (tmp_path / "flops.svg").read_text()
    assert (tmp_path / "flops.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="nope"):
        budget.plot(tmp_path / "flops.nope")


@needs_matplotlib
@pytest.mark.parametrize("name", ["$x_{", "_hidden", "a^b$\\frac", "é & <b>"])
def test_names_are_drawn_literally(name: str, tmp_path: Path) -> None:
    with quiet(namespace=name) as budget:
        spend(5, name)
    budget.plot(tmp_path / "flops.svg")
    assert plot._plain(name).replace(r"\$", "$").strip() == name


@needs_matplotlib
def test_it_needs_no_display_and_leaves_pyplot_alone(tmp_path: Path) -> None:
    printed = run_script(
        """
import sys
import mechestim as me
from tests.support.spending import quiet, spend
with quiet() as budget:
    spend(5)
budget.plot(sys.argv[1])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
import matplotlib.pyplot as plt
plt.figure()
budget.plot(sys.argv[1])
print(len(plt.get_fignums()))
""",
        str(tmp_path / "flops.png"),
        env={"DISPLAY": "", "WAYLAND_DISPLAY": "", "MPLBACKEND": "agg"},
    )
    assert printed.split() == ["True", "False", "1"]


def test_without_matplotlib_the_error_names_the_extra(tmp_path: Path) -> None:
    printed = run_script(
        """
import importlib.util, sys
look = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "matplotlib" else look(name, *a)
from tests.support.spending import quiet
try:
    quiet().plot(sys.argv[1])
except ImportError as error:
    print(error)
""",
        str(tmp_path / "flops.png"),
    )
    assert printed == "drawing a budget needs matplotlib: pip install 'shm-echo[plot]'\n"
    assert not (tmp_path / "flops.png").exists()
