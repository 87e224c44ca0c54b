"""The task of a batch as words of the order table."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from shm_echo.loader.order import IndexBatch
from shm_echo.loader.tasks import (
    KeyTask,
    StreamTask,
    decode_task,
    encode_keys,
    encode_stream,
    words_needed,
)

KEYS: list[Any] = [
    np.array([5], np.int64),
    np.array([-(2**63), 2**63 - 1, 0], np.int64),
    np.arange(100),
    ("a", ("b", None), 2**80),
    tuple("xy" * 50),
]


@pytest.mark.parametrize("indices", KEYS, ids=lambda keys: f"{type(keys).__name__} {len(keys)}")
@pytest.mark.parametrize("single", [False, True])
def test_keys_come_back_and_never_half_of_them(indices: Any, single: bool) -> None:
    batch = IndexBatch(3, 1, indices, single)
    needed = words_needed(batch)
    assert needed > len(batch.keys())  # each row has a number among the words
    for words in range(1, needed):
        assert encode_keys(batch, words) is None
    for words in (needed, needed + 1, needed + 50):
        entry = encode_keys(batch, words)
        assert entry is not None
        assert len(entry) == words
        assert decode_task(tuple(entry.tolist())) == KeyTask(batch.keys(), single)


def test_the_number_of_a_shard_s_batch_comes_back() -> None:
    for number in (0, 1, random.getrandbits(40)):
        assert decode_task(tuple(encode_stream(number, 9).tolist())) == StreamTask(number)


def test_keys_that_can_not_be_pickled_are_named() -> None:
    with pytest.raises(TypeError, match="keys that cannot be pickled"):
        words_needed(IndexBatch(0, 0, (lambda: None,)))
