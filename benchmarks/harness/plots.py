"""The charts. matplotlib is imported only when one is asked for."""

from __future__ import annotations

from pathlib import Path

from harness.report import si
from harness.rounds import Series

__all__ = ["bars", "growth", "lines", "whiskers"]

# White letters on the first two and black ones on the third have a contrast above 5 to 1.
_OURS, _PEER, _LIMIT = "#0b6e4f", "#5c677d", "#d9a441"


def _letters(name: str) -> str:
    return "black" if _colour(name) == _LIMIT else "white"


def _colour(name: str) -> str:
    if name.startswith("shm-echo"):
        return _OURS
    return _LIMIT if name.startswith(("limit", "half")) else _PEER


def bars(
    path: Path,
    results: dict[tuple[str, int], dict[str, Series]],
    note: str,
    unit: str = "samples/s",
    count_of: str = "producer",
) -> None:
    """Rates: a panel per load and number of processes, a bar per contender, min..max on it.

    Args:
        path: the file to write.
        results: by load and number of processes, then by contender.
        note: stands below the panels: where and how this was measured.
        unit: of the rates.
        count_of: what the processes are, in the singular.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    loads = list(dict.fromkeys(load for load, _ in results))
    counts = list(dict.fromkeys(count for _, count in results))
    # One row for each number of processes; a single row is broken into two, which a page can show
    # without making its letters too small.
    columns = len(loads) if len(counts) > 1 else -(-len(loads) // 2)
    rows = -(-len(results) // columns)
    figure, axes = pyplot.subplots(
        rows,
        columns,
        figsize=(3.6 * columns + 1.5, 2.6 * rows + 0.6),
        squeeze=False,
        layout="constrained",
        sharey=False,
    )
    for axis in axes.flat[len(results) :]:
        axis.set_visible(False)
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    names.sort(key=lambda name: name.startswith("limit"))
    for (load, count), found in results.items():
        row, column = divmod(counts.index(count) * len(loads) + loads.index(load), columns)
        axis = axes[row][column]
        for place, name in enumerate(names):
            series = found.get(name)
            if series is None:
                continue
            low, high = series.median - series.low, series.high - series.median
            axis.barh(place, series.median, color=_colour(name), xerr=[[low], [high]])
            axis.text(2, place, si(series.median), va="center", color=_letters(name), fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(left=1)
        axis.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))
        axis.invert_yaxis()
        axis.set_title(f"{load}, {count} {count_of}{'s' if count > 1 else ''}", fontsize=10)
        if row == rows - 1:
            axis.set_xlabel(f"{unit} (log)")
        axis.grid(axis="x", alpha=0.3)
    figure.supxlabel(note, fontsize=8, color="#555555")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def whiskers(path: Path, title: str, x_label: str, spans: dict[str, tuple[float, float]]) -> None:
    """Draw a bar up to the first number of each pair, and a thin line from there to the second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 0.5 * len(spans) + 1.2), layout="constrained")
    for place, (name, (first, second)) in enumerate(spans.items()):
        axis.barh(place, first, color=_colour(name), xerr=[[0.0], [max(0.0, second - first)]])
        axis.text(1.1, place, f"{first:.1f}", va="center", color=_letters(name), fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(left=1)
    axis.set_yticks(range(len(spans)), list(spans))
    axis.invert_yaxis()
    axis.set(title=title, xlabel=x_label)
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def lines(
    path: Path, title: str, x_label: str, y_label: str, curves: dict[str, list[tuple[float, float]]]
) -> None:
    """Draw one curve per name, over a logarithmic x axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in curves.items():
        axis.plot(*zip(*points, strict=True), marker=".", label=name)
    axis.set_xscale("log", base=2)
    axis.set(title=title, xlabel=x_label, ylabel=y_label)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def growth(
    path: Path,
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]],
    x_label: str,
    note: str,
) -> None:
    """Draw a panel per quantity, two in a row, and in it a curve per contender over log2 x.

    Args:
        path: the file to write.
        panels: by title, then by contender: x, and the median, the lowest and the highest there.
        x_label: below the panels of the last row.
        note: stands below the panels: where and how this was measured.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    rows = -(-len(panels) // 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(9, 2.8 * rows + 0.6), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        for name, points in curves.items():
            x, middle, low, high = zip(*points, strict=True)
            axis.plot(x, middle, marker=".", color=_colour(name), label=name)
            axis.fill_between(x, low, high, color=_colour(name), alpha=0.15, linewidth=0)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value) if value else "0"))
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel(x_label)
    figure.supxlabel(note, fontsize=8, color="#555555")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
