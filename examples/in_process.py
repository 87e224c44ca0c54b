"""One process, no transport: threads submit samples, the main thread trains on full batches.

Run it:

    python examples/in_process.py
"""

from __future__ import annotations

import threading

import numpy as np

from shm_echo import ConnectionClosedError, Server

EXAMPLE = {"x": np.zeros(8, np.float32), "y": np.float32(0)}
TRUE_WEIGHTS = np.linspace(-1, 1, 8, dtype=np.float32)


def simulate(server: Server, seed: int) -> None:
    """Submit noisy samples of a linear function until the server closes."""
    rng = np.random.default_rng(seed)
    try:
        while True:
            x = rng.standard_normal(8).astype(np.float32)
            server.submit({"x": x, "y": float(x @ TRUE_WEIGHTS + 0.1 * rng.standard_normal())})
    except ConnectionClosedError:
        pass  # the learner has finished


def main() -> None:
    weights = np.zeros(8, np.float32)
    with Server(EXAMPLE, batch_size=64) as server:
        threads = [threading.Thread(target=simulate, args=(server, seed)) for seed in range(2)]
        for thread in threads:
            thread.start()
        for step, sample in enumerate(server.dataset_iter(), start=1):
            x, y = sample.batch["x"], sample.batch["y"]  # views of the ring: (64, 8) and (64,)
            error = x @ weights - y
            weights -= 0.1 * (error @ x) / len(y)
            if step % 50 == 0:
                print(f"step {step:3d}  mean squared error {np.mean(error**2):.4f}")
            if step == 200:
                break
    for thread in threads:
        thread.join()
    print(f"largest error of a weight: {np.abs(weights - TRUE_WEIGHTS).max():.3f}")


if __name__ == "__main__":
    main()
