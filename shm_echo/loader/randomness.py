"""Random numbers of items that are the same with any number of workers.

`item_rng` depends on the seed, the epoch and the item's index. The global generators (`random`,
`numpy.random` and torch's) are set anew at the first row of each run of rows, from the seed, the
epoch and the position of that row: runs lie at fixed positions, whichever worker makes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from shm_echo.loader.mixing import stream, stream_key, stream_words
from shm_echo.ring import _core_cpython

__all__ = [
    "SEED_LIMIT",
    "ItemRandomness",
    "RunSeeds",
    "generator_states",
    "item_rng",
    "loaded_torch",
    "new_seed",
    "saved_generators",
    "set_generator_states",
]

# Seeds are below this: one word of a Philox key.
SEED_LIMIT = 2**64
# What a stream of random numbers is for (see `samplers`, which has 1 and 2).
_RUNS = 3
# Third word of the counter: apart from numbers that a dataset draws from a Philox of the same key.
_ITEMS = 0x6974656D  # "item"
_MERSENNE_WORDS = 624  # the state of a generator of `random`
# The initial seed of torch's generator when torch has just been imported.
_TORCH_SEED = 67280421310721


def new_seed() -> int:
    """Return a random base seed, from the operating system."""
    return int.from_bytes(os.urandom(8), "little") >> 1  # NumPy and torch take 63 bits


# ---------------------------------------------------------------- one generator per item


class _Thread(threading.local):
    source: ItemRandomness | None = None


_thread = _Thread()


def item_rng() -> np.random.Generator:
    """Return the random generator of the item that is being made.

    Its numbers depend on the loader's seed, the epoch and the item's index only: they are the same
    with any number of workers, in any order, and when an item is made again after a worker died.
    Call it inside the dataset's `__getitem__`, in the thread that the loader calls it in. Further
    calls for the same item return the same generator, which goes on. Don't keep it: it is set anew
    for the next item.

    Raises:
        RuntimeError: no loader makes an item in this thread now.

    Example:
        >>> from shm_echo.loader.randomness import ItemRandomness, item_rng
        >>> class Noise:
        ...     def __len__(self):
        ...         return 10
        ...     def __getitem__(self, i):
        ...         return item_rng().normal(size=3)
        >>> randomness = ItemRandomness(seed=0)
        >>> with randomness.active():  # as a loader does
        ...     randomness.at(epoch=0, index=4)
        ...     first = Noise()[4]
        ...     randomness.at(epoch=0, index=4)
        ...     again = Noise()[4]
        >>> bool((first == again).all())
        True
    """
    source = _thread.source
    if source is None or source.index is None:
        raise RuntimeError(
            "item_rng() has no item here: call it in the dataset's __getitem__, in the thread in "
            "which shm_echo.DataLoader calls that; elsewhere use np.random.default_rng(seed)"
        )
    return source.generator()


class ItemRandomness:
    """The generator behind `item_rng`: one Philox, which is given another key for each item.

    The key holds seed and index, and the counter begins at the epoch: no two items share numbers.

    Args:
        seed: base seed, below 2**64.

    Attributes:
        index: index, or other key, of the item that is being made; None for none.
    """

    __slots__ = ("_bits", "_counter", "_epoch", "_generator", "_key", "_keyed", "_start", "index")

    def __init__(self, seed: int) -> None:
        self._key = np.array([seed, 0], np.uint64)
        self._counter = np.array([0, 0, _ITEMS, 0], np.uint64)
        self._bits = np.random.Philox(key=self._key)
        self._generator = np.random.Generator(self._bits)
        self._start = self._bits.state
        self._start["state"]["key"] = self._key
        self._start["state"]["counter"] = self._counter
        self._epoch = 0
        self._keyed = False
        self.index: Any = None

    def at(self, epoch: int, index: Any) -> None:
        """Begin an item. It costs next to nothing until the item asks for its generator."""
        self._epoch = epoch
        self._keyed = False
        self.index = index

    def done(self) -> None:
        """End the last item: `item_rng` raises until the next one begins."""
        self.index = None

    def generator(self) -> np.random.Generator:
        """Return the generator of the current item, keyed at its first use."""
        if not self._keyed:
            assert self.index is not None
            self._key[1] = _key_number(self.index)
            self._counter[3] = self._epoch
            self._bits.state = self._start
            self._keyed = True
        return self._generator

    def activate(self) -> None:
        """Make it the source of `item_rng` in this thread, from now on."""
        _thread.source = self

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make it the source of `item_rng` in this thread, inside the block."""
        before, _thread.source = _thread.source, self
        try:
            yield
        finally:
            self.done()
            _thread.source = before


def _key_number(key: Any) -> int:
    """Return a number below 2**64 for a key; for an index the index."""
    if isinstance(key, int):
        return key & (SEED_LIMIT - 1)  # negative indices are possible
    digest = hashlib.blake2b(pickle.dumps(key, 5), digest_size=8).digest()
    return int.from_bytes(digest, "little")


# ---------------------------------------------------------------- the global generators


class RunSeeds:
    """The seeds of the global generators, one for each run of rows.

    Args:
        seed: base seed of the loader.
        rank: number of this process among the training processes: they draw different numbers.

    Attributes:
        kept: names of the generators that are left alone, because `worker_init_fn` seeded them.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self._seed, self._rank = seed, rank
        self._epoch: int | None = None
        self._key = 0
        self.kept: frozenset[str] = frozenset()

    def seed_of(self, epoch: int, position: int) -> int:
        """Return the seed of the run that begins at a position of an epoch, below 2**63."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._key = stream_key(self._seed, self._rank, epoch, _RUNS)
        return stream(self._key, position) >> 1

    def set_for_run(self, epoch: int, position: int) -> None:
        """Set the global generators for a run.

        Args:
            epoch: epoch.
            position: position of the run's first row in the order of the epoch.
        """
        _seed_all(self.seed_of(epoch, position), self.kept)

    def call_init_fn(self, call: Callable[[], object], worker_seed: int) -> None:
        """Call a `worker_init_fn`, and leave the generators alone that it seeds.

        A generator counts as seeded if it is in another state afterwards than some draws could
        have led to (for torch: if its initial seed is another).

        Args:
            call: calls it.
            worker_seed: the generators' seed before the call, as torch's loader sets it.
        """
        _seed_all(worker_seed, frozenset())
        # One draw: now the state changes only at a seeding, or after 622 further draws of 32 bits.
        random.getrandbits(32)
        np.random.random_sample()
        before = _fingerprints()
        call()
        after = _fingerprints()
        self.kept |= {name for name, mark in before.items() if after[name] != mark}


def loaded_torch() -> Any:
    """Return torch if this process has imported it. While it is being imported it has no parts."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "default_generator") else None


def _seed_all(seed: int, kept: frozenset[str]) -> None:
    if "random" not in kept:
        _seed_random(seed)
    if "numpy.random" not in kept:
        _seed_numpy(seed)
    if "torch" not in kept and (torch := loaded_torch()) is not None:
        torch.default_generator.manual_seed(seed)  # 200 times faster than torch.manual_seed


# The generator behind the functions of `random`.
_python_generator: random.Random = vars(random)["_inst"]


def _seed_random(seed: int) -> None:
    """Set the generator of `random` to the stream of a seed, ten times as fast as `random.seed`."""
    if not _core_cpython.set_random_state(_python_generator, seed):
        words = stream_words(seed, np.arange(_MERSENNE_WORDS // 2)).astype("<u8").view("<u4")
        random.setstate((3, (*words.tolist(), _MERSENNE_WORDS), None))
    _python_generator.gauss_next = None  # type: ignore[attr-defined]  # the second of a pair


def _seed_numpy(seed: int) -> None:
    try:
        np.random.seed(seed & 0xFFFFFFFF)
    except TypeError:  # the user has set another bit generator, which has no seed()
        bits: Any = getattr(np.random, "get_bit_generator")()  # noqa: B009  (NumPy's stubs lack it)
        bits.state = type(bits)(np.random.SeedSequence(seed)).state


def _fingerprints() -> dict[str, Any]:
    marks: dict[str, Any] = {
        "random": random.getstate()[1][:-1],  # without the place in the block of words
        "numpy.random": _numpy_fingerprint(),
    }
    torch = loaded_torch()
    marks["torch"] = _TORCH_SEED if torch is None else torch.default_generator.initial_seed()
    return marks


def _numpy_fingerprint() -> Any:
    state: Any = np.random.get_state(legacy=False)
    words = state["state"]
    return state["bit_generator"], words["key"].tobytes() if "key" in words else repr(words)


def generator_states() -> dict[str, Any]:
    """Return the states of the global generators."""
    torch = loaded_torch()
    return {
        "random": random.getstate(),
        "numpy.random": np.random.get_state(legacy=False),
        "torch": None if torch is None else torch.get_rng_state(),
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Set the states of the global generators to those that `generator_states` returned."""
    random.setstate(states["random"])
    np.random.set_state(states["numpy.random"])
    torch = loaded_torch()
    if torch is not None and states["torch"] is not None:
        torch.set_rng_state(states["torch"])


@contextlib.contextmanager
def saved_generators() -> Iterator[None]:
    """Put the global generators back into their state of before, after the block."""
    states = generator_states()
    try:
        yield
    finally:
        set_generator_states(states)
