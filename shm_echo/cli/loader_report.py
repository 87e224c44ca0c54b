"""The report of `shm-echo loader`: a bar while it measures, then a table and one sentence."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from shm_echo.cli.loader_runs import Figures, Options

__all__ = ["advice", "heading", "progress", "table"]

Show = Callable[[str, int, float], None]

# Fewer workers are enough if they reach this part of the highest rate.
_ENOUGH = 0.9
# Shares above which a resource counts as used up.
_BUSY = 0.8
_CROWDED = 0.25
_OF_A_COPY = 0.5


@contextlib.contextmanager
def progress(stream: TextIO, runs: int) -> Iterator[Show]:
    """Show a bar while loaders are measured: on a terminal, and where rich is installed.

    Yields:
        A call that shows the run, its number, and the share of it that is over.
    """
    if not stream.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Without a thread that draws: loaders fork, and the fork would inherit its lock.
    with Progress(
        *columns, console=Console(file=stream), transient=True, auto_refresh=False
    ) as bar:
        task = bar.add_task("", total=runs)
        yield lambda title, number, share: bar.update(
            task, description=title, completed=number + share, refresh=True
        )


def heading(dataset: str, figures: Sequence[Figures], options: Options, cpus: int) -> str:
    """Return the line above the table."""
    one = figures[0]
    order = "shuffled" if options.shuffle else "in order"
    return (
        f"{dataset}: {one.nbytes // one.items:,} bytes an item, batches of {options.batch_size} "
        f"{order}, {options.seconds:g} s each; this process may use {cpus} CPU"
        f"{'' if cpus == 1 else 's'}\n"
    )


def table(figures: Sequence[Figures], steps_ms: Sequence[float]) -> str:
    """Return the table, with a column for each time of a training step."""
    names = len({one.name for one in figures}) > 1
    head = ["workers", "items/s", "GB/s", "CPU us/item", "ms/batch", "first ms"]
    head += [f"waits at {step:g} ms" for step in steps_ms]
    rows = [
        [
            f"{one.name} {one.workers}" if names else str(one.workers),
            _short(one.rate),
            f"{one.bandwidth / 1e9:.3g}",
            _short(1e6 * one.item_cpu),
            _short(1e3 * one.batch_seconds),
            f"{1e3 * one.first:,.0f}",
            *(f"{one.wait_share(step / 1e3):.0%}" for step in steps_ms),
        ]
        for one in figures
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]
    return "\n".join(lines) + "\n"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


# ---------------------------------------------------------------- advice


def advice(figures: Sequence[Figures], cpus: int, copy_rate: float) -> str:
    """Return one sentence: how many workers are enough, and what bounds the speed.

    Args:
        figures: of all runs; those of `shm-echo` count.
        cpus: CPUs that the process may use.
        copy_rate: bytes per second that a copy in memory reaches.
    """
    ours = sorted((one for one in figures if one.name == "shm-echo"), key=lambda one: one.workers)
    best = max(ours, key=lambda one: one.rate)
    enough = next(one for one in ours if one.rate >= _ENOUGH * best.rate)
    return f"{_how_many(ours, enough, best)}: {_bound(enough, cpus, copy_rate)}."


def _how_many(ours: Sequence[Figures], enough: Figures, best: Figures) -> str:
    rate = f"{_short(enough.rate)} items/s"
    if len(ours) == 1:
        return f"{_workers(enough)} bring{_s(enough)} {rate}"
    if enough.workers == 0:
        return f"No workers are needed ({rate} without, at most {_short(best.rate)} with them)"
    if enough is ours[-1]:
        return f"{_workers(enough)} bring{_s(enough)} the most of those tried ({rate})"
    is_or_are = "is" if enough.workers == 1 else "are"
    more = "and more are no faster" if enough is best else f"at most {_short(best.rate)} with more"
    return f"{_workers(enough)} {is_or_are} enough ({rate}, {more})"


def _workers(one: Figures) -> str:
    if one.workers == 0:
        return "The loop without workers"
    return f"{one.workers} worker{'' if one.workers == 1 else 's'}"


def _s(one: Figures) -> str:
    return "s" if one.workers < 2 else ""


def _bound(one: Figures, cpus: int, copy_rate: float) -> str:
    """Return what bounds the speed, as a sentence without its full stop."""
    each = f"{_short(1e6 * one.item_cpu)} us of CPU an item"
    loop = one.loop_cpu / one.seconds
    if one.bandwidth > _OF_A_COPY * copy_rate:
        share = one.bandwidth / copy_rate
        return (
            f"the limit is memory bandwidth, at {one.bandwidth / 1e9:.3g} GB/s, {share:.0%} of a "
            "bare copy"
        )
    if one.workers == 0:
        if loop > _BUSY:
            return f"the limit is the dataset, at {each}"
        return (
            f"the limit is the dataset: the loop is busy for {loop:.0%} of the time, and waits "
            "otherwise"
        )
    if loop > _BUSY:
        return "the limit is the loop: its own process is busy all the time with taking batches"
    used = (one.loop_cpu + one.worker_cpu) / one.seconds
    delayed = one.worker_delay / (one.seconds * one.workers)
    busy = one.worker_cpu / (one.seconds * one.workers)
    if used > _BUSY * cpus:
        return f"the limit is the CPUs, at {each} and {used:.1f} of {cpus} CPUs in use"
    if delayed > _CROWDED:
        return (
            f"the limit is the CPUs, at {each}: the workers waited for a CPU for {delayed:.0%} of "
            "the time, and other programs use them as well"
        )
    if busy > _BUSY:
        return f"the limit is the dataset, at {each}, and more workers would help"
    return (
        f"the limit is the dataset: a worker is busy for {busy:.0%} of the time, and waits "
        "otherwise, as for files, the network or locks"
    )
