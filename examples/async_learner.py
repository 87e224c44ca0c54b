"""A learner on asyncio that answers status requests while it waits for batches.

One task takes batches and trains, another one serves a line of text to everybody who connects. A
third one here asks for it, as `nc localhost PORT` would.

    python examples/async_learner.py --batches 200
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport

EXAMPLE = {"x": np.zeros(8, np.float32), "y": np.float32(0)}
TRUE_WEIGHTS = np.linspace(-1, 1, 8, dtype=np.float32)


def act(name: str, seed: int) -> None:
    """Send noisy samples of a linear function until the learner closes, in an actor process."""
    rng = np.random.default_rng(seed)
    with ShmClient(name, EXAMPLE, connect_timeout=60) as client:
        try:
            while True:
                x = rng.standard_normal(8).astype(np.float32)
                client.send({"x": x, "y": float(x @ TRUE_WEIGHTS + 0.1 * rng.standard_normal())})
        except ConnectionClosedError:
            pass  # the learner has finished


class Learner:
    """Fits weights to the batches of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.weights = np.zeros(8, np.float32)
        self.batches = 0

    async def train(self, batches: int) -> None:
        """Take one gradient step for each batch."""
        async for sample in self.server.dataset_iter_async():
            x, y = sample.batch["x"], sample.batch["y"]
            # Your step. If it takes long, run it in a thread: await asyncio.to_thread(step, x, y)
            self.weights -= 0.1 * (2 / len(y)) * x.T @ (x @ self.weights - y)
            self.batches += 1
            if self.batches == batches:
                break
            await asyncio.sleep(0)  # a turn for the other tasks, even if a batch is there already

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write one line of status to a connection."""
        info = self.server.info()
        line = f"{self.batches} batches, {info.active_connections} actors, {info.lent} held\n"
        writer.write(line.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def ask(port: int) -> str:
    """Return the status line of a learner."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line.decode().strip()


async def learn(name: str, actors: int, batches: int) -> None:
    with Server(EXAMPLE, 64, ShmTransport(name)) as server:
        learner = Learner(server)
        status = await asyncio.start_server(learner.answer, "127.0.0.1", 0)
        async with status:
            port = status.sockets[0].getsockname()[1]
            print("status before:", await ask(port))
            # Wait for all: a late actor would find a learner that has finished.
            while len(server.producers()) < actors:
                await asyncio.sleep(0.01)
            training = asyncio.create_task(learner.train(batches))
            print("status meanwhile:", await ask(port))
            await training
            print("status at the end:", await ask(port))
    error = np.abs(learner.weights - TRUE_WEIGHTS).max()
    print(f"{learner.batches} batches, largest error of a weight: {error:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--batches", type=int, default=200)
    args = parser.parse_args()

    name = f"async-learner-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    actors = [
        context.Process(target=act, args=(name, seed), daemon=True) for seed in range(args.actors)
    ]
    for actor in actors:
        actor.start()
    asyncio.run(learn(name, args.actors, args.batches))
    for actor in actors:
        actor.join()


if __name__ == "__main__":
    main()
