"""The chart of `shm-echo loader`: items per second, and the processor time of an item, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shm_echo.cli.loader_runs import Figures

__all__ = ["write_plot"]

_COLOURS = {"shm-echo": "#0b6e4f", "torch": "#5c677d"}


def write_plot(figures: Sequence[Figures], dataset: str, path: Path) -> None:
    """Write the PNG, replacing an existing file."""
    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(one.name for one in figures))
    counts = list(dict.fromkeys(one.workers for one in figures))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        ours = [one for one in figures if one.name == name]
        places = [counts.index(one.workers) + (number + 0.5) * width - 0.4 for one in ours]
        left.bar(places, [one.rate for one in ours], width, color=_COLOURS[name], label=name)
        loop = [1e6 * one.loop_cpu / one.items for one in ours]
        others = [1e6 * one.worker_cpu / one.items for one in ours]
        right.bar(places, loop, width, color=_COLOURS[name], label=f"{name}, the loop")
        right.bar(
            places, others, width, loop, color=_COLOURS[name], alpha=0.5, label=f"{name}, workers"
        )
    for axes, title in ((left, "items/s"), (right, "CPU us/item")):
        axes.set_title(title)
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlabel("workers")
        axes.grid(axis="y", alpha=0.3)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    figure.suptitle(dataset)
    figure.savefig(path, format="png")
