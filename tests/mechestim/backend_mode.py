"""Helpers of tests that hold in local and in client mode, for the differences between the modes."""

from __future__ import annotations

from typing import Any

import numpy as np

import mechestim as me

LOCAL = me.backend == "local"


def plain(value: Any) -> Any:
    """Return the contents of an array as a NumPy array, without a charge."""
    return np.ndarray.__array__(value) if isinstance(value, np.ndarray) else np.asarray(value)


def same_class(one: type, other: type) -> bool:
    """Return True if errors of these classes are the same to a user.

    A client without NumPy has classes of its own with the names of NumPy's.
    """
    if LOCAL or one.__module__ == other.__module__:
        return one is other
    return one.__name__.lstrip("_") == other.__name__.lstrip("_")


def is_writable(value: Any) -> bool:
    """Return True if it is an array in memory; the 0-d results of a client are plain values."""
    if LOCAL:
        return isinstance(value, np.ndarray)
    return isinstance(value, (np.ndarray, me.ndarray)) and type(value).__name__ != "RemoteScalar"
