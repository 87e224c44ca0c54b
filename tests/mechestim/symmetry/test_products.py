"""The symmetry of einsum results, compared with the distinct values of real ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.symmetry.info import Groups
from shm_echo.mechestim.symmetry.products import Factor, ProductSymmetry, symmetry_of_product


def tensor(seed: int, shape: tuple[int, ...], groups: Groups) -> np.ndarray:
    """Return random integers, symmetric along `groups`."""
    values = np.random.default_rng(seed).integers(1, 1 << 18, shape)
    result = np.empty_like(values)
    for place in itertools.product(*map(range, shape)):
        first = list(place)
        for group in groups:
            for axis, value in zip(group, sorted(place[a] for a in group), strict=True):
                first[axis] = value
        result[place] = values[tuple(first)]
    return result


def found(
    terms: Sequence[str],
    output: str,
    tensors: Sequence[int],
    groups: Sequence[Groups],
    size: int = 3,
) -> tuple[int, int, ProductSymmetry | None]:
    """Return the unique elements by search and by the values of a real result, and the symmetry."""
    sizes = dict.fromkeys("".join(terms), size)
    factors = [
        Factor(number, tuple(term), group)
        for number, term, group in zip(tensors, terms, groups, strict=True)
    ]
    symmetry = symmetry_of_product(factors, output, sizes)
    arrays = [
        tensor(number, (size,) * len(term), group)
        for number, term, group in zip(tensors, terms, groups, strict=True)
    ]
    result = np.einsum(f"{','.join(terms)}->{output}", *arrays)
    unique = size ** len(output) if symmetry is None else symmetry.unique_elements
    return unique, len(np.unique(result)), symmetry


NONE: Groups = ()
PAIR: Groups = ((0, 1),)


@pytest.mark.parametrize(
    ("terms", "output", "tensors", "groups", "text"),
    [
        (["ij", "ik"], "jk", [0, 0], [NONE] * 2, "S2{j,k}"),
        (["ij", "kj"], "ik", [0, 0], [NONE] * 2, "S2{i,k}"),
        (["ij", "ik", "il"], "jkl", [0] * 3, [NONE] * 3, "S3{j,k,l}"),
        (["ijk", "ilm"], "jklm", [0, 0], [NONE] * 2, "S2{jk,lm}"),
        (["ab", "cd"], "abcd", [0, 0], [NONE] * 2, "S2{ab,cd}"),
        (["a", "b", "c"], "abc", [0, 0, 0], [NONE] * 3, "S3{a,b,c}"),
        (["ijk", "ai"], "ajk", [0, 1], [((0, 1, 2),), NONE], "S2{j,k}"),
        (["ab", "cd"], "abcd", [0, 0], [PAIR] * 2, "S2{a,b} S2{c,d} S2{ab,cd}"),
        (["ij", "jk"], "ik", [0, 0], [PAIR] * 2, "S2{i,k}"),
        (["ij", "jk", "kl"], "il", [0, 0, 0], [PAIR] * 3, "S2{i,l}"),
        (["ij", "jk", "ki"], "ijk", [0, 0, 0], [NONE] * 3, "order 3"),
        (["bij", "bik"], "bjk", [0, 0], [NONE] * 2, "S2{j,k}"),
        (["ab", "cd", "ef"], "abcdef", [0] * 3, [NONE] * 3, "S3{ab,cd,ef}"),
        (["abc"], "cab", [0], [((0, 2),)], "S2{c,a}"),
    ],
)
def test_known_symmetries_are_found_completely(
    terms: list[str], output: str, tensors: list[int], groups: list[Groups], text: str
) -> None:
    unique, different, symmetry = found(terms, output, tensors, groups)
    assert unique == different
    assert str(symmetry) == text


@pytest.mark.parametrize(
    ("terms", "output", "tensors", "groups"),
    [
        (["ij", "jk"], "ik", [0, 0], [NONE] * 2),  # a product with itself is not symmetric
        (["ij", "ik"], "jk", [0, 1], [NONE] * 2),  # equal labels, different tensors
        (["ij", "j"], "i", [0, 1], [PAIR, NONE]),  # symmetry that is summed away
        (["ij", "jk"], "ik", [0, 1], [PAIR, PAIR]),
        (["ij", "ik"], "", [0, 0], [NONE] * 2),
    ],
)
def test_a_product_without_symmetry_gets_none(
    terms: list[str], output: str, tensors: list[int], groups: list[Groups]
) -> None:
    unique, different, symmetry = found(terms, output, tensors, groups)
    assert symmetry is None
    assert unique == different


@st.composite
def products(draw: st.DrawFn) -> tuple[list[str], str, list[int], list[Groups]]:
    kinds = draw(
        st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from([NONE, PAIR, ((0, 1, 2),), ((0, 2),)])),
            min_size=1,
            max_size=2,
        )
    )
    kinds = [(rank, g if all(max(x) < rank for x in g) else NONE) for rank, g in kinds]
    tensors = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=3))
    terms = [
        "".join(draw(st.lists(st.sampled_from("abcd"), min_size=kinds[t][0], max_size=kinds[t][0])))
        for t in tensors
    ]
    labels = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(labels)))[: draw(st.integers(0, len(labels)))]
    return terms, output, tensors, [kinds[t][1] for t in tensors]


@settings(max_examples=120, deadline=None)
@given(products())
def test_a_result_never_has_more_different_values_than_are_charged(
    case: tuple[list[str], str, list[int], list[Groups]],
) -> None:
    unique, different, _ = found(*case)
    assert different <= unique


@settings(max_examples=100, deadline=None)
@given(products())
def test_exchanging_the_labels_of_a_class_leaves_the_result_unchanged(
    case: tuple[list[str], str, list[int], list[Groups]],
) -> None:
    terms, output, tensors, groups = case
    _, _, symmetry = found(terms, output, tensors, groups)
    if symmetry is None:
        return
    arrays = [tensor(n, (3,) * len(t), g) for n, t, g in zip(tensors, terms, groups, strict=True)]
    result = np.einsum(f"{','.join(terms)}->{output}", *arrays)
    for members in symmetry.classes:
        one, other = output.index(members[0]), output.index(members[-1])
        np.testing.assert_array_equal(result, result.swapaxes(one, other))


def test_a_large_group_is_counted_without_listing_it() -> None:
    labels = "abcdefghijkl"
    symmetry = symmetry_of_product(
        [Factor(0, tuple(labels), (tuple(range(12)),))], labels, dict.fromkeys(labels, 2)
    )
    assert symmetry is not None
    assert symmetry.unique_elements == 13  # the number of indices of the twelve that are 1


def test_a_group_of_blocks_that_is_too_large_to_list_saves_nothing() -> None:
    terms = [chr(65 + 2 * i) + chr(66 + 2 * i) for i in range(9)]
    labels = "".join(terms)
    factors = [Factor(0, tuple(term)) for term in terms]
    assert symmetry_of_product(factors, labels, dict.fromkeys(labels, 2)) is None
