"""A small network in JAX that learns to tell shapes apart, from images that workers draw.

Four shapes of changing size lie at changing places, under noise. Workers draw them while JAX
trains; the batches are arrays of JAX in the memory that the workers wrote. The images depend on
seed, epoch and index only: a run with other `--workers` ends with the same accuracy.

    python examples/train_jax.py --workers 2 --epochs 4
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shm_echo.jax import DataLoader
from shm_echo.loader import item_rng

SHAPES = ("disc", "square", "cross", "ring")
SIZE = 24  # pixels
Parameters = list[tuple[jax.Array, jax.Array]]


class Shapes:
    """Images of shapes, drawn when they are asked for. It needs no JAX."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = item_rng()  # the same for this item with any number of workers
        label = index % len(SHAPES)
        radius = rng.uniform(5, 8)
        row, column = rng.uniform(radius, SIZE - radius, 2)
        y, x = np.ogrid[:SIZE, :SIZE]
        dy, dx = np.abs(y - row), np.abs(x - column)
        distance = np.hypot(dy, dx)
        shape = (
            distance < radius,
            np.maximum(dy, dx) < 0.8 * radius,
            (np.minimum(dy, dx) < 1.5) & (np.maximum(dy, dx) < radius),
            np.abs(distance - 0.8 * radius) < 1.5,
        )[label]
        noise = rng.normal(0, 40, (SIZE, SIZE))
        return {"image": np.clip(200 * shape + noise, 0, 255).astype(np.uint8), "label": label}


def new_parameters(seed: int) -> Parameters:
    sizes = (SIZE * SIZE, 128, len(SHAPES))
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return [
        (jax.random.normal(key, (rows, columns)) * (2 / rows) ** 0.5, jnp.zeros(columns))
        for key, rows, columns in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def logits(parameters: Parameters, images: jax.Array) -> jax.Array:
    values = images.reshape(len(images), -1).astype(jnp.float32) / 255
    *hidden, (weights, bias) = parameters
    for one, other in hidden:
        values = jax.nn.relu(values @ one + other)
    return values @ weights + bias


def loss(parameters: Parameters, batch: dict[str, jax.Array]) -> jax.Array:
    scores = jax.nn.log_softmax(logits(parameters, batch["image"]))
    return -scores[jnp.arange(len(scores)), batch["label"]].mean()


@jax.jit
def train_step(
    parameters: Parameters, batch: dict[str, jax.Array], rate: float
) -> tuple[Parameters, jax.Array]:
    value, slopes = jax.value_and_grad(loss)(parameters, batch)
    return jax.tree.map(lambda old, slope: old - rate * slope, parameters, slopes), value


@jax.jit
def hits(parameters: Parameters, batch: dict[str, jax.Array]) -> jax.Array:
    return (logits(parameters, batch["image"]).argmax(axis=1) == batch["label"]).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=8192, help="in an epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    parameters = new_parameters(seed=0)
    training = DataLoader(Shapes(args.images), 128, True, num_workers=args.workers, seed=1)
    testing = DataLoader(Shapes(1024), 256, num_workers=args.workers, seed=2)
    with training, testing:
        for epoch in range(1, args.epochs + 1):
            losses = []
            for batch in training:
                parameters, value = train_step(parameters, batch, 0.4)
                losses.append(value)
            right = sum(int(hits(parameters, batch)) for batch in testing)
            mean = float(jnp.stack(losses).mean())
            print(f"epoch {epoch}: loss {mean:.3f}, {right / 1024:.1%} of new shapes right")
        stats = training.stats()
    print(
        f"{stats.items} images trained on; the loop waited for {stats.wait_share:.0%} of its time"
    )


if __name__ == "__main__":
    main()
