"""Lists of numbers at ragged leaves: C takes the usual ones, by the rule of the check in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import Ragged, Server, SpecMismatchError
from shm_echo.spec import TreeSpec

DTYPES = [np.dtype(code) for code in "?bBhHiIqQefdFD"] + [np.dtype(">i4"), np.dtype(">f8")]
EDGES = [*(2**bits for bits in (7, 8, 15, 16, 31, 32, 53, 63, 64)), 65504, 65520, 0, 1]
INTEGERS = [n + d for n in EDGES for d in (-1, 0, 1)]
NUMBERS = st.one_of(
    st.booleans(),
    st.sampled_from([*INTEGERS, *(-n for n in INTEGERS)]),
    st.sampled_from([0.0, -0.0, 0.5, 65504.0, 65520.0, 3.4028235e38, 3.41e38, -1e300]),
    st.sampled_from([float("inf"), float("-inf"), float("nan")]),
    st.integers(-5, 300),
)


def outcome(call: Any) -> tuple[int, bytes] | None:
    """Return length and bytes of a row; None if it is refused."""
    try:
        padded, length = call()
    except SpecMismatchError:
        return None
    return int(length), padded.tobytes()


@settings(max_examples=20)
@given(
    values=st.lists(st.lists(NUMBERS, max_size=6), min_size=1, max_size=12),
    sequence=st.sampled_from([list, tuple]),
    truncate=st.booleans(),
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_list_becomes_the_same_row_in_c_and_in_python(
    dtype: Any, values: list[list[Any]], sequence: Any, truncate: bool
) -> None:
    ragged = Ragged(dtype, 4, truncate=truncate)
    spec = TreeSpec.from_example([ragged])
    with Server([ragged], 1) as server:
        for value in values:
            row = sequence(value)

            def sent(row: Any = row) -> Any:
                server.submit([row])
                sample = server.sample(timeout=0)
                assert sample is not None
                batch = sample.batch[0]
                return batch.padded[0], batch.lengths[0]

            assert outcome(sent) == outcome(lambda row=row: spec.check([row]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_each_number_of_a_row_is_taken_as_at_a_0d_leaf(dtype: Any) -> None:
    row, leaf = (
        TreeSpec.from_example([Ragged(dtype, 1)]),
        TreeSpec.from_example([np.zeros((), dtype)]),
    )
    for number in [*INTEGERS, *(-n for n in INTEGERS), 0.5, 1e300, float("nan"), True]:
        try:
            wanted = leaf.check([number])[0].tobytes()
        except SpecMismatchError:
            with pytest.raises(SpecMismatchError):
                row.check([[number]])
        else:
            assert row.check([[number]])[0].tobytes() == wanted
