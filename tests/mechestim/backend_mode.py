"""What a test that holds in both modes needs to know of the mode that it runs in."""

from __future__ import annotations

from typing import Any

import numpy as np

import mechestim as me

LOCAL = me.backend == "local"


def plain(value: Any) -> Any:
    """The contents of an array as one of NumPy's, with nothing charged."""
    return np.ndarray.__array__(value) if isinstance(value, np.ndarray) else np.asarray(value)


def same_class(one: type, other: type) -> bool:
    """Whether errors of these classes are the same to a user: a client has NumPy's by name."""
    if LOCAL or one.__module__ == other.__module__:
        return one is other
    return one.__name__.lstrip("_") == other.__name__.lstrip("_")


def is_writable(value: Any) -> bool:
    """Whether it is an array with a place in memory; a client's 0-d results are values."""
    if LOCAL:
        return isinstance(value, np.ndarray)
    return isinstance(value, (np.ndarray, me.ndarray)) and type(value).__name__ != "RemoteScalar"
