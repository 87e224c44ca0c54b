"""The two loaders that a case runs with.

A case holds for torch's own loader as well: where it does not, it belongs into the table of
differences in docs/how-to/from-torch.md, and into a test of ours alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

# The others import torch.
collect_ignore_glob = [] if find_spec("torch") else ["test_same_*.py", "test_face_*.py"]

LOADERS = {"torch": "torch.utils.data", "ours": "shm_echo.torch"}


@pytest.fixture(params=LOADERS)
def loader_of(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return the class of a loader: torch's, or ours."""
    yield import_module(LOADERS[request.param]).DataLoader
    gc.collect()
