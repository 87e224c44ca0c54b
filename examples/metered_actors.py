"""Actors that stream results through the ring while their compute is metered, at one address.

Each actor estimates pi by throwing darts. The learner's process computes and counts for it, under
one budget for all actors; results go through shared memory. The stream ends when the budget is
spent.

    python examples/metered_actors.py --actors 2 --flop-budget 2000000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile

import numpy as np

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService

DARTS = 1000
RESULT = {"actor": np.int64(0), "hits": np.int64(0)}


def act(url: str, actor: int) -> None:
    """Throw darts until the budget of all actors is spent, in an actor process."""
    os.environ["MECHESTIM_SERVER_URL"] = (
        url  # before the import of mechestim: compute in the server
    )
    import mechestim as me

    me.random.seed(actor)
    with ShmClient(url, RESULT, connect_timeout=10) as ring:
        try:
            while True:
                x, y = me.random.uniform(size=(2, DARTS))
                hits = int((x * x + y * y < 1.0).sum())
                ring.send({"actor": actor, "hits": hits})
        except me.BudgetExhaustedError:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--flop-budget", type=int, default=2_000_000)
    args = parser.parse_args()

    # The learner's own program and its actors' server share one socket.
    with tempfile.TemporaryDirectory() as folder:
        url = f"ipc://{folder}/metered.sock"
        metering = MechEstimService(Quotas(max_flops=args.flop_budget))
        transport = ShmTransport(url, services={"mechestim": metering})
        with Server(RESULT, batch_size=16, transport=transport) as server:
            context = multiprocessing.get_context("spawn")
            actors = [context.Process(target=act, args=(url, i)) for i in range(args.actors)]
            for actor in actors:
                actor.start()
            rounds = hits = 0
            for sample in server.dataset_iter(until="producers_closed"):
                rounds += len(sample.batch["hits"])
                hits += int(sample.batch["hits"].sum())
            for actor in actors:
                actor.join()
        metering.close()

    print(f"pi is about {4 * hits / (rounds * DARTS):.3f} after {rounds} rounds")
    for who in metering.principals():
        print(f"{who.ceiling.spent:,} of {args.flop_budget:,} FLOPs spent")
        for name, (flops, calls) in who.tallies().items():
            print(f"  {name:<16} {flops:>12,} in {calls} calls")


if __name__ == "__main__":
    main()
