"""The runner of torch's own tests, on a small file of their form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TESTS = """
import unittest

import torch
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor(index * index)


class TestDataLoader(unittest.TestCase):
    persistent_workers = False

    def _get_data_loader(self, dataset, **options):
        persistent = options.get("num_workers", 0) > 0 and self.persistent_workers
        return DataLoader(dataset, persistent_workers=persistent, **options)

    def test_sequential(self):
        loader = self._get_data_loader(Squares(), batch_size=3, num_workers=2)
        self.assertEqual([b.tolist() for b in loader], [[0, 1, 4], [9, 16, 25]])

    def test_is_ours(self):
        self.assertEqual(DataLoader.__module__, "shm_echo.torch.data_loader")

    def test_spawned(self):
        loader = DataLoader(Squares(), num_workers=1, multiprocessing_context="spawn")
        self.assertEqual(sum(b.item() for b in loader), 55)

    def test_proper_exit(self):
        self.fail("this one is excluded")


class TestDataLoaderPersistentWorkers(TestDataLoader):
    persistent_workers = True


class TestIndividualWorkerQueue(unittest.TestCase):
    def test_queues(self):
        self.fail("this one is excluded")


class TestBroken(unittest.TestCase):
    def test_broken(self):
        self.assertEqual(len(DataLoader(Squares())), FAILS)
"""


def run(tmp_path: Path, expected: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "test_like_torch.py"
    file.write_text(_TESTS.replace("FAILS", str(expected)))
    return subprocess.run(
        [sys.executable, "-m", "tests.loader.torch_suite", str(file), *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_tests_run_with_our_loader_and_exclusions_are_named(tmp_path: Path) -> None:
    done = run(tmp_path, 6)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 7 tests" in done.stdout
    excluded = [line for line in done.stdout.splitlines() if line.startswith("excluded: ")]
    assert len(excluded) == 3
    assert any("TestIndividualWorkerQueue.test_queues: any worker" in line for line in excluded)


def test_a_test_that_fails_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, 7, "-k", "TestBroken")
    assert done.returncode == 1
    assert "AssertionError: 6 != 7" in done.stdout


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.loader.torch_suite", str(tmp_path / "none.py")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert "is no file" in done.stderr
