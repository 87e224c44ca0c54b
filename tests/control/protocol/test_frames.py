"""Frames: bytes cut anywhere give the same payloads, and lengths are checked first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.control.protocol.frames import MAX_FRAME, FrameDecoder, encode_frame
from shm_echo.errors import ProtocolError


def drain(decoder: FrameDecoder) -> list[bytes]:
    return list(iter(decoder.next_frame, None))


def test_a_frame_is_a_little_endian_length_and_the_payload() -> None:
    assert encode_frame(b"abc") == b"\x03\x00\x00\x00abc"


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_frames_come_out_whole_however_the_bytes_are_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    decoder = FrameDecoder()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        decoder.feed(stream[:size])
        stream = stream[size:]
        found += drain(decoder)
    assert found == payloads
    assert not decoder.has_partial_frame


def test_frames_come_out_byte_by_byte() -> None:
    decoder = FrameDecoder()
    found = []
    for byte in encode_frame(b"abc") + encode_frame(b"d"):
        decoder.feed(bytes([byte]))
        found += drain(decoder)
    assert found == [b"abc", b"d"]


def test_a_part_of_a_frame_is_unfinished() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"\x03")
    assert decoder.next_frame() is None
    assert decoder.has_partial_frame


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0xFFFFFFFF])
def test_a_bad_length_is_refused_on_its_four_bytes_and_for_ever(length: int) -> None:
    decoder = FrameDecoder()
    decoder.feed(length.to_bytes(4, "little"))
    for _ in range(2):
        with pytest.raises(ProtocolError, match=f"a frame of {length:,} bytes was announced"):
            decoder.next_frame()
        decoder.feed(encode_frame(b"a good one"))
    assert not decoder.has_partial_frame


def test_the_longest_frame_passes_and_one_more_byte_does_not() -> None:
    decoder = FrameDecoder(max_frame=10)
    decoder.feed(encode_frame(b"x" * 10, max_frame=10))
    assert decoder.next_frame() == b"x" * 10
    with pytest.raises(ValueError, match="11 bytes is above the limit of 10"):
        encode_frame(b"x" * 11, max_frame=10)
    with pytest.raises(ValueError, match="cannot be empty"):
        encode_frame(b"")


def test_reading_what_is_missing_takes_nothing_that_follows() -> None:
    decoder = FrameDecoder()
    stream = encode_frame(b"abc") + b"more"
    position = 0
    while (payload := decoder.next_frame()) is None:
        decoder.feed(stream[position : (position := position + decoder.missing)])
    assert payload == b"abc"
    assert stream[position:] == b"more"
    assert not decoder.has_partial_frame
