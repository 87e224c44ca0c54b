"""Actors in their own processes, a learner that trains while they run, and published policies.

Each actor plays a bandit with the newest policy that the learner has published, and sends its
observations. Copy this file and put your environment where `pull` is and your update where `update`
is.

    python examples/rl_actors.py --actors 2 --steps 300
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport

ARMS = 10
PAYOUT = np.linspace(0.0, 1.0, ARMS)
POLICY = {"logits": np.zeros(ARMS, np.float64)}
TRANSITION = {"arm": np.int64(0), "reward": np.float64(0), "version": np.int64(0)}


def pull(arm: int, rng: np.random.Generator) -> float:
    """Return the reward of the environment: `PAYOUT[arm]` with noise."""
    return float(PAYOUT[arm] + 0.1 * rng.standard_normal())


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


def act(name: str, seed: int) -> None:
    """Play until the learner closes the ring, in an actor process."""
    rng = np.random.default_rng(seed)
    with ShmClient(name, TRANSITION, connect_timeout=10) as client:
        try:
            client.wait_for(1)  # the first policy
            while True:
                latest = client.latest()  # costs one atomic load until the next version
                assert latest is not None
                version, policy = latest
                arm = int(rng.choice(ARMS, p=softmax(policy["logits"])))
                client.send({"arm": arm, "reward": pull(arm, rng), "version": version})
        except ConnectionClosedError:
            pass  # the learner has finished


def update(logits: np.ndarray, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Take one step of REINFORCE with the batch mean as baseline."""
    advantage = batch["reward"] - batch["reward"].mean()
    gradient = np.zeros(ARMS)
    np.add.at(gradient, batch["arm"], advantage)
    gradient -= advantage.sum() * softmax(logits)
    return logits + 2.0 * gradient / len(advantage)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()

    name = f"rl-actors-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    with Server(TRANSITION, 64, ShmTransport(name), publishes=POLICY) as server:
        actors = [
            context.Process(target=act, args=(name, seed), daemon=True)
            for seed in range(args.actors)
        ]
        for actor in actors:
            actor.start()
        # Wait for all: otherwise quick actors may produce every sample before a slow one starts.
        while len(server.producers()) < args.actors and all(a.is_alive() for a in actors):
            time.sleep(0.01)
        logits = POLICY["logits"]
        server.publish({"logits": logits})
        for step, sample in enumerate(server.dataset_iter(), start=1):
            logits = update(logits, sample.batch)
            version = server.publish({"logits": logits})
            if step % 100 == 0:
                age = version - sample.batch["version"].mean()
                print(
                    f"step {step}: mean reward {sample.batch['reward'].mean():.3f}, "
                    f"policies {age:.1f} versions old, {sample.info.store_size} samples waiting, "
                    f"{sample.info.active_connections} actors"
                )
            if step == args.steps:
                break
        for producer in server.producers():
            print(f"actor {producer.pid}: {producer.samples} samples")
    for actor in actors:
        actor.join()
    print(f"best arm {int(logits.argmax())} of {ARMS - 1}, p = {softmax(logits).max():.2f}")


if __name__ == "__main__":
    main()
