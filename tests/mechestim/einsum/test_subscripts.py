"""Subscripts are read as NumPy reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.costs.subscripts import from_arguments, parse


def by_numpy(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return the shape of NumPy's result, `None` if NumPy refuses."""
    try:
        return np.shape(np.einsum(subscripts, *(np.ones(shape) for shape in shapes)))
    except ValueError:
        return None


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Draw subscripts that are mostly right, and shapes that mostly fit."""
    lengths = {label: draw(st.sampled_from([1, 2, 3])) for label in "abcB"}
    shapes, terms = [], []
    for _ in range(draw(st.integers(1, 3))):
        labels = draw(st.lists(st.sampled_from("abcB"), max_size=3))
        shape = [draw(st.sampled_from([lengths[x], lengths[x], 1])) for x in labels]
        if draw(st.booleans()):
            place = draw(st.integers(0, len(labels)))
            extra = draw(st.lists(st.sampled_from([1, 4]), max_size=2))
            labels.insert(place, "...")
            shape[place:place] = extra
        terms.append("".join(labels))
        shapes.append(tuple(shape))
    text = ",".join(terms)
    if draw(st.booleans()):
        output = draw(st.permutations([x for x in "abcB" if x in text]))
        output = output[: draw(st.integers(0, len(output)))]
        if draw(st.booleans()):
            output.insert(draw(st.integers(0, len(output))), "...")
        text += "->" + "".join(output)
    return text, shapes


@settings(max_examples=150, deadline=None)
@given(calls())
def test_the_output_has_the_shape_that_numpy_gives(
    call: tuple[str, list[tuple[int, ...]]],
) -> None:
    expected = by_numpy(*call)
    if expected is None:
        with pytest.raises(ValueError, match="einsum"):
            parse(*call)
    else:
        assert parse(*call).output_shape == expected


@pytest.mark.parametrize(
    ("subscripts", "shapes", "expected"),
    [
        ("ij,jk", [(2, 3), (3, 4)], "ij,jk->ik"),
        (" i j , j k -> k i ", [(2, 3), (3, 4)], "ij,jk->ki"),
        ("ba", [(2, 3)], "ba->ab"),
        ("bA", [(2, 3)], "bA->Ab"),
        ("ii", [(3, 3)], "ii->"),
        ("...i,i...", [(2, 3), (3, 2)], "Ai,iA->A"),
        ("A...", [(2, 3)], "AB->BA"),
        ("i->...i", [(3,)], "i->i"),
        ("", [()], "->"),
    ],
)
def test_worked_subscripts(subscripts: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    assert str(parse(subscripts, shapes)) == expected


@pytest.mark.parametrize(
    ("subscripts", "shapes", "words"),
    [
        ("ij", [(2, 3), (2, 3)], "name 1 operands, not 2"),
        ("ij", [(2,)], "operand 0 has 1 axes"),
        ("i1", [(2, 3)], "'1', not a letter"),
        ("i..", [(2,)], "not a letter"),
        ("i- >i", [(2,)], "space inside"),
        ("i->ii", [(2,)], "twice"),
        ("i->j", [(2,)], "'j' is not in the inputs"),
        ("...i->i", [(2, 3)], "needs an ellipsis"),
        ("ij,jk", [(2, 3), (4, 5)], "'j' has lengths 3 and 4"),
        ("ii", [(1, 3)], "lengths 1 and 3 in one operand"),
    ],
)
def test_subscripts_that_numpy_refuses_are_refused_with_the_reason(
    subscripts: str, shapes: list[tuple[int, ...]], words: str
) -> None:
    assert by_numpy(subscripts, shapes) is None
    with pytest.raises(ValueError, match=words):
        parse(subscripts, shapes)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("ij,jk", 1, 2), ("ij,jk", (1, 2))),
        ((b"ij", 1), ("ij", (1,))),
        ((1, [0, 1], 2, [1, 2]), ("AB,BC", (1, 2))),
        ((1, [0, 1], 2, [1, 2], [2, 0]), ("AB,BC->CA", (1, 2))),
        ((1, (Ellipsis, 26), [26, Ellipsis]), ("...a->a...", (1,))),
    ],
)
def test_both_call_forms_are_parsed(arguments: tuple[Any, ...], expected: object) -> None:
    assert from_arguments(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((), ValueError), ((1,), ValueError), ((1, [52]), ValueError), ((1, [-1]), ValueError),
     ((1, [0.5]), TypeError), ((1, [True]), TypeError), ((1, "ij"), TypeError)],
)  # fmt: skip
def test_labels_that_numpy_refuses_are_refused(
    arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        from_arguments(arguments)
