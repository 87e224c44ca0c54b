"""Fills the README's tables of features: each cell of shm-echo and its neighbours, tried or read.

Every trial is a short program in features/, run in an interpreter of its own. Libraries that are
not installed are skipped; torch and flopscope's server and client are tried in the environments
that the options name.

    python benchmarks/feature_matrix.py --torch torch/bin/python --venvs ~/.cache/mechestim-bench
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FEATURES = Path(__file__).resolve().parent / "features"
SKIPPED = "?"
LIMIT_S = 300  # a queue that a killed producer has locked is waited for two minutes


class Library(NamedTuple):
    """A column.

    Attributes:
        title: its head.
        program: of features/, which tries it; empty if all its cells are read.
        needs: the module without which its trials are skipped.
        read: cells that were read in its documentation, most of them features that it lacks.
    """

    title: str
    program: str
    needs: str
    read: dict[str, str]


MOVING = {
    "view": "a batch reaches the learner without a copy",
    "join": "any process can join while it runs",
    "misfit": "structure, shape and dtype of each sample are checked",
    "full": "a full buffer makes the sender wait, up to a time-out",
    "killed_inside": "a producer killed inside a send leaves the others unharmed",
    "death": "a killed producer is reported to the learner",
    "learner_dies": "the learner is killed: a waiting sender gets an error",
    "broadcast": "newest parameters for all producers",
    "hosts": "producers on other hosts",
    "sampling": "random or prioritised sampling, replay",
    "disk": "contents can be saved to disk",
    "macos": "runs on macOS",
}
MOVERS = (
    Library(
        "shm-echo",
        "ours.py",
        "shm_echo",
        {"sampling": "no", "disk": "no", "macos": "no"},
    ),
    Library("id-echo", "peer_id_echo.py", "echo", {"sampling": "no", "disk": "no", "macos": "yes"}),
    Library(
        "Reverb",
        "",
        "",
        {
            "view": "no",
            "join": "yes",
            "misfit": "optional",
            "full": "yes",
            "broadcast": "yes",
            "hosts": "yes",
            "sampling": "yes",
            "disk": "yes",
            "macos": "no",
        },
    ),
    Library(
        "DataLoader",
        "peer_torch.py",
        "torch",
        {"broadcast": "no", "hosts": "no", "disk": "no", "macos": "yes"},
    ),
    Library(
        "Queue",
        "peer_queue.py",
        "multiprocessing",
        {"broadcast": "no", "hosts": "no", "sampling": "no", "disk": "no", "macos": "yes"},
    ),
)
METERING = {
    "priced": "priced from shapes, refused before it runs",
    "numpy_functions": "NumPy's own functions on its arrays are counted",
    "symmetric": "symmetric arrays cost less",
    "time_limit": "a budget can have a time limit",
    "written": "arrays can be written: `x[0] = 1`, `x += 1`",
    "without_numpy": "a client needs no NumPy",
    "at_once": "clients of one server at once",
    "killed_client": "a killed client leaves its place at once",
    "ceiling": "a server's ceiling over all budgets of a client",
}
METERS = (
    Library("mechestim", "metering.py", "mechestim", {}),
    Library("flopscope", "metering.py", "flopscope", {}),
)
REMOTE = ("without_numpy", "at_once", "killed_client", "ceiling")


def cell(library: Library, feature: str, args: argparse.Namespace) -> str:
    """Return one word or two: the last line that a trial printed, or the cell that was read."""
    if feature in library.read:
        return library.read[feature]
    if not library.program:
        return SKIPPED
    python = sys.executable
    if library.needs == "torch":
        if args.torch is None:
            return SKIPPED
        python = str(args.torch)
    elif importlib.util.find_spec(library.needs) is None:
        return SKIPPED
    # Processes that a trial starts import from features/, and not from the current folder.
    path = os.pathsep.join([str(FEATURES), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
    environment["FEATURES_LIBRARY"] = library.title
    if library.title == "flopscope" and feature in REMOTE:
        if args.venvs is None:
            return SKIPPED
        environment["FEATURES_VENVS"] = str(args.venvs)
    done = subprocess.run(
        [python, str(FEATURES / library.program), feature],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode:
        sys.exit(f"{done.stderr}{library.title}, {feature}: the trial failed")
    return done.stdout.splitlines()[-1]


def table(
    rows: dict[str, str], libraries: tuple[Library, ...], args: argparse.Namespace
) -> list[str]:
    """Return the lines of a table, in Markdown."""
    lines = [
        "| | " + " | ".join(library.title for library in libraries) + " |",
        "|---" * (len(libraries) + 1) + "|",
    ]
    for feature, title in rows.items():
        if args.only and feature not in args.only:
            continue
        cells = [
            cell(library, feature, args)
            if not args.libraries or library.title in args.libraries
            else SKIPPED
            for library in libraries
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--torch", type=Path, help="an interpreter that can import torch")
    parser.add_argument("--venvs", type=Path, help="where flopscope's environments are")
    parser.add_argument("--only", nargs="+", default=[], choices=[*MOVING, *METERING])
    parser.add_argument("--libraries", nargs="+", default=[], help="by the heads of the columns")
    args = parser.parse_args()
    for rows, libraries in ((MOVING, MOVERS), (METERING, METERS)):
        print("\n".join(table(rows, libraries, args)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
