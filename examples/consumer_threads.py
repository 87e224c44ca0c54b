"""Several threads of the learner's process share one stream of batches.

Each batch goes to exactly one thread. Leases make that safe: a thread's batch does not change until
the thread has dropped its last reference to it, while other threads take batches. Threads pay off
if the work on a batch runs without the interpreter lock, as large NumPy operations, JAX, PyTorch,
compression and writing to files do.

    python examples/consumer_threads.py --threads 3 --samples 20000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading

import numpy as np

from shm_echo import Server, ShmClient, ShmTransport

SIGNAL = {"wave": np.zeros(256, np.float32), "number": np.int64(0)}
PRODUCERS = 2


def record(name: str, producer: int, samples: int) -> None:
    """Send this producer's share of the samples, in a producer process."""
    rng = np.random.default_rng(producer)
    with ShmClient(name, SIGNAL, connect_timeout=10) as client:
        for number in range(producer, samples, PRODUCERS):
            client.send({"wave": rng.standard_normal(256).astype(np.float32), "number": number})


class Analyst(threading.Thread):
    """Takes batches until the stream ends, and counts what it saw."""

    def __init__(self, server: Server, samples: int) -> None:
        super().__init__()
        self.server = server
        self.seen = np.zeros(samples, np.int64)
        self.batches = 0

    def run(self) -> None:
        for sample in self.server.dataset_iter(until="producers_closed", min_producers=PRODUCERS):
            np.fft.rfft(sample.batch["wave"])  # your work on the batch
            self.seen[sample.batch["number"]] += 1
            self.batches += 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--samples", type=int, default=20_000)
    args = parser.parse_args()

    name = f"consumer-threads-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    # One buffer for each thread, which holds its batch while it waits for the next one, and two
    # for the producers.
    buffers = args.threads + 2
    with Server(SIGNAL, 64, ShmTransport(name), buffers, lease=True) as server:
        producers = [
            context.Process(target=record, args=(name, producer, args.samples), daemon=True)
            for producer in range(PRODUCERS)
        ]
        analysts = [Analyst(server, args.samples) for _ in range(args.threads)]
        for process in producers:
            process.start()
        for analyst in analysts:
            analyst.start()
        for analyst in analysts:
            analyst.join()
        for process in producers:
            process.join()
    seen = sum(analyst.seen for analyst in analysts)
    for number, analyst in enumerate(analysts):
        print(f"thread {number}: {analyst.batches} batches, {analyst.seen.sum()} samples")
    print(f"{int((seen == 1).sum())} of {args.samples} samples were seen exactly once")


if __name__ == "__main__":
    main()
