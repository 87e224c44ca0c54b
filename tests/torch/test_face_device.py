"""Copies to a device, without one: the calls to CUDA are played by a double."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shm_echo.torch import DataLoader, worker_iterator
from shm_echo.torch.device import DeviceCopies
from shm_echo.torch.tensors import map_tensors
from tests.support import torch_datasets as datasets


class Event:
    def __init__(self) -> None:
        self.passed = False

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        assert self.passed, "the test waits for a copy that nobody runs"


class FakeCuda:
    """Copies nothing until `run` is called, as a stream that is behind."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Any, Event]] = []
        self.registered: list[Any] = []

    def register(self, ring: Any) -> None:
        self.registered.append(ring)

    def copy(self, batch: Any) -> tuple[Any, Event]:
        copied, event = map_tensors(torch.zeros_like, batch), Event()
        self.waiting.append((batch, copied, event))
        return copied, event

    def run(self) -> None:
        for source, target, event in self.waiting:
            for a, b in zip(source, target, strict=True):
                b.copy_(a)
            event.passed = True
        self.waiting.clear()


def test_a_batch_is_held_until_its_copy_has_ended() -> None:
    cuda = FakeCuda()
    copies = DeviceCopies(torch.device("cuda"), cuda)
    copies.copy([torch.ones(2)])
    copies.copy([torch.ones(2)])
    assert copies.held == 2
    cuda.run()
    copies.copy([torch.ones(2)])
    assert copies.held == 1


def test_workers_do_not_write_under_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(worker_iterator, "DeviceCopies", lambda device: DeviceCopies(device, cuda))
    loader = DataLoader(datasets.Tensors(60), 2, num_workers=1, device="cuda")
    found = []
    for number, (x, i) in enumerate(loader):
        found.append((x, i))
        if number % 7 == 6 or number == 29:
            cuda.run()
    assert [i.tolist() for _, i in found] == [[n, n + 1] for n in range(0, 60, 2)]
    assert [x[1, 2].item() for x, _ in found] == list(range(1, 60, 2))
    assert len(cuda.registered) == 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_device_without_cuda_is_named(num_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loader = DataLoader(datasets.Tensors(4), 2, num_workers=num_workers, device="cuda:0")
    with pytest.raises(RuntimeError, match="device='cuda:0' needs CUDA.*leave out device="):
        next(iter(loader))
