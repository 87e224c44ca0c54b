"""A data loader: worker processes decode image files straight into the batches of the trainer.

Each worker decodes images into the shared memory of the batch, every image once an epoch, in the
order of a shuffle that depends on the seed only. The last batch of an epoch is as short as the
number of files makes it.

    python examples/data_loader.py                       # makes 500 small PNG files first
    python examples/data_loader.py --folder photos/ --size 224 --workers 4 --epochs 3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shm_echo import DataLoader

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


class Images:
    """Image files, each resized to a square."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files = files
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with Image.open(self.files[index]) as image:
            resized = image.convert("RGB").resize((self.size, self.size))
        return {"image": resized, "file": index}


def make_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(folder / f"{number:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
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
        train(Images(files, args.size), args)


def train(images: Images, args: argparse.Namespace) -> None:
    loader = DataLoader(images, args.batch, shuffle=True, num_workers=args.workers, seed=0)
    with loader:
        for epoch in range(1, args.epochs + 1):
            seen = np.zeros(len(images), np.int64)
            sizes, began = [], time.perf_counter()
            for batch in loader:
                sizes.append(len(batch["file"]))
                seen[batch["file"]] += 1
                _ = batch["image"].mean()  # your training step
            seconds = time.perf_counter() - began
            assert (seen == 1).all(), "every image comes once"
            print(
                f"epoch {epoch}: {len(images)} images once each, in {len(sizes)} batches "
                f"(the last has {sizes[-1]}), {len(images) / seconds:,.0f} images/s"
            )
        print(f"the loop waited for {loader.stats().wait_share:.0%} of its time")


if __name__ == "__main__":
    main()
