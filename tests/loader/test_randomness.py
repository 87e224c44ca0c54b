"""Random numbers of items and runs: the same for any worker, order and number of workers."""

from __future__ import annotations

import pickle
import random
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.loader import item_rng, randomness
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.mixing import stream_words
from shm_echo.loader.order_base import ROW_LIMIT
from shm_echo.loader.randomness import (
    ItemRandomness,
    RunSeeds,
    generator_states,
    new_seed,
    saved_generators,
    set_generator_states,
)
from shm_echo.ring._core_cpython import set_random_state


class FakeGenerator:
    """The calls of `torch.default_generator` that the loader makes."""

    def __init__(self) -> None:
        self.seed = 67280421310721

    def manual_seed(self, seed: int) -> None:
        self.seed = seed

    def initial_seed(self) -> int:
        return self.seed


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> FakeGenerator:
    """A module `torch` that is imported, with a generator whose state is its seed."""
    generator = FakeGenerator()
    module = SimpleNamespace(
        default_generator=generator,
        get_rng_state=lambda: generator.seed,
        set_rng_state=generator.manual_seed,
    )
    monkeypatch.setitem(sys.modules, "torch", module)  # type: ignore[arg-type]
    return generator


@pytest.fixture(autouse=True)
def _own_generators() -> Any:
    with saved_generators():
        yield


def numbers(seed: int, epoch: int, index: int, count: int = 4) -> list[int]:
    randomness = ItemRandomness(seed)
    with randomness.active():
        randomness.at(epoch, index)
        return item_rng().integers(0, 2**63, count).tolist()


def draws() -> tuple[float, float]:
    return random.random(), float(np.random.rand())


# ---------------------------------------------------------------- item_rng

KEYS = st.tuples(st.integers(0, 50), st.integers(-3, 2**62))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), keys=st.lists(KEYS, min_size=1, max_size=12), data=st.data())
def test_the_numbers_of_an_item_do_not_depend_on_the_items_before_it(
    seed: int, keys: list[tuple[int, int]], data: st.DataObject
) -> None:
    alone = {key: numbers(seed, *key) for key in keys}
    randomness = ItemRandomness(seed)
    with randomness.active():
        for key in data.draw(st.permutations(keys)):
            randomness.at(*key)
            used = data.draw(st.integers(0, 3))
            for _ in range(used):  # float32 and 32-bit draws leave halves of words behind
                item_rng().random(dtype=np.float32)
            if not used:
                assert item_rng().integers(0, 2**63, 4).tolist() == alone[key]


def test_seed_epoch_and_index_change_the_numbers() -> None:
    keys = [(s, e, i) for s in (0, 1, 2**64 - 1) for e in (0, 1) for i in (0, 1, -1, 2**40)]
    assert len({tuple(numbers(*key)) for key in keys}) == len(keys)
    assert numbers(5, 6, 7) == numbers(5, 6, 7)


def test_one_item_has_one_generator_that_goes_on() -> None:
    randomness = ItemRandomness(0)
    with randomness.active():
        randomness.at(0, 3)
        first, second = item_rng().random(), item_rng().random()
        randomness.at(0, 3)
        assert item_rng().random(2).tolist() == [first, second]
    assert first != second


def test_buffered_halves_of_words_do_not_reach_the_next_item() -> None:
    randomness = ItemRandomness(0)
    with randomness.active():
        randomness.at(0, 1)
        item_rng().integers(0, 2**32, dtype=np.uint32)
        randomness.at(0, 2)
        word = item_rng().integers(0, 2**32, dtype=np.uint32)
    fresh = ItemRandomness(0)
    with fresh.active():
        fresh.at(0, 2)
        assert item_rng().integers(0, 2**32, dtype=np.uint32) == word


def test_the_numbers_are_those_of_a_philox_with_this_key() -> None:
    bits = np.random.Philox(key=[7, 9], counter=[0, 0, 0x6974656D, 3])
    assert numbers(7, 3, 9) == np.random.Generator(bits).integers(0, 2**63, 4).tolist()
    dataset_s_own = np.random.Generator(np.random.Philox(key=7))
    assert numbers(7, 0, 0) != dataset_s_own.integers(0, 2**63, 4).tolist()


def test_outside_an_item_there_is_no_generator() -> None:
    with pytest.raises(RuntimeError, match="__getitem__"):
        item_rng()
    randomness = ItemRandomness(0)
    with randomness.active():
        with pytest.raises(RuntimeError, match="no item"):
            item_rng()
        randomness.at(0, 0)
        item_rng()
        randomness.done()
        with pytest.raises(RuntimeError, match="no item"):
            item_rng()
        randomness.at(0, 0)
    with pytest.raises(RuntimeError, match="no item"):
        item_rng()


def test_each_thread_has_its_own_item() -> None:
    outer = ItemRandomness(0)
    seen: list[str] = []

    def other() -> None:
        try:
            item_rng()
        except RuntimeError as error:
            seen.append(str(error))

    with outer.active():
        outer.at(0, 0)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "no item" in seen[0]


def test_a_loader_inside_an_item_does_not_disturb_it() -> None:
    outer, inner = ItemRandomness(1), ItemRandomness(2)
    with outer.active():
        outer.at(0, 5)
        first = item_rng().random()
        with inner.active():
            inner.at(0, 5)
            assert item_rng().random() != first
        second = item_rng().random()
    with ItemRandomness(1).active():
        pass
    again = ItemRandomness(1)
    with again.active():
        again.at(0, 5)
        assert item_rng().random(2).tolist() == [first, second]


# ---------------------------------------------------------------- runs of rows


def test_a_run_sets_every_global_generator(torch: FakeGenerator) -> None:
    seeds = RunSeeds(0)
    seeds.set_for_run(1, 32)
    first, torch_seed = draws(), torch.seed
    seeds.set_for_run(1, 64)
    assert draws() != first
    assert torch.seed != torch_seed
    RunSeeds(0).set_for_run(1, 32)
    assert (draws(), torch.seed) == (first, torch_seed)


def test_a_run_works_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    RunSeeds(0).set_for_run(0, 0)
    assert "torch" not in sys.modules
    # A module that is being imported has no generator yet.
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())  # type: ignore[arg-type]
    RunSeeds(0).set_for_run(0, 0)


def test_the_seeds_of_runs_differ_by_seed_rank_epoch_and_position() -> None:
    keys = [(s, r, e, p) for s in (0, 1) for r in (0, 1) for e in (0, 1) for p in (0, 1, 2**40 - 1)]
    seeds = [RunSeeds(s, r).seed_of(e, p) for s, r, e, p in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    one = RunSeeds(0, 1)
    assert [one.seed_of(e, p) for s, r, e, p in keys if (s, r) == (0, 1)] == [
        seed for seed, key in zip(seeds, keys, strict=True) if key[:2] == (0, 1)
    ]


def test_another_bit_generator_of_numpy_is_set_too() -> None:
    before: Any = getattr(np.random, "get_bit_generator")()  # noqa: B009
    try:
        getattr(np.random, "set_bit_generator")(np.random.PCG64(5))  # noqa: B009
        seeds = RunSeeds(0)
        seeds.set_for_run(0, 0)
        first = np.random.rand()
        seeds.set_for_run(0, 0)
        assert np.random.rand() == first
    finally:
        getattr(np.random, "set_bit_generator")(before)  # noqa: B009


def test_python_s_generator_has_the_same_numbers_where_its_layout_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def numbers() -> list[float]:
        RunSeeds(3).set_for_run(1, 32)
        return [random.random() for _ in range(1000)] + [random.gauss(0, 1)]

    random.gauss(0, 1)  # leaves a second number, which belongs to no run
    known = numbers()
    monkeypatch.setattr(randomness._core_cpython, "set_random_state", lambda *_: False)
    random.gauss(0, 1)
    assert numbers() == known
    assert abs(sum(known[:1000]) / 1000 - 0.5) < 0.05


def test_the_words_of_python_s_generator_are_the_stream_of_the_key() -> None:
    generator = random.Random()
    assert set_random_state(generator, 2**64 - 1)
    words = stream_words(2**64 - 1, np.arange(312))
    assert generator.getstate()[1] == (*words.view(np.uint32).tolist(), 624)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((object(), 1), "takes a random.Random"),
        ((random.Random(),), "takes a generator and a key"),
        ((random.Random(), "1"), "integer"),
    ],
)
def test_a_state_of_something_else_is_refused(arguments: Any, error: str) -> None:
    with pytest.raises(TypeError, match=error):
        set_random_state(*arguments)


def test_the_caller_s_generators_are_put_back(torch: FakeGenerator) -> None:
    random.seed(1)
    np.random.seed(1)
    random.gauss(0, 1)  # leaves a second number for the next call
    np.random.standard_normal()
    states = generator_states()
    wanted = (random.gauss(0, 1), np.random.standard_normal(), draws(), torch.seed)
    set_generator_states(states)
    with pytest.raises(KeyError), saved_generators():
        RunSeeds(9).set_for_run(4, 4)
        draws()
        raise KeyError
    assert (random.gauss(0, 1), np.random.standard_normal(), draws(), torch.seed) == wanted


def test_states_can_be_pickled() -> None:
    states = pickle.loads(pickle.dumps(generator_states()))
    wanted = draws()
    set_generator_states(states)
    assert draws() == wanted


# ---------------------------------------------------------------- worker_init_fn


def kept_after(function: Any) -> frozenset[str]:
    seeds = RunSeeds(3)
    seeds.call_init_fn(function, worker_seed=11)
    return seeds.kept


SEEDING = {
    "random": (lambda: random.seed(5), {"random"}),
    "numpy": (lambda: np.random.seed(5), {"numpy.random"}),
    "torch": (lambda: sys.modules["torch"].default_generator.manual_seed(5), {"torch"}),
    "all": (
        lambda: (
            random.seed(1),
            np.random.seed(1),
            sys.modules["torch"].default_generator.manual_seed(1),
        ),
        {"random", "numpy.random", "torch"},
    ),
    "nothing": (lambda: None, set()),
    "draws": (lambda: (random.random(), random.randint(1, 6), np.random.rand(100)), set()),
}


@pytest.mark.parametrize("name", SEEDING)
def test_generators_that_worker_init_fn_seeds_are_left_alone(
    name: str, torch: FakeGenerator
) -> None:
    function, kept = SEEDING[name]
    assert kept_after(function) == kept


def test_a_kept_generator_is_not_set_for_runs(torch: FakeGenerator) -> None:
    seeds = RunSeeds(3)
    seeds.call_init_fn(lambda: np.random.seed(5), 11)
    np.random.seed(5)
    wanted = np.random.rand(2).tolist()
    np.random.seed(5)
    seeds.set_for_run(0, 0)
    one, first = np.random.rand(), random.random()
    seeds.set_for_run(0, 0)
    assert [one, np.random.rand()] == wanted
    assert random.random() == first


def test_worker_init_fn_finds_generators_with_its_worker_s_seed(torch: FakeGenerator) -> None:
    seen: list[Any] = []
    hooks = ItemHooks(seed=100)
    hooks.call_init_fn(lambda worker: seen.append((worker, torch.initial_seed())), 3)
    assert seen == [(3, 103)]
    ItemHooks(2**64 - 1).call_init_fn(lambda worker: seen.append(torch.initial_seed()), 3)
    assert seen[1] == 2


def test_importing_torch_in_worker_init_fn_is_no_seeding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    module = SimpleNamespace(default_generator=FakeGenerator())

    def imports_torch() -> None:
        monkeypatch.setitem(sys.modules, "torch", module)  # type: ignore[arg-type]

    assert kept_after(imports_torch) == frozenset()


def test_an_error_of_worker_init_fn_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        kept_after(lambda: 1 // 0)


# ---------------------------------------------------------------- hooks


def augmented(hooks: ItemHooks, rows: range, epoch: int = 0) -> list[tuple[Any, ...]]:
    """Make the rows of one run, as a worker or the training process does."""
    hooks.begin_run(epoch, rows[0])
    made = []
    for row in rows:
        hooks.begin_item(epoch, 100 - row)
        made.append((item_rng().random(), *draws()))
    hooks.end_items()
    return made


def test_runs_are_equal_whoever_makes_them_and_in_whatever_order() -> None:
    runs = [range(4), range(4, 8), range(8, 9)]
    one = ItemHooks(seed=5)
    with one.active():
        wanted = [augmented(one, run) for run in runs]
    two = [pickle.loads(pickle.dumps(ItemHooks(seed=5))) for _ in range(2)]
    made: dict[int, Any] = {}
    for number in (2, 0, 1):
        hooks = two[number % 2]
        with hooks.active():
            made[number] = augmented(hooks, runs[number])
    assert [made[number] for number in range(3)] == wanted
    other = ItemHooks(seed=6)
    with other.active():
        assert augmented(other, runs[0]) != wanted[0]


def test_the_number_of_the_loop_above_a_row_number_changes_nothing() -> None:
    hooks = ItemHooks(0)
    hooks.begin_run(1, 8)
    first = draws()
    hooks.begin_run(1, 8 + 5 * ROW_LIMIT)
    assert draws() == first


def test_making_items_here_leaves_the_caller_s_generators() -> None:
    wanted_after = generator_states()
    expected = draws()
    set_generator_states(wanted_after)
    hooks = ItemHooks(0)
    with hooks.active():
        augmented(hooks, range(3))
    assert draws() == expected


def test_new_seeds_differ_and_fit_everywhere() -> None:
    seeds = {new_seed() for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)
