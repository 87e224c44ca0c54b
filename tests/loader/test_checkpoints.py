"""Positions that do not fit are refused with what differs, before anything changes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader
from shm_echo.loader.randomness import saved_generators
from tests.support.loop_datasets import Augmented, Numbers, as_lists
from tests.support.resumable_samplers import (
    OwnGenerators,
    SetEpoch,
    ShuffledByRandom,
    Stateful,
)

BASE: dict[str, Any] = {"batch_size": 2, "seed": 1}


def make(length: int = 10, **arguments: Any) -> DataLoader:
    return DataLoader(Numbers(length), **{**BASE, **arguments})


def state_of(**arguments: Any) -> Any:
    """Return the state of a loader whose loop has got a batch."""
    loader = make(**arguments)
    for _ in loader:
        break
    return json.loads(json.dumps(loader.state_dict()))


DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "length": ({"length": 11}, "length was 10 and is 11"),
    "batch_size": ({"batch_size": 3}, "batch_size was 2 and is 3"),
    "seed": ({"seed": 2}, "seed was 1 and is 2"),
    "order": ({"shuffle": True}, "kind was 'sequential' and is 'shuffled'"),
    "drop_last": ({"drop_last": True}, "drop_last was False and is True"),
    "world_size": ({"world_size": 2}, "world_size was 1 and is 2"),
    "rank": ({"world_size": 2, "rank": 1}, "rank was 0 and is 1; world_size was 1 and is 2"),
    "weights": ({"weights": np.ones(10)}, "weights was None"),
    "sampler": ({"sampler": [1, 2]}, "kind was 'sequential' and is 'sampler'"),
    "rows_per_claim": ({"rows_per_claim": 2}, "rows_per_claim was None and is 2"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_state_of_another_loader_is_refused_with_what_differs(name: str) -> None:
    changed, text = DIFFERENCES[name]
    loader = make(**changed)
    before = loader.state_dict()
    with pytest.raises(ValueError, match=f"the state is that of another DataLoader: .*{text}"):
        loader.load_state_dict(state_of())
    assert loader.state_dict() == before


def test_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights was"):
        make(weights=range(10)).load_state_dict(state_of(weights=range(1, 11)))


@pytest.mark.parametrize(
    ("saved", "here", "text"),
    [
        ([1, 2, 3], ShuffledByRandom(), "sampler was 'builtins.list' and is"),
        (Stateful(), OwnGenerators(), "sampler was"),
    ],
)
def test_another_sampler_is_refused(saved: Any, here: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make(sampler=here).load_state_dict(state_of(sampler=saved))


def test_a_sampler_that_has_changed_its_class_is_refused() -> None:
    def changed(base: type, **members: Any) -> Any:
        return type("Sampler", (base,), {"__module__": "m", "__qualname__": "Sampler", **members})()

    plain, stateful = state_of(sampler=changed(SetEpoch)), state_of(sampler=changed(Stateful))
    with pytest.raises(ValueError, match="has a state_dict.., and the sampler here has none"):
        make(sampler=changed(OwnGenerators)).load_state_dict(stateful)
    with pytest.raises(ValueError, match="has no state_dict.., and the sampler here has one"):
        make(sampler=changed(Stateful)).load_state_dict(plain)
    with pytest.raises(ValueError, match="has no set_epoch"):
        make(sampler=changed(OwnGenerators)).load_state_dict(plain)
    own = state_of(sampler=changed(OwnGenerators))
    loader = make(sampler=changed(ShuffledByRandom))
    with pytest.raises(ValueError, match="numpy generator .(rng|old)."):
        loader.load_state_dict(own)


GOOD = state_of(sampler=OwnGenerators())


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (None, "NoneType"),
        ([], "list"),
        ({}, "no state of a shm_echo.DataLoader"),
        ({"model": 1}, "no state of a shm_echo.DataLoader"),
        ({"_snapshot": {}, "_steps_since_snapshot": 0, "_iterator_finished": False}, "torchdata"),
        ({"_sampler_iter_state": None, "_num_yielded": 1}, "torchdata"),
        ({**GOOD, "version": 2}, "version 2"),
        ({**GOOD, "epoch": -1}, "epoch .* not -1"),
        ({**GOOD, "epoch": 2**32}, "epoch .* at most"),
        ({**GOOD, "next_epoch": 2**63}, "next_epoch .* at most"),
        ({**GOOD, "seed": 2**64}, "seed .* at most"),
        ({**GOOD, "batches": "1"}, "batches"),
        ({**GOOD, "rows": True}, "rows"),
        ({**GOOD, "next_epoch": None}, "next_epoch"),
        ({**GOOD, "seed": 1.0}, "seed"),
        ({**GOOD, "order": None}, "damaged"),
        ({**GOOD, "rows_per_claim": 3}, "damaged"),
        ({**GOOD, "rows_per_claim": {"given": None, "used": "x"}}, "damaged"),
        ({**GOOD, "rows_per_claim": {"given": "measure", "used": -5}}, "damaged"),
        ({**GOOD, "sampler": None}, "sampler"),
        ({**GOOD, "sampler": {"generators": 3}}, "damaged"),
        ({**GOOD, "sampler": {"generators": {"rng": ["numpy", {"bytes": "%"}]}}}, "damaged"),
        ({**GOOD, "sampler": {"generators": {"rng": [1]}}}, "damaged"),
    ],
)
def test_what_is_no_state_is_refused(state: Any, text: str) -> None:
    loader = make(sampler=OwnGenerators())
    before = loader.state_dict()
    with pytest.raises(ValueError, match=text):
        loader.load_state_dict(copy.deepcopy(state))
    assert loader.state_dict() == before


# ---------------------------------------------------------------- what is taken over


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_default_rows_per_claim_is_kept(num_workers: int) -> None:
    def loader(length: int = 64, **arguments: Any) -> DataLoader:
        return DataLoader(Augmented(length), 32, seed=1, num_workers=num_workers, **arguments)

    with loader() as whole:
        loop = iter(whole)
        next(loop)
        state = whole.state_dict()
        assert state["rows_per_claim"] == {"given": None, "used": 4}
        rest = [as_lists(batch) for batch in loop]
    # As if another version had chosen another default.
    state["rows_per_claim"]["used"] = 2
    with loader() as other:
        list(other)
        other.load_state_dict(state)
        assert other.state_dict()["rows_per_claim"] == {"given": None, "used": 2}
        found = [as_lists(batch) for batch in other]
    with DataLoader(Augmented(64), 32, seed=1, rows_per_claim=2) as expected:
        assert found == [as_lists(batch) for batch in expected][1:]
    assert [batch["index"] for batch in found] == [batch["index"] for batch in rest]
    assert found != rest


def test_a_state_without_a_seed_of_the_program_fits_one_with_it() -> None:
    first = DataLoader(Numbers(10), 2)
    second = make(seed=first.seed)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()


def test_a_state_is_a_copy_and_small() -> None:
    loader = make(10_000, shuffle=True)
    for _ in loader:
        break
    state = loader.state_dict()
    assert len(json.dumps(state)) < 1000
    state["batches"] = 7
    loader.load_state_dict(state)
    state["batches"] = 8
    assert loader.state_dict()["batches"] == 7
    loader.state_dict()["batches"] = 9
    assert loader.state_dict()["batches"] == 7
    assert len(json.dumps(GOOD)) < 20_000


def test_generators_may_be_restored_before_the_loop_begins() -> None:
    def order_of(loader: DataLoader, draws: int) -> list[Any]:
        for _ in range(draws):
            random.random()  # as a face that draws a seed of its own
        return [batch[:, 0].tolist() for batch in loader]

    with saved_generators():
        random.seed(4)
        loader = make(sampler=ShuffledByRandom())
        order_of(loader, 1)
        state = loader.state_dict()
        expected = order_of(loader, 1)
        random.seed(5)
        again = make(sampler=ShuffledByRandom())
        again.load_state_dict(state)
        again._checkpoints.restore_generators()
        assert order_of(again, 1) == expected


def test_nothing_is_restored_without_a_state_or_in_the_middle_of_an_epoch() -> None:
    with saved_generators():
        loader = make(sampler=ShuffledByRandom())
        for state in (None, state_of(sampler=ShuffledByRandom())):
            if state is not None:
                loader.load_state_dict(state)
            random.seed(6)
            loader._checkpoints.restore_generators()
            first = random.random()
            random.seed(6)
            assert random.random() == first
