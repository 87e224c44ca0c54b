"""Prices of window functions of `n` points: operations per point times `n`."""

from __future__ import annotations

import math
from typing import Any


def points(M: Any) -> int:
    """Return the number of points of a window of size `M`; NumPy takes fractions too."""
    size = float(M)
    if not math.isfinite(size):
        raise ValueError("the size of a window must be finite")
    return max(1, math.ceil(size - 0.5)) if size >= 1 else 0


def cosine(M: Any) -> int:
    """n for n points: bartlett, hamming and hanning.

    Source: the operation table of mechestim.
    """
    return points(M)


def blackman(M: Any) -> int:
    """3*n for n points.

    Source: the operation table of mechestim.
    """
    return 3 * points(M)


def kaiser(M: Any, beta: Any) -> int:
    """3*n for n points.

    Source: the operation table of mechestim.
    """
    return 3 * points(M)
