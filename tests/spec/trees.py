"""The trees of the tests of specs."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest

from shm_echo.errors import SpecMismatchError
from shm_echo.spec import TreeSpec

F4 = np.float32


class Point(NamedTuple):
    x: Any
    y: Any


# Another class of the same name and fields, as a spawned process has it.
OtherPoint = namedtuple("Point", ["x", "y"])  # type: ignore[misc]
Pair = namedtuple("Pair", ["x", "y"])


class Box:
    """A custom node, registered by the fixture `box`."""

    def __init__(self, low: Any, high: Any, tag: Any = "closed") -> None:
        self.low, self.high, self.tag = low, high, tag


def array(*shape: int, dtype: Any = F4) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def refusal(tree: Any, example: Any, **options: Any) -> SpecMismatchError:
    with pytest.raises(SpecMismatchError) as caught:
        TreeSpec.from_example(example).check(tree, **options)
    return caught.value
