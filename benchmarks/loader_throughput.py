"""Items per second that reach a training loop: shm-echo's DataLoader beside its peers, in one run.

Each contender has a process of its own, in which a loop takes batches and reads one element of
each leaf. They load the same datasets, with the same batch sizes and numbers of workers, in their
order. A worker of shm-echo takes 32 rows at a time; where a batch has fewer it takes a batch. See
harness/rounds.py for how ratios are taken, and harness/loader/ for how each part measures.

    python benchmarks/loader_throughput.py --plot loader.png
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

from harness.line_client import LineClient
from harness.loader.cases import CASES, Case, by_name
from harness.loader.contenders import CONTENDERS, OURS, ROWS_PER_CLAIM, STACKED, Contender
from harness.loader.results import Result, Results, interleave, show, targets
from harness.plots import bars
from harness.report import machine, print_targets, versions

FOLDER = Path(__file__).resolve().parent
PACKAGES = ("shm-echo", "torch", "spdl", "grain", "pillow", "numpy")


class Trainers:
    """The processes that load, one for each contender; started when they are first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, LineClient] = {}

    def measure(self, contender: Contender, case: Case, workers: int, times: Times) -> Result:
        """Return what a contender did with a case."""
        trainer = self._running.get(contender.name)
        if trainer is None:
            trainer = self._running[contender.name] = _start(contender)
        request = {"case": case.name, "workers": workers, **times}
        return Result(**trainer.ask(json.dumps(request)))

    def close(self) -> None:
        """End them all."""
        for trainer in self._running.values():
            trainer.close()


Times = dict[str, float]


def _start(contender: Contender) -> LineClient:
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return LineClient(
        f"the trainer of {contender.name}",
        [sys.executable, "-m", "harness.loader.trainer", contender.name],
        {**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def chosen_contenders(only: list[str]) -> Iterator[Contender]:
    """Yield the contenders that are installed; say of the others how to install them."""
    for contender in CONTENDERS:
        if only and contender is not OURS and not any(part in contender.name for part in only):
            continue
        if reason := contender.missing():
            print(f"skipped {reason}")
        else:
            yield contender


def chosen_cases(names: list[str]) -> Iterator[Case]:
    """Yield the cases whose library is installed."""
    for case in map(by_name, names):
        if case.package is not None and importlib.util.find_spec(case.package) is None:
            print(f"skipped {case.name}: not installed (pip install 'shm-echo[bench]')")
        else:
            yield case


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="peers, by a part of the name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="measured, in each round")
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--plot", type=Path, help="write a chart to this PNG")
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 0.3
    if args.smoke:
        args.rounds, args.seconds, args.warmup = 1, 0.02, 0.0
        args.cases = [name for name in args.cases if name == "cifar"]
    return args


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a run takes long
    args = options()
    where, with_what = machine(), versions(*PACKAGES)
    print(where)
    print(f"{with_what}; shm-echo with rows_per_claim={ROWS_PER_CLAIM}")
    print(f"{args.rounds} rounds of {args.seconds:g} s: medians, ratios within a round (min..max)")
    contenders = list(chosen_contenders(args.only))
    times: Times = {"seconds": args.seconds, "warmup": args.warmup}
    results: dict[tuple[str, int], Results] = {}
    with contextlib.closing(Trainers()) as trainers:
        for case in chosen_cases(args.cases):
            for workers in args.workers:
                runs: dict[str, Callable[[], Result]] = {
                    one.name: partial(trainers.measure, one, case, workers, times)
                    for one in contenders
                    if one.runs(case)
                }
                found = results[case.name, workers] = interleave(runs, args.rounds)
                show(case, workers, found, STACKED.name)
    if args.plot:
        how = f"medians of {args.rounds} rounds of {args.seconds:g} s, lines from lowest to highest"
        rates = {
            key: {name: result.rate for name, result in found.items()}
            for key, found in results.items()
        }
        note = f"{where}\n{with_what}; {date.today()}; {how}"
        bars(args.plot, rates, note, unit="items/s", count_of="worker")
        print(f"\nwrote {args.plot}")
    print_targets(targets(results))


if __name__ == "__main__":
    main()
