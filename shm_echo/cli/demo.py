"""`shm-echo demo`: CartPole actors, a ring, and a learner that improves before your eyes.

The exit status is 0 if the policy improved and every sample arrived once and whole, 1 if not, 2 if
the demo cannot start with these options, 130 on Ctrl-C. The package `shm_echo.demo` does the work;
it is imported when the command runs, so that the other commands start fast.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shm_echo.cli import arguments, plot_files
from shm_echo.errors import NotBuiltError, ShmEchoError

if TYPE_CHECKING:
    from shm_echo.demo.run_records import Options

__all__ = ["add_parser", "run"]

_EXTRAS = ("gymnasium", "matplotlib", "rich")
_MAX_ACTORS = 1024  # more processes than any host has cores


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its options."""
    parser = subparsers.add_parser(
        "demo",
        help="train CartPole from actors in other processes",
        description=(
            "Gymnasium CartPole actors in separate processes stream transitions through a "
            "shared-memory ring to a learner, which trains a small policy and publishes each "
            "version of it to them. Ends when CartPole is solved. Exit status 0 when the policy "
            "has improved and every sample has arrived once and whole, 1 when not."
        ),
    )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--actors",
        type=_actors,
        default=2,
        metavar="N",
        help="number of actor processes (default: 2)",
    )
    parser.add_argument(
        "--seconds",
        type=arguments.seconds,
        default=45.0,
        metavar="S",
        help="stop training after S seconds at the latest (default: 45)",
    )
    parser.add_argument(
        "--target",
        type=_positive_number,
        default=475.0,
        metavar="R",
        help="stop training when the mean return of 50 episodes reaches R (default: 475, solved)",
    )
    parser.add_argument(
        "--kill-actors",
        action="store_true",
        help=(
            "kill actors at random with SIGKILL and restart them, and check that no sample is "
            "lost or torn; actors write slowly then, so that many die half-way through a sample"
        ),
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=None,
        metavar="N",
        help="random seed of networks and environments (default: a new one each time)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("shm-echo-demo.png"),
        metavar="PATH",
        help="the file to write the learning curve to, as PNG (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo, and return the exit status."""
    problem = _missing_build() or _missing_extras() or plot_files.problem(args.plot)
    if problem:
        print(f"shm-echo demo: {problem}", file=sys.stderr)
        return 2
    # BLAS reads these when NumPy is imported. The matrices are tiny, and more threads would take
    # the actors' cores.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("shm-echo demo: interrupted; all actors have been terminated", file=sys.stderr)
        return 130
    except (ShmEchoError, OSError) as error:
        print(f"shm-echo demo: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    from shm_echo.demo.learner import train
    from shm_echo.demo.run_records import Options
    from shm_echo.demo.summary import summarise
    from shm_echo.demo.view import progress_view

    options = Options(
        actors=args.actors,
        seconds=args.seconds,
        kill_actors=args.kill_actors,
        target=args.target,
        seed=secrets.randbelow(2**31) if args.seed is None else args.seed,
    )
    print(_heading(options), flush=True)
    with progress_view(sys.stdout) as show:
        outcome = train(options, show)
    print(summarise(outcome, options), flush=True)
    from shm_echo.demo.plot import write_plot  # matplotlib loads slowly, so it waits

    try:
        write_plot(outcome.history, args.plot)
    except OSError as error:
        raise OSError(f"cannot write the plot {args.plot}: {error.strerror or error}") from None
    print(f"plot: {args.plot}")
    return 0 if outcome.succeeded else 1


def _heading(options: Options) -> str:
    actors = f"{options.actors} actor{'s' if options.actors != 1 else ''}"
    killed = ", killed at random" if options.kill_actors else ""
    return f"shm-echo demo: CartPole-v1, {actors}{killed}, seed {options.seed}"


def _missing_build() -> str | None:
    from shm_echo.ring.build_check import require_build

    try:
        require_build("demo")
    except NotBuiltError as error:
        return str(error)
    return None


def _missing_extras() -> str | None:
    missing = [name for name in _EXTRAS if not _installed(name)]
    if not missing:
        return None
    names, verb = missing[-1], "is"
    if len(missing) > 1:
        names, verb = f"{', '.join(missing[:-1])} and {names}", "are"
    return f"{names} {verb} not installed: pip install 'shm-echo[demo]'"


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # find_spec raises it for a module without a spec, such as __main__
        return False


def _actors(text: str) -> int:
    return arguments.count(text, maximum=_MAX_ACTORS)


def _seed(text: str) -> int:
    return arguments.count(text, minimum=0)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
