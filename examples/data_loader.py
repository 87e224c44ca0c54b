"""A data loader: worker processes decode image files straight into the batches of the trainer.

The trainer publishes the number of the epoch; each worker then decodes its share of that epoch's
shuffle, every image once, directly into the shared memory of the batch. The last batch of an epoch
is as short as the number of files makes it.

    python examples/data_loader.py                       # makes 500 small PNG files first
    python examples/data_loader.py --folder photos/ --size 224 --workers 4 --epochs 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from shm_echo import ConnectionClosedError, Sample, Server, ShmClient, ShmTransport

EPOCH = {"epoch": np.int64(0)}
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def example(size: int) -> dict[str, np.ndarray | np.generic]:
    return {"image": np.zeros((size, size, 3), np.uint8), "file": np.int64(0)}


def work(name: str, files: list[Path], size: int, worker: int, workers: int) -> None:
    """Decode this worker's share of each epoch, in a worker process."""
    with ShmClient(name, example(size), connect_timeout=10, publishes=EPOCH) as client:
        epoch = 1
        try:
            while True:
                client.wait_for(epoch)
                order = np.random.default_rng(epoch).permutation(len(files))
                for number in order[worker::workers]:
                    with client.reserve() as slot:  # decoded in place: no copy
                        with Image.open(files[number]) as image:
                            resized = image.convert("RGB").resize((size, size))
                        slot["image"][:] = resized
                        slot["file"][...] = number
                epoch += 1
        except ConnectionClosedError:
            pass  # no more epochs


def epoch_of(server: Server, samples: int) -> Iterator[Sample]:
    """Yield the full batches of an epoch, then one with the remaining images."""
    full, rest = divmod(samples, server.batch_size)
    for _ in range(full):
        sample = server.sample()
        assert sample is not None
        yield sample
    if rest:
        while server.info().store_size < rest:  # the workers stop after exactly this many
            time.sleep(0.0005)
        sample = server.sample(partial=True)
        assert sample is not None
        yield sample


def make_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{number:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="image files; made up if not given")
    parser.add_argument("--images", type=int, default=500, help="how many to make up")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as made:
        if args.folder is None:
            args.folder = Path(made)
            make_images(args.folder, args.images)
        files = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            parser.error(f"no image files in {args.folder}")
        train(files, args)


def train(files: list[Path], args: argparse.Namespace) -> None:
    name = f"data-loader-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    transport = ShmTransport(name)
    with Server(example(args.size), args.batch, transport, publishes=EPOCH) as server:
        workers = [
            context.Process(
                target=work, args=(name, files, args.size, worker, args.workers), daemon=True
            )
            for worker in range(args.workers)
        ]
        for process in workers:
            process.start()
        for epoch in range(1, args.epochs + 1):
            server.publish({"epoch": epoch})
            seen = np.zeros(len(files), np.int64)
            sizes, began = [], time.perf_counter()
            for sample in epoch_of(server, len(files)):
                sizes.append(len(sample.batch["file"]))
                seen[sample.batch["file"]] += 1
                _ = sample.batch["image"].mean()  # your training step
            seconds = time.perf_counter() - began
            assert (seen == 1).all(), "every image comes once"
            print(
                f"epoch {epoch}: {len(files)} images once each, in {len(sizes)} batches "
                f"(the last has {sizes[-1]}), {len(files) / seconds:,.0f} images/s"
            )
    for process in workers:
        process.join()


if __name__ == "__main__":
    main()
