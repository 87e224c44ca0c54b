"""The loader's own samplers: which item stands at each position of an epoch.

A sampler maps an array of positions to an array of items, and depends on its arguments only. So an
epoch can begin anywhere, at no cost, and the next one is known before it is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shm_echo.loader.mixing import Words, mix_words, stream_key, stream_words

__all__ = ["Indices", "PositionMap", "Weights", "sequential", "shuffled"]

Indices: TypeAlias = npt.NDArray[np.int64]
PositionMap: TypeAlias = Callable[[Indices], Indices]

# What a stream of random numbers is for: streams of one seed and epoch differ by it.
_SHUFFLE, _WEIGHTED = 1, 2

# Up to this length a shuffle sorts random keys, which makes all orders equally likely. Longer
# ones use a network of rounds, whose small halves would be too small for short lengths.
_SORTED_LENGTH = 2**14
_ROUNDS = 8


def sequential(positions: Indices) -> Indices:
    """Return the positions: item i stands at position i."""
    return positions


def shuffled(length: int, seed: int, epoch: int) -> PositionMap:
    """Return a pseudo-random permutation of `range(length)`, for one epoch.

    Up to 16,384 items it is the order of random keys, 8 bytes an item. Above that it is a keyed
    permutation that stores nothing: a Feistel network of 8 rounds over the smallest number of bits
    that holds the length. A result outside the range goes through the network again until it is
    inside (cycle walking), which keeps the map one to one.

    Args:
        length: number of items.
        seed: base seed.
        epoch: epoch.

    Example:
        >>> import numpy as np
        >>> sorted(int(i) for i in shuffled(5, seed=0, epoch=3)(np.arange(5)))
        [0, 1, 2, 3, 4]
    """
    key = stream_key(seed, epoch, _SHUFFLE)
    if length <= _SORTED_LENGTH:
        # The keys are all different, because `mix` is one to one: no ties.
        order = np.argsort(stream_words(key, np.arange(length)))
        return order.astype(np.int64, copy=False).__getitem__
    return _Network(length, key)


class _Network:
    """A keyed permutation of `range(length)`."""

    def __init__(self, length: int, key: int) -> None:
        self._length = np.uint64(length)
        bits = (length - 1).bit_length()
        self._low_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64(2 ** (bits // 2) - 1)
        self._high_mask = np.uint64(2 ** (bits - bits // 2) - 1)
        self._round_keys = stream_words(key, np.arange(_ROUNDS))

    def __call__(self, positions: Indices) -> Indices:
        words = self._permute(positions.astype(np.uint64))
        outside = np.flatnonzero(words >= self._length)
        while len(outside):
            again = self._permute(words[outside])
            words[outside] = again
            outside = outside[again >= self._length]
        indices: Indices = words.view(np.int64)
        return indices

    def _permute(self, words: Words) -> Words:
        high, low = words >> self._low_bits, words & self._low_mask
        for number, key in enumerate(self._round_keys):
            if number % 2:
                low ^= mix_words(high + key) & self._low_mask
            else:
                high ^= mix_words(low + key) & self._high_mask
        joined: Words = high << self._low_bits
        joined |= low
        return joined


class Weights:
    """The weights of items for draws with replacement.

    Args:
        weights: one number >= 0 per item, not all 0; they need not add up to 1.
        length: number of items.

    Raises:
        TypeError: they are not numbers.
        ValueError: another number of weights, or a weight is negative, infinite or NaN, or all are
            0.
    """

    def __init__(self, weights: Any, length: int) -> None:
        given = np.asarray(weights)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"weights must be numbers, not {given.dtype}")
        if given.ndim != 1 or len(given) != length:
            raise ValueError(
                f"weights must have one number for each of the {length:,} items, not the shape "
                f"{given.shape}"
            )
        numbers = given.astype(np.float64)
        bad = np.flatnonzero(~(numbers >= 0) | np.isinf(numbers))
        if len(bad):
            raise ValueError(
                f"weights must be finite and at least 0, and the one of item {bad[0]} is "
                f"{given[bad[0]]}"
            )
        if not numbers.any():
            raise ValueError("weights are 0 for every item: none could be drawn")
        self._last = int(np.flatnonzero(numbers)[-1])
        numbers /= numbers.max()  # so that no sum overflows
        # The sums are kept, 8 bytes an item.
        self._sums = np.cumsum(numbers, out=numbers)

    @property
    def length(self) -> int:
        """Number of items."""
        return len(self._sums)

    def draws(self, seed: int, epoch: int) -> PositionMap:
        """Return the draws of one epoch: the item drawn at each position, with replacement."""
        key = stream_key(seed, epoch, _WEIGHTED)

        def at(positions: Indices) -> Indices:
            # 53 random bits, as NumPy makes a double of [0, 1).
            places = (stream_words(key, positions) >> np.uint64(11)) * 2.0**-53
            places *= self._sums[-1]
            # Sorted places read the sums in order, which takes half the time.
            order = np.argsort(places)
            drawn = np.empty(len(places), np.int64)
            drawn[order] = np.searchsorted(self._sums, places[order], side="right")
            # A product that rounds up to the sum of all would be found beyond the end.
            return np.minimum(drawn, self._last, out=drawn)

        return at

    def digest(self) -> int:
        """Return 32 bits that differ for other weights, nearly always."""
        return zlib.crc32(self._sums.data)
