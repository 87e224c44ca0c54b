"""Values on the wire: a round trip keeps them, and bytes that are no value are refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.errors import ProtocolError
from shm_echo.mechestim.errors import NotSendableError
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.value_codec import SessionValueCodec
from shm_echo.mechestim.wire import Wire

PLAIN = Wire(lambda value: None, {})

LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.just(Ellipsis)
    | st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none())
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def values() -> SessionValueCodec:
    return SessionValueCodec(HandleTable(Quotas()), lambda number: number)


@given(VALUES)
@settings(deadline=None)
def test_packed_values_unpack_to_equal_values_of_the_same_types(value: Any) -> None:
    found = PLAIN.unpack(PLAIN.pack(value))
    assert found == value
    assert repr(found) == repr(value)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    for read in (PLAIN.unpack, values().unpack):
        try:
            read(data)
        except ProtocolError:
            continue


@given(VALUES, st.data())
@settings(max_examples=300, deadline=None)
def test_changed_bytes_are_a_value_or_a_protocol_error(value: Any, data: st.DataObject) -> None:
    packed = bytearray(PLAIN.pack({"id": 1, "a": [value]}))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        values().unpack(bytes(packed))
    except ProtocolError:
        return


@given(st.integers(0, 20), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_extensions_with_any_contents_are_noted_or_refused(code: int, content: bytes) -> None:
    one = values()
    try:
        message = one.unpack(msgpack.packb({"id": 1, "a": [msgpack.ExtType(code, content)]}))
    except ProtocolError:
        return
    assert message["id"] == 1
    assert one.deferred_error is None or isinstance(one.deferred_error, Exception)


@pytest.mark.parametrize("value", [object(), {1, 2}, print])
def test_a_value_without_a_wire_form_is_refused_by_the_name_of_its_type(value: Any) -> None:
    with pytest.raises(NotSendableError, match=f"{type(value).__name__} objects cannot be sent"):
        PLAIN.pack({"a": [value]})


def test_a_value_that_holds_itself_is_refused_and_the_next_one_is_not() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotSendableError, match="nested too deeply"):
        PLAIN.pack(endless)
    assert PLAIN.unpack(PLAIN.pack([1, (2, 3)])) == [1, (2, 3)]
