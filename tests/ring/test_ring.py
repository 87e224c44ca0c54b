"""Opening a ring: both sides map the same memory, or the error gives the reason."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import ProtocolError
from shm_echo.ring import _core_cpython
from shm_echo.ring.core import Result, check_result, ffi, layout_bytes, lib, make_config
from shm_echo.ring.ring import Ring, RingConfig
from shm_echo.spec import TreeSpec
from tests.support.numbered import EXAMPLE, numbered

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SPEC = TreeSpec.from_example(EXAMPLE)
CONFIG = RingConfig(batch_size=4, num_buffers=3, max_producers=2, detailed=False)


def raise_for_result(result: int, sent: int, timeout: Any) -> None:
    raise RuntimeError(Result(result).name, sent, timeout)


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.create(SPEC, CONFIG, "memfd")
    yield ring
    ring.segment.close()


def other_side(ring: Ring, spec: TreeSpec = SPEC, **changes: Any) -> Ring:
    config = dataclasses.replace(CONFIG, **changes)
    return Ring.attach(spec, config, os.dup(ring.segment.fileno()))


# ---------------------------------------------------------------- both sides


def test_a_sample_of_one_side_arrives_at_the_other(ring: Ring) -> None:
    sender = other_side(ring).sender(1, raise_for_result)
    receiver = ring.receiver(lease=False, writable=False, poisoned=False)
    handover = receiver.handover()
    assert handover.begin(0.0)
    assert handover.take(False) is None
    for i in range(4):
        sender.send(numbered(i))
    n, x = handover.take(False) or ()
    handover.confirm()
    assert n.tolist() == [0, 1, 2, 3]
    assert x[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 2},
        {"num_buffers": 2},
        {"max_producers": 1},
        {"batch_size": 3, "num_buffers": 4},
    ],
    ids=str,
)
def test_a_ring_of_other_sizes_is_refused(ring: Ring, changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="made for another example or another size"):
        other_side(ring, **changes)


@pytest.mark.parametrize(
    "example",
    [
        {"x": np.zeros(3, np.int32), "n": np.int64(0)},  # the same bytes
        {"y": np.zeros(3, np.float32), "n": np.int64(0)},
        [np.zeros(3, np.float32), np.int64(0)],
    ],
    ids=str,
)
def test_a_ring_of_another_example_is_refused_even_if_the_sizes_agree(
    ring: Ring, example: Any
) -> None:
    with pytest.raises(ProtocolError, match="made for another example"):
        other_side(ring, TreeSpec.from_example(example))


def test_a_ring_larger_than_the_memory_is_rejected(ring: Ring) -> None:
    with pytest.raises(ValueError, match=r"shared memory of \d+ bytes cannot hold"):
        other_side(ring, num_buffers=3000)


def test_memory_without_a_ring_is_rejected(ring: Ring) -> None:
    memoryview(ring.segment.mapping)[:8] = b"not ours"
    with pytest.raises(ProtocolError, match=r"the shared memory .* holds no ring"):
        other_side(ring)


def test_a_ring_of_another_layout_version_is_refused(ring: Ring) -> None:
    """The version is the word after the magic (csrc/include/shm_echo/layout.h)."""
    version = int.from_bytes(memoryview(ring.segment.mapping)[8:12], "little")
    assert f"SHE_LAYOUT_VERSION {version}" in (CSRC / "include/shm_echo/layout.h").read_text()
    memoryview(ring.segment.mapping)[8:12] = (version + 1).to_bytes(4, "little")
    with pytest.raises(
        ProtocolError, match="layout version differs: install the same shm-echo on both sides"
    ):
        other_side(ring)


def test_a_closed_ring_rejects_claims_and_wakes_the_receiver(ring: Ring) -> None:
    sender = other_side(ring).sender(1, raise_for_result)
    receiver = ring.receiver(lease=False, writable=False, poisoned=False)
    ring.close()
    with pytest.raises(RuntimeError, match="CLOSED"):
        sender.send(numbered(0))
    assert receiver.wait(10**9) == Result.CLOSED


def test_an_owner_id_without_a_record_is_rejected(ring: Ring) -> None:
    ring.sender(2, raise_for_result)
    with pytest.raises(ValueError, match="no such owner id"):
        ring.sender(3, raise_for_result)


# ---------------------------------------------------------------- sizes


def test_capacity_is_the_number_of_slots() -> None:
    assert CONFIG.capacity == 12


def test_the_ring_takes_room_for_its_samples_and_little_more() -> None:
    spec = TreeSpec.from_example(np.zeros(1 << 18, np.uint8))
    ring = Ring.create(spec, CONFIG, "private")
    samples = CONFIG.capacity * (1 << 18)
    assert samples < ring.segment.size < samples + (1 << 20)


@pytest.mark.parametrize("batch_size", [2**31, 2**40])
def test_more_samples_than_a_ring_can_have_are_rejected(batch_size: int) -> None:
    config = dataclasses.replace(CONFIG, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"at most 2\*\*31 samples in the ring"):
        Ring.create(SPEC, config, "private")


def test_more_bytes_than_there_are_addresses_are_rejected() -> None:
    config, keep = make_config(
        [1 << 60], bytes(32), batch_size=1 << 10, num_buffers=2, max_producers=1, detailed=False
    )
    with pytest.raises(ValueError, match=r"less than 2\*\*63 bytes"):
        layout_bytes(config)
    assert keep


# ---------------------------------------------------------------- numbers of the C side


def test_the_results_are_those_of_the_header() -> None:
    header = (CSRC / "include/shm_echo/ring.h").read_text()
    enum = re.search(r"enum she_result \{(.*?)\};", header, re.DOTALL)
    assert enum is not None
    found = {name: int(n) for name, n in re.findall(r"SHE_(\w+) = (-?\d+)", enum[1])}
    assert found == {r.name: r.value for r in Result if r is not Result.GONE}


def test_every_result_of_an_opening_has_its_own_error() -> None:
    check_result(Result.OK, "this")
    with pytest.raises(ValueError, match=r"^this: sizes must be positive"):
        check_result(Result.E_CONFIG, "this")
    with pytest.raises(MemoryError, match=r"^this$"):
        check_result(Result.E_MEMORY, "this")
    messages = set()
    for result in (Result.E_MAGIC, Result.E_VERSION, Result.E_MISMATCH, Result.E_SIZE):
        with pytest.raises(ProtocolError, match=r"^this: the ") as caught:
            check_result(result, "this")
        messages.add(str(caught.value))
    assert len(messages) == 4


def test_the_two_extension_modules_must_come_from_one_build() -> None:
    with pytest.raises(ImportError, match="come from different builds: reinstall shm-echo"):
        _core_cpython.bind(0)
    table = ffi.cast("char *", lib.she_api_table())
    other = ffi.new("char[]", ffi.buffer(table, 64)[:])
    other[0] = bytes([ord(other[0]) ^ 0xFF])
    with pytest.raises(ImportError, match="come from different builds"):
        _core_cpython.bind(int(ffi.cast("uintptr_t", other)))
