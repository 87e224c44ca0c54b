"""A data-parallel learner: one Server for each rank, and actor i sends to rank i % ranks.

A ring has one consumer, so the ranks do not share one: each has a Server of its own, under a name
that its number completes. Every rank trains on its own batches, and the gradients are averaged
before each step. Here a few lines of shared memory do that; with PyTorch it is
`torch.distributed.all_reduce`. There `torchrun` starts the ranks, and each takes its number from
the environment variable RANK.

    python examples/data_parallel.py --ranks 2 --actors 4 --steps 100
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport

EXAMPLE = {"x": np.zeros(8, np.float32), "y": np.float32(0), "actor": np.int64(0)}
TRUE_WEIGHTS = np.linspace(-1, 1, 8)
BATCH = 32


def act(name: str, actor: int, ranks: int) -> None:
    """Send samples to one rank until it closes its ring, in an actor process."""
    rng = np.random.default_rng(actor)
    with ShmClient(f"{name}-{actor % ranks}", EXAMPLE, connect_timeout=60) as client:
        try:
            while True:
                x = rng.standard_normal(8).astype(np.float32)
                y = float(x @ TRUE_WEIGHTS + 0.1 * rng.standard_normal())
                client.send({"x": x, "y": y, "actor": actor})
        except ConnectionClosedError:
            pass  # the rank has finished


class AllReduce:
    """Averages one vector per rank, as `torch.distributed.all_reduce` does.

    Args:
        memory: shared by all ranks: one vector of 8 float64 for each.
        barrier: of all ranks.
        rank: the number of this one.
    """

    def __init__(self, memory: SharedMemory, barrier: Barrier, rank: int) -> None:
        self.vectors = np.ndarray((barrier.parties, 8), np.float64, memory.buf)
        self.barrier = barrier
        self.rank = rank

    def mean(self, vector: np.ndarray) -> np.ndarray:
        self.vectors[self.rank] = vector
        self.barrier.wait()  # every rank has written
        mean = np.asarray(self.vectors.mean(axis=0))
        self.barrier.wait()  # every rank has read
        return mean


def wait_for_actors(server: Server, count: int) -> None:
    """Wait until the actors have attached: a late one would find a rank that has finished."""
    deadline = time.monotonic() + 60
    while len(server.producers()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(server.producers())} of {count} actors came within 60 s")
        time.sleep(0.01)


def learn(
    name: str, rank: int, own_actors: int, steps: int, memory: str, barrier: Any, report: Connection
) -> None:
    """Train on this rank's batches, in a learner process."""
    shared = SharedMemory(memory)
    reduce = AllReduce(shared, barrier, rank)
    weights = np.zeros(8)
    actors: set[int] = set()
    with Server(EXAMPLE, BATCH, ShmTransport(f"{name}-{rank}")) as server:
        wait_for_actors(server, own_actors)
        # Every rank takes the same number of steps: a rank that stopped early would leave the
        # others waiting in the average.
        for _ in range(steps):
            sample = server.sample()
            assert sample is not None
            x, y = sample.batch["x"], sample.batch["y"]
            gradient = 2 * x.T @ (x @ weights - y) / len(y)
            weights -= 0.1 * reduce.mean(gradient)
            actors.update(sample.batch["actor"].tolist())
    report.send((rank, sorted(actors), weights))
    del reduce.vectors  # a view of `shared`, which can be closed without it only
    shared.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    if args.actors < args.ranks:
        parser.error(f"--actors must be at least --ranks ({args.ranks}): each rank needs one")

    name = f"data-parallel-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    # A rank that died would leave the others waiting: after two minutes they fail, too.
    barrier = context.Barrier(args.ranks, timeout=120)
    reports, report = context.Pipe(duplex=False)
    memory = SharedMemory(create=True, size=args.ranks * 8 * 8)
    try:
        learners = [
            context.Process(
                target=learn,
                args=(
                    name,
                    rank,
                    len(range(rank, args.actors, args.ranks)),
                    args.steps,
                    memory.name,
                    barrier,
                    report,
                ),
            )
            for rank in range(args.ranks)
        ]
        actors = [
            context.Process(target=act, args=(name, actor, args.ranks), daemon=True)
            for actor in range(args.actors)
        ]
        for process in (*learners, *actors):
            process.start()
        report.close()  # the learners have their own: without them, recv() raises EOFError
        found = sorted((reports.recv() for _ in learners), key=lambda found: int(found[0]))
        for process in (*learners, *actors):
            process.join()
    finally:
        memory.close()
        memory.unlink()
    for rank, numbers, weights in found:
        error = np.abs(weights - TRUE_WEIGHTS).max()
        print(f"rank {rank}: {args.steps} batches of actors {numbers}, largest error {error:.3f}")
    same = all((weights == found[0][2]).all() for _, _, weights in found)
    print("the weights of all ranks are", "the same" if same else "DIFFERENT")


if __name__ == "__main__":
    main()
