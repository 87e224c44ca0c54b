"""Functions whose arguments are checked or changed before NumPy gets them."""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim.local.dispatch import call, free
from shm_echo.mechestim.registry import OPS


def bmat(obj: Any, ldict: Any = None, gdict: Any = None) -> Any:
    """Return `numpy.bmat` of nested lists of arrays.

    Raises:
        TypeError: `obj` is text. NumPy looks the names in it up among the variables of its caller,
            which is this module and not the user's program.
    """
    if isinstance(obj, (str, bytes)):
        raise TypeError("bmat takes nested lists of arrays here, not text with names of variables")
    return free(np.bmat, (obj, ldict, gdict), {})


def in1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False, **kwargs: Any
) -> Any:
    """Return `isin` of the flattened `ar1`: `numpy.in1d`, which NumPy 2.4 no longer has."""
    options = {"assume_unique": assume_unique, "invert": invert, **kwargs}
    return call(OPS["in1d"], np.isin, (np.ravel(ar1), ar2), options)
