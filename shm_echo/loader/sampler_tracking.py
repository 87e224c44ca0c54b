"""The position in a sampler of the user's, so that another process can go on there.

A sampler that has `state_dict` and `load_state_dict` is asked for its state after each batch, and
goes on from it. Any other one gives its keys again from the start of the epoch, with the random
generators as they were then, and the keys of the batches that the loop has had are left out.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shm_echo.loader.generator_states import (
    GLOBAL,
    Generators,
    GeneratorStates,
    from_json,
    to_json,
)

__all__ = ["SamplerTracker", "Track"]

_END: Any = object()


class _Restored(NamedTuple):
    """A stored position in a sampler, and where it is in the epoch."""

    batches: int
    rows: int
    sampler: Any
    ended: bool
    start: GeneratorStates
    now: GeneratorStates
    epoch: int | None


class _OwnState(NamedTuple):
    """The result of a sampler's `state_dict`, and whether it had given its last key by then."""

    value: Any
    ended: bool = False


class SamplerTracker:
    """Follows a sampler through the epochs.

    Args:
        sampler: the sampler.
        keys_per_batch: how many of its keys make a batch.

    Attributes:
        last: the last track that `begin` returned; None before.
        stateful: True if the sampler has `state_dict` and `load_state_dict`.
        used: names of the generators that it has drawn from, in any epoch.
    """

    def __init__(self, sampler: Any, keys_per_batch: int) -> None:
        self.sampler = sampler
        self.keys_per_batch = keys_per_batch
        self.generators = Generators(sampler)
        self.stateful = callable(getattr(sampler, "state_dict", None)) and callable(
            getattr(sampler, "load_state_dict", None)
        )
        self.last: Track | None = None
        self.used: set[str] = set()
        self._restored: _Restored | None = None

    def begin(self) -> Track:
        """Ask the sampler for its iterator; return the keys, followed."""
        restored, self._restored = self._restored, None
        self.last = Track(self, restored)
        return self.last

    def state(self) -> dict[str, Any]:
        """Return the position between two epochs, as JSON."""
        if self.stateful:
            return {"sampler": copy.deepcopy(self.sampler.state_dict())}
        return {"generators_now": to_json(self.present())}

    def present(self) -> GeneratorStates:
        """Return the states that the generators in use have now."""
        now = self.generators.read()
        return {name: now[name] for name in sorted(self.used) if name in now}

    def restore(self, state: Mapping[str, Any], batches: int, rows: int) -> None:
        """Have the next `begin` go on at a stored position.

        Args:
            state: as `state` or `Track.state` returned it.
            batches: batches of the epoch that the loop has had.
            rows: items in them.

        Raises:
            ValueError: it does not belong to this sampler.
        """
        restored = self.parse(state, batches, rows)
        self._restored = restored
        self.used.update(restored.start, restored.now)

    def restore_generators(self, state: Mapping[str, Any]) -> None:
        """Set the generators to their states at a position at which no batch was delivered."""
        restored = self.parse(state, 0, 0)
        self.used.update(restored.start, restored.now)
        self.generators.write({**restored.now, **restored.start})

    def parse(self, state: Mapping[str, Any], batches: int, rows: int) -> _Restored:
        """Return a stored position, checked.

        Raises:
            ValueError: it does not belong to this sampler.
        """
        if ("sampler" in state) != self.stateful:
            there, here = ("has no", "has one") if self.stateful else ("has a", "has none")
            raise ValueError(
                f"the state is that of another loader: its sampler {there} state_dict(), and the "
                f"sampler here {here}"
            )
        epoch = state.get("epoch")
        if epoch is not None and (
            not isinstance(epoch, int) or _epoch_holder(self.sampler) is None
        ):
            raise ValueError(
                f"the state is that of another loader: set_epoch({epoch!r}) was called on its "
                "sampler, and the sampler here has no set_epoch()"
            )
        start = from_json(state.get("generators", {}))
        now = from_json(state.get("generators_now", {}))
        self.generators.check({**start, **now})
        ended = state.get("ended") is True
        return _Restored(batches, rows, state.get("sampler"), ended, start, now, epoch)


class Track(Iterator[Any]):
    """The keys of one epoch, and the positions between its batches.

    Args:
        tracker: of the sampler.
        restored: the stored position to go on at; None to begin.

    Attributes:
        first_batch, first_row: batches and items of the epoch that the sampler will not give:
            it goes on behind them.
    """

    def __init__(self, tracker: SamplerTracker, restored: _Restored | None) -> None:
        self._tracker = tracker
        self.first_batch = self.first_row = 0
        self._replayed = 0
        self._start: GeneratorStates = {}
        self._now: GeneratorStates = {}
        # The sampler's own state: behind each batch that is drawn, and behind the last delivered.
        self._states: deque[_OwnState] = deque()
        self._state = _OwnState(None)
        if restored is not None:
            self._restore(restored)
        holder = _epoch_holder(tracker.sampler)
        self._epoch: int | None = None if holder is None else holder.epoch
        if tracker.stateful:
            self._state = self._own_state()
        before = tracker.generators.read()
        keys = iter(()) if restored is not None and restored.ended else iter(tracker.sampler)
        self._note_draws(before)
        self._keys = self._drawn(keys)

    def _restore(self, restored: _Restored) -> None:
        tracker = self._tracker
        if restored.epoch is not None:
            holder = _epoch_holder(tracker.sampler)
            if holder is not None and holder.epoch != restored.epoch:
                holder.set_epoch(restored.epoch)
        if tracker.stateful:
            tracker.sampler.load_state_dict(copy.deepcopy(restored.sampler))
            self.first_batch, self.first_row = restored.batches, restored.rows
            return
        self._now = restored.now
        self._replayed = restored.batches if tracker.keys_per_batch == 1 else restored.rows
        # Without a batch to leave out, the sampler may not have drawn yet.
        tracker.generators.write(
            restored.start if self._replayed else {**restored.now, **restored.start}
        )

    def _own_state(self, ended: bool = False) -> _OwnState:
        return _OwnState(copy.deepcopy(self._tracker.sampler.state_dict()), ended)

    def __next__(self) -> Any:
        return next(self._keys)

    def _drawn(self, keys: Iterator[Any]) -> Iterator[Any]:
        generators, stateful = self._tracker.generators, self._tracker.stateful
        per_batch = self._tracker.keys_per_batch
        before = generators.read()
        key = next(keys, _END)
        self._note_draws(before)
        first = generators.read() if self._replayed else {}
        number = 1
        while key is not _END:
            if number == self._replayed:
                self._end_replay(first)
            if stateful and number % per_batch == 0:
                self._states.append(self._own_state())
            yield key
            key = next(keys, _END)
            number += 1
        if stateful:
            # Behind a short last batch: the sampler has seen the end of its epoch.
            self._states.append(self._own_state(ended=True))

    def _note_draws(self, before: GeneratorStates) -> None:
        """Note the states from which the sampler has drawn its first random numbers."""
        changed = self._tracker.generators.changed(before)
        for name in changed:
            self._start.setdefault(name, before[name])
        self._tracker.used.update(changed)

    def _end_replay(self, first: GeneratorStates) -> None:
        """Set generators to their states when the position was stored.

        One that the sampler draws from for each batch stands where it belongs already.

        Args:
            first: the states after the first key.
        """
        generators = self._tracker.generators
        moved = set(generators.changed(first))
        generators.write({name: now for name, now in self._now.items() if name not in moved})

    def deliver(self) -> _OwnState:
        """Go on behind the next batch; return what `state` needs for this position."""
        if self._states:
            self._state = self._states.popleft()
        return self._state

    def state(self, own: _OwnState | None) -> dict[str, Any]:
        """Return the position behind a batch, as JSON.

        Args:
            own: what `deliver` returned at that batch; None if none was delivered.
        """
        epoch = {} if self._epoch is None else {"epoch": self._epoch}
        if self._tracker.stateful:
            value, ended = own or self._state
            return {"sampler": copy.deepcopy(value), "ended": ended, **epoch}
        present = self._tracker.present()
        # Others that the sampler has drawn from stand at the right place when it has drawn again.
        now = {
            name: state
            for name, state in present.items()
            if name.startswith(GLOBAL) or name not in self._start
        }
        return {"generators": to_json(self._start), "generators_now": to_json(now), **epoch}


def _epoch_holder(sampler: Any) -> Any:
    """Return the sampler, or one inside it, whose `set_epoch` sets its attribute `epoch`."""
    for _ in range(8):
        if sampler is None:
            break
        epoch = getattr(sampler, "epoch", None)
        if callable(getattr(sampler, "set_epoch", None)) and type(epoch) is int:
            return sampler
        sampler = getattr(sampler, "sampler", None)
    return None
