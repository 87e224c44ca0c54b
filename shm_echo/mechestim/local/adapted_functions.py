"""Functions whose arguments need a look before NumPy gets them."""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.mechestim.local.dispatch import call, free
from shm_echo.mechestim.registry import OPS


def bmat(obj: Any, ldict: Any = None, gdict: Any = None) -> Any:
    """`numpy.bmat` of nested lists of arrays.

    Raises:
        TypeError: `obj` is text: NumPy would look its names up among the variables of whoever
            calls it, which is not the program here.
    """
    if isinstance(obj, (str, bytes)):
        raise TypeError("bmat takes nested lists of arrays here, not text with names of variables")
    return free(np.bmat, (obj, ldict, gdict), {})


def in1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False, **kwargs: Any
) -> Any:
    """`numpy.in1d`, which later versions of NumPy leave to `isin`: the answer is 1-D."""
    options = {"assume_unique": assume_unique, "invert": invert, **kwargs}
    return call(OPS["in1d"], np.isin, (np.ravel(ar1), ar2), options)
