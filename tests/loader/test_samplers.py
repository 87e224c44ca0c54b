"""The loader's own samplers: permutations, draws by weight, and streams of random words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.loader import mixing
from shm_echo.loader.samplers import Weights, sequential, shuffled

SEEDS = st.integers(0, 2**64 - 1)
# Around the length from which the permutation is no longer sorted, and around powers of two.
LENGTHS = (1, 2, 3, 7, 100, 16_383, 16_384, 16_385, 32_768, 32_769, 65_536, 65_537, 100_003)


def order(length: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return shuffled(length, seed, epoch)(np.arange(length))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_shuffle_has_every_item_once(length: int) -> None:
    items = order(length, seed=3, epoch=5)
    assert items.dtype == np.int64
    np.testing.assert_array_equal(np.sort(items), np.arange(length))


@pytest.mark.parametrize("length", [100, 20_000])
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, epoch=st.integers(0, 2**32 - 1), data=st.data())
def test_a_position_alone_has_the_same_item_as_among_others(
    length: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    whole = shuffled(length, seed, epoch)(np.arange(length))
    some = np.array(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=20)))
    np.testing.assert_array_equal(shuffled(length, seed, epoch)(some), whole[some])


@pytest.mark.parametrize("length", [50, 20_000])
def test_seed_and_epoch_change_the_order(length: int) -> None:
    orders = {order(length, s, e).tobytes() for s in (0, 1, 2**64 - 1) for e in (0, 1, 2)}
    assert len(orders) == 9
    assert order(length, 1, 2).tobytes() == order(length, 1, 2).tobytes()
    assert order(length, 0, 1).tobytes() != order(length, 1, 0).tobytes()


def test_orders_of_few_items_are_equally_likely() -> None:
    counts: dict[bytes, int] = {}
    for seed in range(4_800):
        items = order(4, seed).tobytes()
        counts[items] = counts.get(items, 0) + 1
    assert len(counts) == 24
    # Chi-square with 23 degrees of freedom: above 60 in 4 of 100,000 cases.
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 60


@pytest.mark.parametrize("length", [16_384, 16_385, 40_000])
def test_a_long_shuffle_looks_random(length: int) -> None:
    """Items do not follow their positions, their neighbours or the order of another epoch."""
    items, other = (order(length, seed=7, epoch=e).astype(float) for e in (0, 1))
    positions = np.arange(length, dtype=float)
    limit = 5 / np.sqrt(length)
    for left, right in (
        (items, positions),
        (items[1:], items[:-1]),
        (items, other),
        (items[2:], items[:-2]),
    ):
        assert abs(np.corrcoef(left, right)[0, 1]) < limit
    # Each sixteenth of the epoch has each sixteenth of the items about equally often.
    table, _, _ = np.histogram2d(positions, items, bins=16)
    expected = length / 256
    assert ((table - expected) ** 2 / expected).sum() < 225 + 6 * np.sqrt(2 * 225)


@pytest.mark.parametrize("length", [16_500, 30_000])
def test_an_item_comes_anywhere_in_a_long_shuffle(length: int) -> None:
    places = np.array([shuffled(length, seed, 0)(np.arange(1))[0] for seed in range(1_600)])
    counts = np.histogram(places, bins=16, range=(0, length))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 50  # 15 degrees of freedom


def test_a_shuffle_of_a_billion_items_stores_nothing_per_item() -> None:
    code = """if True:
        import resource, numpy as np
        from shm_echo.loader.samplers import shuffled
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        items = shuffled(10**9, 0, 0)(np.arange(10**9 - 100_000, 10**9))
        assert len(np.unique(items)) == 100_000 and 0 <= items.min() <= items.max() < 10**9
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 64 * 1024  # KiB; 8 bytes an item would be 8 GB


def test_the_order_is_the_same_in_every_version() -> None:
    """Checkpoints count on it: the numbers come from the algorithm, not from NumPy's generators."""
    assert order(8, 0, 0).tolist() == [7, 2, 5, 0, 1, 4, 6, 3]
    assert shuffled(10**6, 1, 2)(np.arange(5)).tolist() == [108914, 664908, 782605, 297842, 47795]
    assert Weights([1, 2, 3], 3).draws(0, 0)(np.arange(8)).tolist() == [1, 1, 1, 2, 1, 1, 2, 2]


def test_sequential_is_the_identity() -> None:
    assert sequential(np.arange(3, 6)).tolist() == [3, 4, 5]


# ---------------------------------------------------------------- weights


def test_draws_follow_the_weights() -> None:
    weights = [0.0, 1.0, 2.0, 0.0, 5.0, 0.0]
    draws = Weights(weights, 6).draws(seed=1, epoch=0)(np.arange(80_000))
    counts = np.bincount(draws, minlength=6)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    expected = np.array([10_000, 20_000, 50_000])
    assert (((counts[[1, 2, 4]] - expected) ** 2) / expected).sum() < 25


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(0, 1e308)), min_size=1, max_size=40).filter(
        any
    ),
    seed=SEEDS,
)
def test_an_item_of_weight_0_is_never_drawn(weights: list[float], seed: int) -> None:
    draws = Weights(weights, len(weights)).draws(seed, 0)(np.arange(500))
    assert all(weights[item] > 0 for item in draws)


def test_draws_differ_by_epoch_and_seed_and_repeat_with_both() -> None:
    weights = Weights(np.ones(1000), 1000)
    drawn = [weights.draws(*key)(np.arange(50)).tolist() for key in [(0, 0), (0, 1), (1, 0)]]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]
    assert weights.draws(0, 1)(np.arange(50)).tolist() == drawn[1]
    assert weights.draws(0, 1)(np.arange(20, 50)).tolist() == drawn[1][20:]


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        (["a"], TypeError, "numbers"),
        ([1 + 2j], TypeError, "complex128"),
        ([1.0, 2.0], ValueError, r"each of the 1 items, not the shape \(2,\)"),
        ([[1.0]], ValueError, r"\(1, 1\)"),
        (1.0, ValueError, "one number for each"),
        ([-1.0], ValueError, "item 0 is -1.0"),
        ([float("nan")], ValueError, "item 0 is nan"),
        ([float("inf")], ValueError, "item 0 is inf"),
        ([0.0], ValueError, "0 for every item"),
    ],
)
def test_wrong_weights_are_refused(weights: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Weights(weights, 1)


def test_weights_are_copied() -> None:
    given_weights = np.array([1.0, 1.0])
    weights = Weights(given_weights, 2)
    before = weights.draws(0, 0)(np.arange(50)).tolist()
    given_weights[:] = [0, 1]
    assert weights.draws(0, 0)(np.arange(50)).tolist() == before


def test_the_digest_of_weights_tells_them_apart() -> None:
    same = [Weights(values, 2).digest() for values in ([1, 2], [1.0, 2.0], [2, 1])]
    assert same[0] == same[1] != same[2]


# ---------------------------------------------------------------- streams


@settings(max_examples=50, deadline=None)
@given(key=SEEDS, first=st.integers(0, 2**62))
def test_words_of_a_stream_are_the_same_one_by_one_and_together(key: int, first: int) -> None:
    positions = np.arange(first, first + 5)
    together = mixing.stream_words(key, positions)
    assert together.tolist() == [mixing.stream(key, int(i)) for i in positions]
    assert positions.tolist() == list(range(first, first + 5))


def test_the_stream_of_key_0_is_that_of_splitmix64() -> None:
    # The first outputs of the reference implementation with the state 0.
    assert [mixing.stream(0, i) for i in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_keys_depend_on_every_part_and_their_places() -> None:
    keys = {mixing.stream_key(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(keys) == 512
    assert mixing.stream_key(1) != mixing.stream_key(1, 0) != mixing.stream_key(0, 1)
