"""The demo's plot of a `History`: the learning curve above, the throughput below, as a PNG.

It uses matplotlib without a display and without its global state, so that no figure stays open.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shm_echo.demo.history import WINDOW, History

__all__ = ["write_plot"]


def write_plot(history: History, path: Path) -> None:
    """Write the PNG, replacing an existing file."""
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)

    upper.plot(history.return_times, history.returns, ".", ms=2, alpha=0.3, label="episode")
    if len(history.returns) >= WINDOW:
        means = np.convolve(history.returns, np.full(WINDOW, 1 / WINDOW), mode="valid")
        times = history.return_times[WINDOW - 1 :]
        upper.plot(times, means, lw=2, label=f"mean of {WINDOW}")
    upper.set_ylabel("return")
    upper.set_title("CartPole-v1 actors through a shm-echo ring")

    lower.plot(
        [bucket.at for bucket in history.throughput],
        [bucket.transitions for bucket in history.throughput],
        lw=1.5,
    )
    lower.set_ylabel("transitions/s")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("seconds")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        for i, at in enumerate(history.death_times):
            label = "actor killed" if i == 0 else None
            axes.axvline(at, color="tab:red", lw=0.8, alpha=0.6, label=label)
    upper.legend(loc="upper left")
    figure.savefig(path, format="png")
