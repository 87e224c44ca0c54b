"""Pseudo-random 64-bit numbers at any position: the finalizer of SplitMix64.

`mix` permutes the 64-bit numbers. Number i of the stream of a key is `mix(key + (i + 1) * GAMMA)`
modulo 2**64, as SplitMix64 draws it, so any position costs the same and none depends on another.
The results are fixed by this file: no version of NumPy changes them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Words", "mix", "stream", "stream_key", "stream_words"]

Words: TypeAlias = npt.NDArray[np.uint64]

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def mix(word: int) -> int:
    """Return the image of a 64-bit number under the permutation."""
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)


def stream_key(*parts: int) -> int:
    """Return the key of the stream that belongs to some numbers of 64 bits.

    Example:
        >>> stream_key(0, 1) == stream_key(1, 0)
        False
    """
    key = 0
    for part in parts:
        key = mix((key + _GAMMA + mix(part & _MASK)) & _MASK)
    return key


def stream(key: int, position: int) -> int:
    """Return the number of a stream at a position."""
    return mix((key + (position + 1) * _GAMMA) & _MASK)


def stream_words(key: int, positions: npt.NDArray[Any]) -> Words:
    """Return the numbers of a stream at many positions."""
    words = positions.astype(np.uint64)
    words += np.uint64(1)
    words *= np.uint64(_GAMMA)
    words += np.uint64(key)
    return mix_words(words)


def mix_words(words: Words) -> Words:
    """Apply `mix` to an array, in place, and return it."""
    shifted = words >> np.uint64(30)
    words ^= shifted
    words *= np.uint64(_FIRST)
    np.right_shift(words, np.uint64(27), out=shifted)
    words ^= shifted
    words *= np.uint64(_SECOND)
    np.right_shift(words, np.uint64(31), out=shifted)
    words ^= shifted
    return words
