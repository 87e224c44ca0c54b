"""`shm-echo loader`: measures a dataset with several numbers of workers, and advises.

The exit status is 2 if it cannot start with these options, which includes a dataset that cannot be
imported or made, and 1 if the dataset fails while it is measured.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shm_echo.cli import arguments, plot_files

if TYPE_CHECKING:
    from shm_echo.cli.loader_runs import Figures

__all__ = ["add_parser", "run"]

_STEPS_MS = (1.0, 10.0, 100.0)


class _UsageError(Exception):
    """The dataset or a library is not there; the message is one sentence."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "loader",
        help="measure how fast a dataset loads, and how many workers are enough",
        description=(
            "Loads a dataset with shm_echo.DataLoader and each number of workers, and prints items "
            "and bytes per second, the processor time of an item, and the share of its time that a "
            "training loop would wait for batches. One sentence says how many workers are enough, "
            "and what bounds the speed. The exit status is 2 if it cannot start with these options "
            "and 1 if the dataset fails while it is measured."
        ),
    )
    parser.add_argument(
        "dataset",
        metavar="MODULE:NAME",
        help=(
            "the dataset, or a function or class that makes it when called without arguments; the "
            "current folder is searched for the module, too"
        ),
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        nargs="+",
        default=[0, 1, 2, 4],
        metavar="N",
        help="numbers of workers to measure; 0 makes the items in the loop (default: 0 1 2 4)",
    )
    parser.add_argument(
        "--batch-size",
        type=arguments.count,
        default=32,
        metavar="N",
        help="items per batch (default: 32)",
    )
    parser.add_argument(
        "--shuffle", action="store_true", help="load in a random order, instead of 0, 1, 2, ..."
    )
    parser.add_argument(
        "--rows-per-claim",
        type=arguments.count,
        metavar="N",
        help="rows that a worker takes at a time (default: as DataLoader chooses)",
    )
    parser.add_argument(
        "--step-ms",
        type=_milliseconds,
        nargs="+",
        default=list(_STEPS_MS),
        metavar="MS",
        help=(
            "milliseconds that a training step takes; several are possible. The share that the "
            "loop would wait follows from it and from the time of a batch (default: 1 10 100)"
        ),
    )
    parser.add_argument(
        "--seconds",
        type=arguments.seconds,
        default=2.0,
        metavar="S",
        help="seconds to measure each loader for (default: 2)",
    )
    parser.add_argument(
        "--compare",
        choices=["torch"],
        help="measure torch.utils.data.DataLoader with the same dataset, too",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write a chart to this file, as PNG"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return the exit status."""
    problem = _missing_library(args) or (args.plot and plot_files.problem(args.plot))
    if problem:
        return _fail(2, problem)
    try:
        dataset = _find_dataset(args.dataset)
    except _UsageError as error:
        return _fail(2, error)
    from shm_echo.cli.loader_runs import DatasetError

    try:
        return _measure(dataset, args)
    except DatasetError as error:
        return _fail(error.status, error)


def _fail(status: int, problem: object) -> int:
    print(f"shm-echo loader: {problem}", file=sys.stderr)
    return status


def _missing_library(args: argparse.Namespace) -> str | None:
    for wanted, library, extra in (
        (args.compare == "torch", "torch", "torch"),
        (args.plot is not None, "matplotlib", "plot"),
    ):
        if wanted and importlib.util.find_spec(library) is None:
            option = "--compare torch" if library == "torch" else "--plot"
            return (
                f"{option} needs {library}, which is not installed: pip install 'shm-echo[{extra}]'"
            )
    return None


# ---------------------------------------------------------------- the dataset


def _find_dataset(text: str) -> Any:
    """Import the dataset, or make it.

    Raises:
        _UsageError: it cannot be imported, is no dataset, or the call that makes it raised.
    """
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise _UsageError(f"{text} is not MODULE:NAME, such as my_module:make_dataset")
    # As `python` does for a script, so that workers that are spawned find the module as well.
    sys.path.insert(0, os.getcwd())
    found = _import(module_name)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _UsageError(f"the module {module_name} has no {name}") from None
    if _is_dataset(found):
        return found
    if not callable(found):
        raise _UsageError(
            f"{text} is a {type(found).__name__}, and neither a dataset nor a function that makes "
            "one"
        )
    try:
        dataset = found()
    except Exception as error:
        raise _UsageError(f"{text}() raised {_in_words(error)}") from None
    if not _is_dataset(dataset):
        raise _UsageError(f"{text}() returned a {type(dataset).__name__}, which is no dataset")
    return dataset


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _UsageError(
                f"there is no module {error.name} in this folder or on Python's path"
            ) from None
        raise _UsageError(f"the module {name} needs another one: {error}") from None
    except Exception as error:
        raise _UsageError(f"the module {name} cannot be imported: {_in_words(error)}") from None


def _is_dataset(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return hasattr(value, "__getitem__") or hasattr(value, "__iter__")


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ---------------------------------------------------------------- measuring


def _measure(dataset: Any, args: argparse.Namespace) -> int:
    from shm_echo.cli import loader_report, loader_runs

    # Its loop waits on purpose: the loader's hint about that would be no news.
    logging.getLogger("shm_echo").setLevel(logging.ERROR)
    options = loader_runs.Options(args.batch_size, args.shuffle, args.rows_per_claim, args.seconds)
    openers = [("shm-echo", loader_runs.open_ours)]
    if args.compare == "torch":
        openers.append(("torch", loader_runs.open_torch))
    runs = [
        loader_runs.Run(name, opener, workers)
        for name, opener in openers
        for workers in dict.fromkeys(args.workers)
    ]
    found: list[Figures] = []
    with loader_report.progress(sys.stderr, len(runs)) as progress:
        for number, one in enumerate(runs):
            progress(one.title, number, 0.0)
            on_progress = partial(progress, one.title, number)
            found.append(loader_runs.measure(one, dataset, options, on_progress))
    copy_rate = loader_runs.copy_rate()
    cpus = len(os.sched_getaffinity(0))
    print(loader_report.heading(args.dataset, found, options, cpus))
    print(loader_report.table(found, args.step_ms))
    print(loader_report.advice(found, cpus, copy_rate), flush=True)
    if args.plot is not None:
        from shm_echo.cli.loader_plot import write_plot  # matplotlib loads slowly, so it waits

        try:
            write_plot(found, args.dataset, args.plot)
        except OSError as error:
            return _fail(1, f"cannot write the plot {args.plot}: {error.strerror or error}")
        print(f"plot: {args.plot}")
    return 0


def _workers(text: str) -> int:
    return arguments.count(text, minimum=0, maximum=4096)


def _milliseconds(text: str) -> float:
    return arguments.seconds(text)
