"""A process that loads with one contender: `python -m harness.loader.trainer NAME`.

It reads lines of JSON with a case, a number of workers and times, and answers each with a line of
what it measured. The loop reads one element of each leaf of a batch, and does nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.loader import cases, contenders
from harness.loader.contenders import Contender

PATIENCE = 60  # seconds without a batch after which a contender is taken for broken


def main() -> None:
    contender = contenders.by_name(sys.argv[1])
    signal.signal(signal.SIGALRM, _give_up)
    # Libraries and workers may print: the answers have a descriptor of their own. Workers must not
    # keep it open: its end is how the benchmark notices that this process has died.
    answers = os.dup(1)
    os.dup2(2, 1)
    os.register_at_fork(after_in_child=lambda: os.close(answers))
    if contender.package is not None:
        importlib.import_module(contender.package)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        found = _measure(contender, **json.loads(line))
        os.write(answers, f"{json.dumps(found)}\n".encode())


def _give_up(*_: object) -> None:
    raise TimeoutError(f"{sys.argv[1]}: no batch within {PATIENCE} s")


def _measure(
    contender: Contender, case: str, workers: int, seconds: float, warmup: float
) -> dict[str, float]:
    """Return what one loader did in a time.

    Returns:
        `items`, `bytes` and `seconds` of the window; `loop_cpu`, the CPU seconds of the thread that
        runs the loop; `other_cpu`, those of this process's other threads and of all processes below
        it; `first`, seconds from the call that makes the loader to its first batch.
    """
    one = cases.by_name(case)
    make = one.make_stacked if contender.stacked else one.make
    assert make is not None
    dataset = make()
    signal.alarm(PATIENCE)
    began = time.perf_counter()
    with contender.open(one, dataset, workers) as batches:
        _touch(next(batches))
        first = time.perf_counter() - began
        _take(batches, warmup)
        children = _descendants(os.getpid())
        below = _cpu_seconds(children)
        loop, process = time.thread_time(), time.process_time()
        items, size, window = _take(batches, seconds)
        loop, process = time.thread_time() - loop, time.process_time() - process
        below = _cpu_seconds(children) - below
    signal.alarm(0)
    return {
        "items": items,
        "bytes": size,
        "seconds": window,
        "loop_cpu": loop,
        "other_cpu": process - loop + below,
        "first": first,
    }


def _take(batches: Iterator[Any], seconds: float) -> tuple[int, int, float]:
    """Take batches for a time; return the items, their bytes, and the seconds to the last one."""
    items = size = 0
    start = end = time.perf_counter()
    while end - start < seconds:
        count, nbytes = _touch(next(batches))
        items += count
        size += nbytes
        end = time.perf_counter()
        signal.alarm(PATIENCE)
    return items, size, end - start


def _touch(batch: Any) -> tuple[int, int]:
    """Read an element of each leaf; return the number of items and their bytes."""
    if hasattr(batch, "padded"):
        batch = (batch.padded, batch.lengths)
    if isinstance(batch, (list, tuple)):
        sizes = [_touch(leaf) for leaf in batch]
        return sizes[0][0], sum(nbytes for _, nbytes in sizes)
    batch.reshape(-1)[0].item()
    return len(batch), batch.nbytes


# ---------------------------------------------------------------- processor time


def _descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def _cpu_seconds(pids: list[int]) -> float:
    """Return the processor time of all threads of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


if __name__ == "__main__":
    main()
