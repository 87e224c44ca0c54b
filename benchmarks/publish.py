"""Runs the benchmarks and writes the charts and tables of the site's benchmarks page.

    python benchmarks/publish.py [--short] [--only NAME ...]

Writes the charts throughput.png, latency.png, tcp.png and loader.png in docs/assets, and
docs/explanation/measurements.md: what each benchmark printed, with the machine, the date, the
versions, and ratios with their ranges.
`just bench` calls it. A benchmark that fails keeps its old section, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
ASSETS = ROOT / "docs" / "assets"
PAGE = ROOT / "docs" / "explanation" / "measurements.md"

HEAD = """\
# Measurements

The output of the last run of each benchmark, as `benchmarks/publish.py` (`just bench`) wrote it.
Ratios are taken within a round, in which the contenders take turns; brackets hold the lowest and
the highest. [Benchmarks](benchmarks.md) explains the figures.
"""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of the page.

    Attributes:
        name: its file, without the suffix.
        title: the heading of its section.
        chart: the picture that it draws, or None.
        short: the options of a run of a minute or so.
    """

    name: str
    title: str
    chart: str | None
    short: tuple[str, ...]

    def section(self, short: bool) -> str:
        """Run it and return its section of the page.

        Raises:
            subprocess.CalledProcessError: its exit status is not 0.
        """
        plot = [] if self.chart is None else ["--plot", str(ASSETS / self.chart)]
        options = list(self.short) if short else []
        command = [sys.executable, f"benchmarks/{self.name}.py", *options, *plot]
        print("+", *command, flush=True)
        done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
        print(done.stdout, flush=True)
        kind = "A short run" if short else "A full run"
        text = done.stdout.replace(f"{ROOT}/", "").strip()
        shown = " ".join(["python", f"benchmarks/{self.name}.py", *options])
        return f"## {self.title}\n\n{kind} on {date.today()}: `{shown}`\n\n```text\n{text}\n```\n"


BENCHMARKS = (
    Benchmark(
        "ring_throughput",
        "Throughput of the ring",
        "throughput.png",
        ("--rounds", "5", "--seconds", "0.3", "--producers", "1"),
    ),
    Benchmark(
        "ring_latency",
        "Latency of the ring",
        "latency.png",
        ("--rounds", "5", "--samples", "1000", "--producers", "1"),
    ),
    Benchmark("tcp_throughput", "Throughput over TCP", "tcp.png", ("--quick",)),
    Benchmark("loader_throughput", "Throughput of the data loader", "loader.png", ("--quick",)),
    Benchmark("learner_side", "The learner's side", None, ("--rounds", "5", "--batches", "500")),
    Benchmark("mechestim_overhead", "What counting costs", None, ("--rounds", "5")),
)


def sections(page: str) -> dict[str, str]:
    """Return the sections of the page by their headings."""
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: f"## {part.strip()}\n" for part in parts}


def main(argv: list[str] | None = None) -> int:
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a minute or so of each benchmark")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    args = parser.parse_args(argv)
    found = sections(PAGE.read_text()) if PAGE.exists() else {}
    failed = []
    for benchmark in BENCHMARKS:
        if benchmark.name in args.only:
            try:
                found[benchmark.title] = benchmark.section(args.short)
            except subprocess.CalledProcessError as error:
                failed.append(f"{benchmark.name} ended with status {error.returncode}")
    ordered = [found[one.title] for one in BENCHMARKS if one.title in found]
    PAGE.write_text("\n".join([HEAD, *ordered]))
    for failure in failed:
        print(f"publish: {failure}: its section is the old one", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
