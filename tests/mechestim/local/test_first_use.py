"""A process counts from its first array on, wherever that array comes from."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import mechestim as me

pytestmark = pytest.mark.local_only("numpy arrays")

ROOT = Path(__file__).resolve().parents[3]

LOAD = """
import pickle, sys
import mechestim as me
with me.BudgetContext(1000, quiet=True) as books:
    first = pickle.loads(bytes.fromhex(sys.argv[1]))
    {expression}
print(books.flops_used)
"""
DECLARE = """
import mechestim as me
with me.BudgetContext(1000, quiet=True) as books:
    me.as_symmetric([[2.0, 1.0], [1.0, 3.0]], (0, 1)) * 2.0
print(books.flops_used)
"""


def charged_in_a_new_process(program: str, *arguments: str) -> int:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("make", "expression", "flops"),
    [
        (lambda: me.array([1.0, 2.0, 4.0]), "first + first", 3),
        (lambda: me.sum(me.array([1.0, 2.0])), "first * 2.0", 1),
        (lambda: me.as_symmetric([[2.0, 1.0], [1.0, 3.0]], (0, 1)), "first * 2.0", 3),
        (lambda: me.random.default_rng(7), "first.normal(size=3) + 1.0", 6),
        (lambda: me.random.RandomState(7), "first.normal(size=3) + 1.0", 6),
        (lambda: me.vectorize(abs), "first([1.0, -2.0]) + 1.0", 2),
    ],
    ids=["array", "scalar", "symmetric", "Generator", "RandomState", "vectorize"],
)
def test_a_process_that_begins_by_loading_a_pickle_counts(
    make: object, expression: str, flops: int, protocol: int
) -> None:
    data = pickle.dumps(make(), protocol)  # type: ignore[operator]
    assert charged_in_a_new_process(LOAD.format(expression=expression), data.hex()) == flops


def test_a_process_that_begins_by_declaring_a_symmetry_counts() -> None:
    assert charged_in_a_new_process(DECLARE) == 3
