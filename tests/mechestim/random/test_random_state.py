"""Seeds, states, pickles, copies and children of the generators."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS
from tests.mechestim.backend_mode import LOCAL


def same(got: Any, expected: Any) -> None:
    """Compare without charging for it."""
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


@pytest.fixture(autouse=True)
def budget() -> Any:
    with me.BudgetContext(10**9, quiet=True) as opened:
        yield opened


@pytest.mark.local_only("numpy classes")
def test_seed_and_state_are_those_of_numpys_global_generator(budget: me.BudgetContext) -> None:
    me.random.seed(42)
    state = np.random.get_state()
    first = me.random.random(3)
    np.random.set_state(state)
    same(first, np.random.random(3))
    kept = me.random.get_state()
    second = me.random.standard_normal(3)
    me.random.set_state(kept)
    same(second, np.random.standard_normal(3))
    me.random.set_state(me.random.get_state(legacy=False))
    assert budget.flops_used == 6


def test_a_random_state_keeps_its_spare_normal_number_when_restored() -> None:
    ours, theirs = me.random.RandomState(5), np.random.RandomState(5)
    ours.randn(), theirs.randn()  # draws a pair: the state keeps the other
    state = ours.get_state()
    assert state[3] == 1
    numbers = theirs.randn(4)
    same(ours.randn(4), numbers)
    ours.set_state(state)
    same(ours.randn(4), numbers)
    ours.seed(5)
    theirs.seed(5)
    same(ours.randn(3), theirs.randn(3))


def _random_state() -> Any:
    state = me.random.RandomState(5)
    state.randn()
    return state


MAKERS = [_random_state, lambda: me.random.default_rng(5)]
COPIES = [copy.deepcopy, *(lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in (2, 5))]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_continues_with_the_same_numbers_independently(
    make: Any, duplicate: Any, budget: me.BudgetContext
) -> None:
    original = make()
    twin = duplicate(original)
    assert type(twin) is type(original)
    numbers = np.asarray(original.normal(size=5))
    same(twin.normal(size=5), numbers)
    before = budget.flops_used
    twin.normal(size=5)
    assert budget.flops_used - before == 5
    twin.normal(size=50)
    expected = make()
    expected.normal(size=5)
    same(original.normal(size=5), expected.normal(size=5))  # the draws of the copy changed nothing


def test_a_shallow_copy_of_a_generator_shares_its_stream() -> None:
    original, plain = me.random.default_rng(5), np.random.default_rng(5)
    twin = copy.copy(original)
    got = [float(source.random()) for source in (original, twin, original)]
    assert got == plain.random(3).tolist()


@pytest.mark.local_only("numpy classes")
def test_generators_are_numpys_to_an_isinstance_check() -> None:
    assert isinstance(me.random.RandomState(1), np.random.RandomState)
    assert isinstance(me.random.default_rng(1), np.random.Generator)
    assert isinstance(me.random.default_rng(1), me.random.Generator)
    assert issubclass(me.random.RandomState, np.random.RandomState)


def test_the_repr_of_a_generator_names_its_bit_generator() -> None:
    assert repr(me.random.default_rng(1)).startswith("Generator(PCG64) at")
    assert str(me.random.RandomState(1)) == "RandomState(MT19937)"


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_every_bit_generator_drives_both_classes(name: str) -> None:
    ours, theirs = getattr(me.random, name), getattr(np.random, name)
    assert (ours is theirs) == LOCAL
    for kind in ("Generator", "RandomState"):
        got = getattr(me.random, kind)(ours(9)).standard_normal(4)
        same(got, getattr(np.random, kind)(theirs(9)).standard_normal(4))


def test_default_rng_takes_every_kind_of_seed() -> None:
    sequence = me.random.SeedSequence(7)
    seeds = (7, [1, 2, 3], sequence, me.random.PCG64(7), me.array([1, 2, 3]), me.sum([3, 4]))
    plain = (7, [1, 2, 3], np.random.SeedSequence(7), np.random.PCG64(7), [1, 2, 3], 7)
    for ours, theirs in zip(seeds, plain, strict=True):
        expected = np.random.default_rng(theirs).random(2)
        same(me.random.default_rng(ours).random(2), expected)
    assert me.random.default_rng().random() != me.random.default_rng().random()


def test_default_rng_returns_a_counted_generator_itself() -> None:
    ours = me.random.default_rng(3)
    assert me.random.default_rng(ours) is ours


@pytest.mark.local_only("numpy classes")
def test_default_rng_of_a_plain_generator_counts_and_shares_its_stream(
    budget: me.BudgetContext,
) -> None:
    theirs, alike = np.random.default_rng(3), np.random.default_rng(3)
    ours = me.random.default_rng(theirs)
    assert isinstance(ours, me.random.Generator)
    assert [float(ours.random()), theirs.random()] == alike.random(2).tolist()
    assert budget.flops_used == 1


def test_children_count_and_draw_numpys_numbers(budget: me.BudgetContext) -> None:
    ours, theirs = me.random.default_rng(3).spawn(2), np.random.default_rng(3).spawn(2)
    assert budget.flops_used == 0
    for child, twin in zip(ours, theirs, strict=True):
        assert type(child) is me.random.Generator
        same(child.normal(size=3), twin.normal(size=3))
    assert budget.flops_used == 6


def test_a_generator_keeps_the_bit_generator_that_it_was_given() -> None:
    source = me.random.PCG64(1)
    assert me.random.Generator(source).bit_generator is source


def test_methods_that_call_one_another_are_charged_once(budget: me.BudgetContext) -> None:
    state = me.random.RandomState(1)
    for call, flops in (
        (lambda: state.rand(3), 3),
        (lambda: state.randn(3), 3),
        (lambda: state.permutation(8), 24),
        (lambda: state.choice(8, 4), 4),
        (lambda: state.multivariate_normal([0.0, 0.0], np.eye(2), 5), 10),
    ):
        before = budget.flops_used
        call()
        assert budget.flops_used - before == flops


def test_the_global_bit_generator_can_be_replaced_and_put_back() -> None:
    kept = me.random.get_bit_generator()
    try:
        me.random.set_bit_generator(me.random.MT19937(4))
        assert me.random.get_bit_generator() is not kept
        expected = np.random.RandomState(np.random.MT19937(4)).random_sample(2)
        same(me.random.random_sample(2), expected)
    finally:
        me.random.set_bit_generator(kept)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"random\.normal"):
        me.random.normall  # noqa: B018


@pytest.mark.parametrize("owner", ["", "RandomState.", "Generator."])
def test_every_name_that_numpy_has_is_counted_or_known_to_be_free(owner: str) -> None:
    theirs = getattr(np.random, owner.rstrip(".")) if owner else np.random
    ours = getattr(me.random, owner.rstrip(".")) if owner else me.random
    registered = {
        name.removeprefix(f"random.{owner}") for name in OPS if name.startswith(f"random.{owner}")
    }
    modules = {"bit_generator", "mtrand", "test"} if not owner else set()
    for name in set(dir(theirs)) - modules:
        if name.startswith("_") or name in registered:
            continue
        assert getattr(ours, name) is getattr(theirs, name) or not owner, name
        assert name in (*me.random.__all__, "Generator", "RandomState"), name


def as_numbers(state: Any) -> Any:
    """Return a state with its arrays as lists."""
    if isinstance(state, dict):
        return {key: as_numbers(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_the_state_of_a_bit_generator_can_be_read_and_set(name: str) -> None:
    ours, theirs = getattr(me.random, name)(9), getattr(np.random, name)(9)
    state = ours.state
    assert as_numbers(state) == as_numbers(theirs.state)
    first = np.asarray(me.random.Generator(ours).random(3))
    assert as_numbers(ours.state) != as_numbers(state)
    ours.state = state
    same(me.random.Generator(ours).random(3), first)
    again = pickle.loads(pickle.dumps(ours))
    same(me.random.Generator(again).random(3), me.random.Generator(ours).random(3))
    children = zip(ours.spawn(2), theirs.spawn(2), strict=True)
    for child, twin in children:
        same(me.random.Generator(child).random(2), np.random.Generator(twin).random(2))


def test_a_bit_generator_jumps_and_advances() -> None:
    ours, theirs = me.random.PCG64(9), np.random.PCG64(9)
    same(
        me.random.Generator(ours.jumped(2)).random(2),
        np.random.Generator(theirs.jumped(2)).random(2),
    )
    ours.advance(5)
    theirs.advance(5)
    same(me.random.Generator(ours).random(2), np.random.Generator(theirs).random(2))


def test_a_seed_sequence_has_the_attributes_of_numpys() -> None:
    ours, theirs = me.random.SeedSequence(7), np.random.SeedSequence(7)
    same(ours.generate_state(3), theirs.generate_state(3))
    for child, twin in zip(ours.spawn(2), theirs.spawn(2), strict=True):
        assert tuple(child.spawn_key) == tuple(twin.spawn_key)
        same(child.generate_state(2), twin.generate_state(2))
    for name in ("entropy", "pool_size", "n_children_spawned", "state"):
        assert getattr(ours, name) == getattr(theirs, name)
