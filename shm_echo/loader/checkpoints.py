"""The position of a loader in its epochs: `state_dict` and `load_state_dict`.

A position counts the batches that loops have got, not those that workers have made ahead. It holds
the arguments that decide about the batches, so that a loader that would go on with others refuses
it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from shm_echo.loader.epoch_order import EpochOrder, Position
from shm_echo.loader.order_base import Order, shortened

__all__ = ["Checkpoints", "Kept", "RowsPerClaim", "Start"]

_NAME = "shm_echo.DataLoader"
_VERSION = 1
# Workers learn an epoch in 32 bits, and a seed in 64.
_MOST = {"epoch": 2**32 - 1, "next_epoch": 2**32 - 1, "seed": 2**64 - 1}
# Keys of the states of torchdata's StatefulDataLoader, of its workers' snapshots and of its nodes.
_TORCHDATA = (
    "_snapshot",
    "_steps_since_snapshot",
    "_iterator_finished",
    "_sampler_iter_state",
    "_sampler_iter_yielded",
    "_num_yielded",
    "_num_batches_fetched",
)


class RowsPerClaim(NamedTuple):
    """The rows of a run, which fix the places at which the global generators are set.

    Attributes:
        given: the argument of the loader.
        used: the number in use; None before the first item, if the argument is no number.
    """

    given: int | str | None
    used: int | None


class Kept(NamedTuple):
    """The values that a loader takes over from a state.

    Attributes:
        seed: base seed.
        rows_per_claim: rows of a run; None if the state has no number yet.
    """

    seed: int
    rows_per_claim: int | None


class Start(NamedTuple):
    """The place at which a loop begins.

    Attributes:
        epoch: its epoch.
        batches: batches of the epoch that were delivered before.
        rows: items in them.
        next_epoch: the epoch of the loop after it.
    """

    epoch: int
    batches: int
    rows: int
    next_epoch: int


class _Place(NamedTuple):
    """All that a state is made of; replaced as one, so that any thread may read it."""

    next_epoch: int = 0
    loop: EpochOrder | None = None
    loaded: dict[str, Any] | None = None


class Checkpoints:
    """Stores and restores the position of a loader.

    Args:
        dataset: the dataset.
        order: the order of the loader.
        seed: base seed; that of a state must be equal, unless `any_seed`.
        any_seed: True if the program has left the seed to the loader.
        rank: number of this process among the training processes.
    """

    def __init__(
        self, dataset: Any, order: Order, *, seed: int, any_seed: bool, rank: int = 0
    ) -> None:
        self._dataset = dataset
        self._order = order
        self._seed = seed
        self._any_seed = any_seed
        self._rank = rank
        self._place = _Place()

    # ---------------------------------------------------------------- loops

    def start(self) -> Start:
        """Return the place at which the next loop begins."""
        place = self._place
        loaded = place.loaded
        if loaded is None:
            return Start(place.next_epoch, 0, 0, place.next_epoch + 1)
        epoch, batches, rows = loaded["epoch"], loaded["batches"], loaded["rows"]
        if self._order.tracker is not None:
            self._order.tracker.restore(loaded["sampler"], batches, rows)
        return Start(epoch, batches, rows, loaded["next_epoch"])

    def restore_generators(self) -> None:
        """Set the random generators for an epoch that begins at a loaded position.

        For loops that draw from them before they call `start`, which otherwise sets them. In the
        middle of an epoch it does nothing.
        """
        place, tracker = self._place, self._order.tracker
        if tracker is None or place.loaded is None or place.loaded["batches"]:
            return
        tracker.restore_generators(place.loaded["sampler"])
        sampler = {
            name: value
            for name, value in place.loaded["sampler"].items()
            if not name.startswith("generators")
        }
        self._place = place._replace(loaded={**place.loaded, "sampler": sampler})

    def began(self, loop: EpochOrder, start: Start) -> None:
        """Note that a loop has begun at a place that `start` returned."""
        loop.begun = True
        loop.position = Position(start.batches, start.rows)
        if self._order.tracker is not None:
            loop.track = self._order.tracker.last
        self._place = _Place(start.next_epoch, loop)

    # ---------------------------------------------------------------- states

    def state(self, rows_per_claim: RowsPerClaim, loop: EpochOrder | None = None) -> dict[str, Any]:
        """Return the position of a loop, as JSON. Thread-safe.

        Args:
            rows_per_claim: of the loader.
            loop: the loop; None takes the one that was begun last.
        """
        place = self._place
        if loop is None and place.loaded is not None:
            return copy.deepcopy(place.loaded)
        if loop is None:
            loop = place.loop
        tracker, next_epoch = self._order.tracker, place.next_epoch
        if loop is None or loop.finished:
            epoch, position = next_epoch, Position()
            sampler = None if tracker is None else tracker.state()
        else:
            epoch, position = loop.epoch, loop.position
            track = loop.track
            sampler = None if track is None else track.state(position.sampler)
            next_epoch = max(next_epoch, epoch + 1)
        if epoch == next_epoch:
            next_epoch += 1
        return {
            "loader": _NAME,
            "version": _VERSION,
            "epoch": epoch,
            "batches": position.batches,
            "rows": position.rows,
            "next_epoch": next_epoch,
            "seed": self._seed,
            "rows_per_claim": {"given": rows_per_claim.given, "used": rows_per_claim.used},
            "order": self._description(),
            **({} if sampler is None else {"sampler": sampler}),
        }

    def _description(self) -> dict[str, Any]:
        try:
            length = {"length": len(self._dataset)}
        except TypeError:
            length = {}
        return {**length, "rank": self._rank, **self._order.description()}

    def load(self, state: Mapping[str, Any], rows_per_claim: RowsPerClaim) -> Kept:
        """Have the next loop begin at a position.

        Returns:
            The values that the loader must have from now on.

        Raises:
            ValueError: it is no position of a loader, or that of another one; says what differs.
        """
        _require_own(state)
        numbers = {name: _count(state, name) for name in ("epoch", "batches", "rows", "next_epoch")}
        saved_rows, saved_order = _rows_per_claim(state), state.get("order")
        if saved_rows is None or not isinstance(saved_order, Mapping):
            raise ValueError(f"the state of a DataLoader is damaged: {shortened(dict(state))}")
        seed = _count(state, "seed")
        differences = [
            *self._differences(saved_order, seed),
            *_rows_per_claim_differences(saved_rows, rows_per_claim),
        ]
        if differences:
            raise ValueError(f"the state is that of another DataLoader: {'; '.join(differences)}")
        if self._order.tracker is not None:
            sampler = state.get("sampler")
            if not isinstance(sampler, Mapping):
                raise ValueError("the state of the DataLoader has no state of its sampler")
            self._order.tracker.parse(sampler, numbers["batches"], numbers["rows"])
        loaded = {**copy.deepcopy(dict(state)), **numbers}
        self._place = _Place(numbers["next_epoch"], None, loaded)
        return Kept(seed, saved_rows.used)

    def _differences(self, saved: Mapping[str, Any], seed: int) -> list[str]:
        here = self._description()
        # Where the program left the seed to the loader, the seed of the state is taken over.
        if not self._any_seed:
            saved, here = {**saved, "seed": seed}, {**here, "seed": self._seed}
        else:
            saved, here = {**saved, "seed": 0}, {**here, "seed": 0}
        return [
            f"{name} was {shortened(saved.get(name))} and is {shortened(here.get(name))}"
            for name in sorted({*saved, *here}, key=str)
            if saved.get(name) != here.get(name)
        ]

    def replace_order(self, order: Order, seed: int) -> None:
        """Go on with the order of another seed."""
        self._order, self._seed = order, seed


def _require_own(state: Any) -> None:
    if not isinstance(state, Mapping):
        raise ValueError(
            f"the state of a DataLoader is a dict, as state_dict() returns it, not a "
            f"{type(state).__name__}: {shortened(state)}"
        )
    if any(name in state for name in _TORCHDATA):
        raise ValueError(
            "this is a state of torchdata's StatefulDataLoader, which shm_echo.DataLoader cannot "
            "go on from: finish that epoch with torchdata, or begin the epoch again"
        )
    if state.get("loader") != _NAME:
        raise ValueError(f"this is no state of a shm_echo.DataLoader: {shortened(dict(state))}")
    if state.get("version") != _VERSION:
        raise ValueError(
            f"the state of the DataLoader has version {shortened(state.get('version'))}, and this "
            f"version of shm_echo reads version {_VERSION}"
        )


def _count(state: Mapping[str, Any], name: str) -> int:
    value = state.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(
            f"{name} in the state of a DataLoader must be an int of at least 0, not "
            f"{shortened(value)}"
        )
    if value > _MOST.get(name, value):
        raise ValueError(
            f"{name} in the state of a DataLoader must be at most {_MOST[name]}, not {value}"
        )
    return value


def _rows_per_claim(state: Mapping[str, Any]) -> RowsPerClaim | None:
    """Return the part of a state about runs; None if it is damaged."""
    saved = state.get("rows_per_claim")
    if not isinstance(saved, Mapping):
        return None
    given, used = saved.get("given"), saved.get("used")
    sound = all(value is None or (type(value) is int and value > 0) for value in (used, given))
    measured = given == "measure" and (used is None or (type(used) is int and used > 0))
    if not sound and not measured:
        return None
    return RowsPerClaim(given, used)


def _rows_per_claim_differences(saved: RowsPerClaim, here: RowsPerClaim) -> list[str]:
    if saved.given == here.given or here.given == "measure":
        return []  # the number of the state is kept
    if saved.given == "measure" and (not isinstance(here.given, int) or saved.used == here.given):
        return []
    was = saved.used if saved.given == "measure" else saved.given
    return [f"rows_per_claim was {shortened(was)} and is {shortened(here.given)}"]
