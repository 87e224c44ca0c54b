"""From which block size on do non-temporal stores pay? The reason for SHE_STREAM_BYTES in
csrc/copy.c.

Compiles csrc/copy.c twice, with a threshold so high that it never streams and one so low that it
always does, and lets both copy blocks of each size into shared memory. The writer's thread and a
reader's thread take turns on different CPUs, a few MB at a time: the writer's speed alone is half
of the story, as ordinary stores leave the data in the cache that both share, where the reader finds
it, as long as it fits. Two rings: one that fits into that cache, and one that does not.

    python benchmarks/copy_threshold.py --plot copy.png
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness.plots import lines
from harness.report import machine, print_table
from harness.rounds import Series

CSRC = Path(__file__).resolve().parents[1] / "csrc"
TURN_BYTES = 4 << 20
RINGS = {"ring of 8 MB": 8 << 20, "ring of 128 MB": 128 << 20}
SIZES = [1 << shift for shift in range(10, 23)]  # 1 KiB to 4 MiB
KINDS = {"ordinary": 1 << 62, "streaming": 64}

# The same block again and again: what a producer sends, it has just made.
LOOP = """
#include "copy.c"
void turn(uint8_t *to, const uint8_t *block, uint64_t bytes, uint64_t total) {
    for (uint64_t done = 0; done < total; done += bytes)
        she_copy(to + done, block, bytes);
}
"""

Copy = Callable[[int, int, int, int], None]


def build(threshold: int, folder: Path) -> Copy:
    """LOOP over csrc/copy.c as it is when it streams from `threshold` bytes on.

    Raises:
        RuntimeError: it does not compile; with the compiler's words.
    """
    source, library = folder / f"turn_{threshold}.c", folder / f"turn_{threshold}.so"
    source.write_text(LOOP)
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O3", "-shared", "-fPIC"]
    command += [f"-DSHE_STREAM_BYTES={threshold}ull", f"-I{CSRC}", f"-I{CSRC / 'include'}"]
    done = subprocess.run(
        [*command, str(source), "-o", str(library)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"csrc/copy.c does not compile:\n{done.stderr}")
    function = ctypes.CDLL(str(library)).turn
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
    function.restype = None
    return function


class Pair:
    """A writer's and a reader's thread over one ring, taking turns."""

    def __init__(self, ring_bytes: int) -> None:
        self._map = mmap.mmap(-1, ring_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._ring = np.frombuffer(self._map, np.uint64)
        self._source = np.random.default_rng(0).integers(1, 1 << 60, SIZES[-1] // 8, np.uint64)
        self._cpus = sorted(os.sched_getaffinity(0))

    def run(self, copy: Copy, block: int, seconds: float) -> tuple[float, float]:
        """(GB/s while writing, GB/s counting both turns)."""
        to, source = self._ring.ctypes.data, self._source.ctypes.data
        writing, reading = threading.Semaphore(1), threading.Semaphore(0)
        times = {"write": 0.0, "read": 0.0}
        turns = 0
        over = False
        clock = time.perf_counter

        def read() -> None:
            os.sched_setaffinity(0, {self._cpus[-1]})  # of this thread
            at = 0
            while True:
                reading.acquire()
                if over:
                    return
                words = self._ring[at // 8 : (at + TURN_BYTES) // 8]
                start = clock()
                words.sum()
                times["read"] += clock() - start
                at = (at + TURN_BYTES) % self._ring.nbytes
                writing.release()

        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self._cpus[0]})
        reader = threading.Thread(target=read)
        reader.start()
        at = 0
        end = clock() + seconds
        try:
            while clock() < end or turns == 0:
                writing.acquire()
                start = clock()
                copy(to + at, source, block, TURN_BYTES)
                times["write"] += clock() - start
                at = (at + TURN_BYTES) % self._ring.nbytes
                turns += 1
                reading.release()
        finally:
            writing.acquire()
            over = True
            reading.release()
            reader.join()
            os.sched_setaffinity(0, before)
        done = turns * TURN_BYTES / 1e9
        return done / times["write"], done / (times["write"] + times["read"])


def measure(ring_bytes: int, copies: dict[str, Copy], args: Any) -> dict[tuple[str, int], Any]:
    """For each kind and size the speeds over all rounds: ordinary, streaming, ordinary, ..."""
    pair = Pair(ring_bytes)
    speeds = {(kind, size): (Series(), Series()) for kind in copies for size in args.sizes}
    for _ in range(args.rounds):
        for size in args.sizes:
            for kind, copy in copies.items():
                for series, speed in zip(
                    speeds[kind, size], pair.run(copy, size, args.seconds), strict=True
                ):
                    series.values.append(speed)
    return speeds


def show(title: str, speeds: dict[tuple[str, int], Any], sizes: list[int]) -> None:
    """Print one table."""
    rows = []
    for size in sizes:
        plain, stream = speeds["ordinary", size], speeds["streaming", size]
        rows.append(
            [
                f"{size >> 10} KiB",
                *(f"{plain[i].median:.1f}" for i in (0, 1)),
                *(f"{stream[i].median:.1f}" for i in (0, 1)),
                *(f"{stream[i].median / plain[i].median:.2f}" for i in (0, 1)),
            ]
        )
    print_table(
        f"{title}, GB/s",
        ["block", "ordinary", "+ read", "streaming", "+ read", "stream/ord", "+ read"],
        rows,
    )


def threshold(speeds: dict[tuple[str, int], Any], sizes: list[int], which: int) -> str:
    """Return the smallest size from which on streaming never loses."""
    found = None
    for size in reversed(sizes):
        if speeds["streaming", size][which].median < speeds["ordinary", size][which].median:
            break
        found = size
    return "none of these" if found is None else f"{found >> 10} KiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="per size, kind and round")
    parser.add_argument("--plot", type=Path, help="write a chart to this PNG")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    args.sizes = SIZES
    if args.smoke:
        args.rounds, args.seconds, args.sizes = 1, 0.0, SIZES[-3:]
    print(machine())
    print(f"writer and reader on CPUs of their own; {args.rounds} rounds, medians")
    curves, verdicts = {}, []
    with tempfile.TemporaryDirectory() as folder:
        copies = {kind: build(bytes_, Path(folder)) for kind, bytes_ in KINDS.items()}
        for title, ring_bytes in RINGS.items():
            speeds = measure(ring_bytes, copies, args)
            show(title, speeds, args.sizes)
            for kind in copies:
                curves[f"{title}, {kind}"] = [
                    (float(size), speeds[kind, size][0].median) for size in args.sizes
                ]
            verdicts.append([title, *(threshold(speeds, args.sizes, i) for i in (0, 1))])
    if args.plot:
        lines(args.plot, "Copying into shared memory", "block (bytes)", "GB/s", curves)
        print(f"\nwrote {args.plot}")
    print_table("Streaming pays from", ["", "writer alone", "with the reader"], verdicts)


if __name__ == "__main__":
    main()
