"""Trains a small convolutional network on images that it draws itself, with random augmentation.

The training program is an ordinary one of PyTorch, whose `DataLoader` comes from `shm_echo.torch`.
Its losses do not depend on the number of workers, although the augmentation is random. It stores
model, optimizer and the position of the loader every few batches: after a crash of the whole job,
the same command goes on in the middle of the epoch, and comes to the same losses.

    python examples/train_torch.py
    python examples/train_torch.py --workers 3                 # the same losses
    python examples/train_torch.py --checkpoint run.pt --kill-at 20; \
    python examples/train_torch.py --checkpoint run.pt         # goes on at batch 20
    python examples/train_torch.py --processes 2               # data parallel, by gloo
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import socket
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Dataset, DistributedSampler

from shm_echo.torch import DataLoader

SIZE = 24
CLASSES = 4


class Shapes(Dataset):
    """Images of stripes in four directions, at random places and in noise.

    Args:
        length: the number of images.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        label = index % CLASSES
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        angle = math.pi * label / CLASSES
        position = rows * math.sin(angle) + columns * math.cos(angle)
        # The augmentation: a random shift of the stripes, and noise. It draws from torch's global
        # generator, which the loader sets for each image.
        shift = torch.rand(()) * 2 * math.pi
        image = torch.sin(position + shift) + 0.3 * torch.randn(SIZE, SIZE)
        return image.unsqueeze(0), label


def make_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


class Checkpoint:
    """A file with all that a run needs to go on.

    Args:
        path: the file; None for none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self, **parts: Any) -> int:
        """Restore the parts, if there is a file; return the number of batches trained so far."""
        if self._path is None or not self._path.exists():
            return 0
        saved = torch.load(self._path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        print(f"goes on behind batch {saved['step']}", flush=True)
        return int(saved["step"])

    def save(self, step: int, **parts: Any) -> None:
        """Store the parts. A crash meanwhile leaves the file of before."""
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        torch.save({"step": step, **{name: p.state_dict() for name, p in parts.items()}}, new)
        os.replace(new, self._path)


def train(rank: int, options: argparse.Namespace, port: int) -> None:
    """Train, as one of several processes or alone."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    model: nn.Module = make_model()
    dataset, sampler = Shapes(options.images), None
    if options.processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=options.processes
        )
        model = nn.parallel.DistributedDataParallel(model)
        sampler = DistributedSampler(dataset, options.processes, rank, seed=options.seed)
    loader = DataLoader(
        dataset,
        batch_size=options.batch // options.processes,
        shuffle=sampler is None,
        sampler=sampler,
        num_workers=options.workers,
        seed=options.seed * options.processes + rank,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    file = Checkpoint(options.checkpoint)
    step = file.load(model=model, optimizer=optimizer, loader=loader)
    while step < options.epochs * len(loader):
        if sampler is not None:
            sampler.set_epoch(step // len(loader))
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 10 == 0:
                if rank == 0:
                    print(f"batch {step:4d}: loss {loss.item():.6f}", flush=True)
                file.save(step, model=model, optimizer=optimizer, loader=loader)
            if step == options.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel or a scheduler would
    if rank == 0:
        print(f"trained on {step} batches")
    if options.processes > 1:
        dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--batch", type=int, default=32, help="images per batch, of all processes")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="workers of each process")
    parser.add_argument("--processes", type=int, default=1, help="training processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="file to store the run in, and go on from")
    parser.add_argument("--kill-at", type=int, metavar="BATCH", help="crash behind this batch")
    options = parser.parse_args()
    if options.checkpoint is not None and options.processes > 1:
        parser.error("this example stores runs of one process only")
    if options.processes == 1:
        train(0, options, 0)
        return
    port = free_port()
    torch.multiprocessing.spawn(train, (options, port), nprocs=options.processes)


if __name__ == "__main__":
    main()
