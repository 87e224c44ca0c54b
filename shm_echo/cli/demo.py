"""``shm-echo demo``: CartPole actors, a ring, and a learner that improves before your eyes.

What it is: the command line of the demo.

What it guarantees: exit status 0 when the policy improved and every sample arrived once and
whole, 1 when not, 2 when the demo cannot start as asked, 130 on Ctrl-C.

What it leaves to others: everything that happens (``shm_echo.demo``). Nothing of it is imported
until the command runs, so that the other commands do not pay for it.
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

from shm_echo.cli import arguments
from shm_echo.errors import NotBuiltError, ShmEchoError

if TYPE_CHECKING:
    from shm_echo.demo.run_records import Options

__all__ = ["add_parser", "run"]

_EXTRAS = ("gymnasium", "matplotlib", "rich")
_MOST_ACTORS = 1024


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
        help="stop training after so many seconds at the latest (default: 45)",
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
            "SIGKILL actors at random meanwhile (they then write slowly, so that many are hit "
            "half-way through a sample), restart them, and show that nothing was lost or torn"
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
    """Run the demo; returns the exit status."""
    problem = _missing_build() or _missing_extras() or _unwritable(args.plot)
    if problem:
        print(f"shm-echo demo: {problem}", file=sys.stderr)
        return 2
    # Before NumPy is loaded: the matrices are tiny, and BLAS threads would take the actors' cores.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("shm-echo demo: interrupted; all actors have been ended", file=sys.stderr)
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
    from shm_echo.demo.plot import write_plot  # takes a while to load: not before the run

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
    except ValueError:  # a module of that name without a spec is not the package
        return False


def _unwritable(path: Path) -> str | None:
    if path.is_dir():
        return f"--plot {path} is a directory, not a file"
    if not path.parent.is_dir():
        return f"--plot {path}: there is no directory {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"--plot {path} is not writable"
    return None


def _actors(text: str) -> int:
    return arguments.count(text, most=_MOST_ACTORS)


def _seed(text: str) -> int:
    return arguments.count(text, least=0)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
