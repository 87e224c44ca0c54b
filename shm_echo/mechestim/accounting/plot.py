"""`budget.plot("flops.png")`: the FLOPs charged over time, by operation and by namespace.

Draws the marks of an account's history with matplotlib (the extra `plot`), through a figure of
its own: it needs no display and leaves the caller's pyplot figures alone. The count between two
marks is flat in the picture: an account records a mark when its total has grown by a 64th.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.report import label_text

if TYPE_CHECKING:
    from shm_echo.mechestim.accounting.account import Mark

__all__ = ["save", "series"]

_MAX_BANDS = 10  # of one panel, one for each colour of "tab10"; the smallest share a band


def save(
    history: Sequence[Mark], path: str | os.PathLike[str], *, title: str = "mechestim"
) -> None:
    """Draw a history into a file; the suffix, such as `.png`, selects the format.

    Args:
        history: `Account.history`.
        path: The file.
        title: The title above the panels.

    Raises:
        ImportError: matplotlib is not installed. The message names the extra.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            "drawing a budget needs matplotlib: pip install 'shm-echo[plot]'", name="matplotlib"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_plain(title))
    panels = figure.subplots(2, 1, sharex=True)
    _draw(panels[0], "By operation", *series(history, by_namespace=False))
    _draw(panels[1], "By namespace", *series(history, by_namespace=True))
    panels[1].set_xlabel("seconds")
    figure.savefig(os.fspath(path), dpi=120)


def series(
    history: Sequence[Mark], *, by_namespace: bool
) -> tuple[list[float], dict[str, list[int]]]:
    """Return the moments of a history, from 0 on, and the total of each label at each moment.

    The label with the largest total comes first; beyond ten, the smallest are summed as "others".
    """
    moments = [0.0, *(mark.elapsed_s for mark in history)]
    totals: dict[str, list[int]] = {}
    for i, mark in enumerate(history, start=1):
        for (namespace, operation), flops in mark.flops.items():
            label = label_text(namespace) if by_namespace else operation
            totals.setdefault(label, [0] * len(moments))[i] += flops
    order = sorted(totals, key=lambda label: (-totals[label][-1], label))
    shown = {
        label: totals[label]
        for label in order[: _MAX_BANDS if len(order) <= _MAX_BANDS else _MAX_BANDS - 1]
    }
    rest = [totals[label] for label in order[len(shown) :]]
    if rest:
        shown[f"{len(rest)} others"] = [sum(column) for column in zip(*rest, strict=True)]
    return moments, shown


def _draw(panel: Any, title: str, moments: list[float], totals: dict[str, list[int]]) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import EngFormatter

    panel.set_title(title, loc="left")
    panel.set_ylabel("FLOPs")
    panel.yaxis.set_major_formatter(EngFormatter())
    panel.set_xlim(0.0, moments[-1] or 1.0)
    if not totals:
        panel.text(0.5, 0.5, "nothing was charged", transform=panel.transAxes, ha="center")
        return
    bands = panel.stackplot(
        moments,
        # Floats: the sum of several budgets may not fit into NumPy's integers.
        [[float(flops) for flops in column] for column in totals.values()],
        colors=[colormaps["tab10"](i) for i in range(len(totals))],
        step="post",
    )
    # The legend lists the highest band first, in the order in which the picture stacks them.
    labels = [_plain(f"{label}: {column[-1]:,}") for label, column in totals.items()]
    panel.legend(bands[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))


def _plain(text: str) -> str:
    """Escape `text`: matplotlib reads `$` as a formula and hides labels that begin with `_`."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
