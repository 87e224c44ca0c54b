"""The tensors in a batch of any structure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch

__all__ = ["map_tensors"]


def map_tensors(function: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Return a batch with each tensor replaced by what a function returns for it.

    Mappings, lists, tuples and named tuples keep their class. Other objects stay as they are.

    Example:
        >>> map_tensors(lambda tensor: tensor + 1, [torch.zeros(1), {"n": torch.ones(1), "s": "a"}])
        [tensor([1.]), {'n': tensor([2.]), 's': 'a'}]
    """
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        pairs = {key: map_tensors(function, inner) for key, inner in value.items()}
        if type(value) is not dict and isinstance(value, MutableMapping):
            clone = copy.copy(value)
            clone.update(pairs)
            return clone
        return pairs
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, inner) for inner in value))
    if type(value) in (list, tuple):
        return type(value)(map_tensors(function, inner) for inner in value)
    return value
