"""The loops over one loader: their numbers and seeds, their order, and the positions in it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data.dataloader import _DatasetKind

from shm_echo.loader.checkpoints import Checkpoints, RowsPerClaim, Start
from shm_echo.loader.engine import LoaderEngine
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.generator_states import GLOBAL
from shm_echo.loader.order import Order
from shm_echo.loader.stream_order import StreamOrder
from shm_echo.torch.sampler_queue import KeyOrder, ListOrder, QueuedSampler, SamplerQueue

__all__ = ["Loops"]


class Loops:
    """The state that a loader of torch's face keeps about its loops.

    The random numbers of a loop depend on a base seed, which torch draws for each iterator, and on
    the number of the loop.

    Args:
        loader: the loader.

    Attributes:
        order: the order of the batches.
        kept_rows: rows that a worker takes at a time, as a loaded position says; None for no such
            number.
        said: True once it was said that batches are collated as a whole.
    """

    def __init__(self, loader: Any) -> None:
        self._seed: int | None = loader.seed
        self._sampler: QueuedSampler | None = None
        self.order: Order
        if loader._dataset_kind == _DatasetKind.Iterable:
            self.order = StreamOrder(
                loader.dataset, batch_size=loader.batch_size, drop_last=loader.drop_last
            )
        else:
            self._sampler = sampler = QueuedSampler(loader._index_sampler, loader.generator)
            order = KeyOrder(sampler) if loader.batch_sampler is None else ListOrder(sampler)
            # Base seeds are drawn from it, whatever the sampler draws from.
            given = loader.generator is not None
            order.tracker.used.add("generator" if given else f"{GLOBAL}torch")
            self.order = order
        self._checkpoints = Checkpoints(
            loader.dataset, self.order, seed=loader.seed or 0, any_seed=loader.seed is None
        )
        self._engine: weakref.ref[LoaderEngine] | None = None
        self._given_rows = loader.rows_per_claim
        # The seed of a loaded position that waits for its loop, and whether it is between epochs.
        self._loaded: tuple[int, bool] | None = None
        self.kept_rows: int | None = None
        self.said = False

    def restore_generators(self) -> None:
        """Set the global generators as a loaded position between two epochs says.

        Call it before the base seed is drawn.
        """
        if self._loaded is not None and self._loaded[1]:
            self._checkpoints.restore_generators()

    def seed_of(self, base_seed: int, *, persistent: bool) -> int:
        """Return the seed of an iterator.

        Args:
            base_seed: the seed that was drawn for it.
            persistent: True if it is that of later loops, too.
        """
        if self._seed is not None:
            return self._seed
        if self._loaded is not None:
            loaded_seed, between = self._loaded
            if persistent or not between:
                return loaded_seed
        return base_seed

    def start(self, seed: int, ahead: int, keys: Iterator[Any] | None) -> Start:
        """Return the place at which the next loop begins.

        Args:
            seed: its seed.
            ahead: the number of keys that are drawn when it begins.
            keys: the iterator of torch's sampler; not used after a position was loaded.
        """
        self._checkpoints.replace_order(self.order, seed)
        start = self._checkpoints.start()
        if self._sampler is not None:
            self._sampler.ahead = ahead
            if isinstance(self.order, ListOrder):
                self.order.lists_ahead = ahead
            self._sampler.given = None if self._loaded is not None else keys
        return start

    def began(self, order: EpochOrder, start: Start, engine: LoaderEngine | None) -> SamplerQueue:
        """Note that a loop has begun; return the keys that were drawn ahead for it."""
        self._loaded = None
        self._checkpoints.began(order, start)
        self._engine = None if engine is None else weakref.ref(engine)
        return SamplerQueue(iter(())) if self._sampler is None else self._sampler.last

    @property
    def engine(self) -> LoaderEngine | None:
        """The engine of the loop that was begun last; None if there is none any more."""
        return None if self._engine is None else self._engine()

    # ---------------------------------------------------------------- positions

    def state(self, loop: EpochOrder | None = None) -> dict[str, Any]:
        """Return the position of a loop; without one, of the loop that was begun last."""
        return self._checkpoints.state(self._run_rows(), loop)

    def load(self, state: Mapping[str, Any]) -> None:
        """Have the next loop begin at a position.

        Raises:
            ValueError: it is none, or that of another loader.
        """
        kept = self._checkpoints.load(state, self._run_rows())
        # A loop that has begun has stored the states from which its sampler drew.
        begun = state["batches"] > 0 or "generators" in state.get("sampler", {})
        self._loaded = kept.seed, not begun
        if self._given_rows in (None, "measure"):
            self.kept_rows = kept.rows_per_claim

    def _run_rows(self) -> RowsPerClaim:
        engine = self.engine
        layout = None if engine is None else engine.layouts.known
        used = self.kept_rows if layout is None else layout.run_rows
        return RowsPerClaim(self._given_rows, used)
