"""The codec: a message comes back equal, and hostile bytes cost no more than an error.

Everything runs with the compiled msgpack and with its pure-Python twin.
"""

from __future__ import annotations

import contextlib
import datetime
import random
import tracemalloc
from typing import Any

import msgpack
import msgpack.fallback
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from shm_echo.control.protocol import codec as codec_module
from shm_echo.control.protocol.codec import Codec, Extension, Limits
from shm_echo.errors import ProtocolError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
MESSAGES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)

PURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


class PythonMsgpack:
    """The pure-Python half of msgpack, with the names that the codec uses."""

    ExtType = msgpack.ExtType
    UnpackException = msgpack.UnpackException
    unpackb = staticmethod(msgpack.fallback.unpackb)

    @staticmethod
    def packb(value: Any, **options: Any) -> bytes:
        packed = msgpack.fallback.Packer(**options).pack(value)
        assert isinstance(packed, bytes)
        return packed


@pytest.fixture(params=["compiled", "pure"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Codec:
    if request.param == "pure":
        monkeypatch.setattr(codec_module, "msgpack", PythonMsgpack)
    return Codec()


@settings(deadline=None, suppress_health_check=PURE, max_examples=40)
@given(message=MESSAGES)
def test_a_message_comes_back_equal(codec: Codec, message: dict[str, Any]) -> None:
    try:
        data = codec.encode(message)
    except ValueError:
        reject()  # hypothesis likes to nest deeper than the limit
    assert codec.decode(data) == message


def test_tuples_travel_as_lists(codec: Codec) -> None:
    assert codec.decode(codec.encode({"shape": (2, 3)})) == {"shape": [2, 3]}


@settings(deadline=None, suppress_health_check=PURE)
@given(data=st.binary(max_size=200))
def test_random_bytes_give_a_map_or_a_protocol_error(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(codec.decode(data), dict)


@settings(deadline=None, suppress_health_check=PURE, max_examples=40)
@given(message=MESSAGES, data=st.data())
def test_damaged_messages_give_a_map_or_a_protocol_error(
    codec: Codec, message: dict[str, Any], data: st.DataObject
) -> None:
    packed = bytearray(msgpack.packb(message))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        assert isinstance(codec.decode(bytes(packed)), dict)


@settings(deadline=None, suppress_health_check=PURE, max_examples=40)
@given(message=MESSAGES.filter(bool), data=st.data())
def test_a_message_that_is_cut_anywhere_is_refused(
    codec: Codec, message: dict[str, Any], data: st.DataObject
) -> None:
    packed = msgpack.packb(message)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ProtocolError):
        codec.decode(packed[:end])


NESTED = b"\x81\xa1a" * 17 + b"\xc0"

HOSTILE = {
    "an array of 2**32 items": (b"\x81\xa1a\xdd\xff\xff\xff\xff", "an array of 4,294,967,295"),
    "a map of 2**32 pairs": (b"\xdf\xff\xff\xff\xff", "a map of 4,294,967,295 items"),
    "text of 2**32 bytes": (b"\x81\xdb\xff\xff\xff\xff", "text of 4,294,967,295 bytes"),
    "binary data of 2**32 bytes": (b"\x81\xa1a\xc6\xff\xff\xff\xff", "binary data of"),
    "an extension of 2**32 bytes": (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "an extension of"),
    "nested array headers": (b"\x81\xa1a" + b"\xdc\x7f\xff" * 16, "more items than it has bytes"),
    "nested too deeply": (NESTED, "nested more than 16 deep"),
    "nested a million times": (b"\x81\xa1a" + b"\x91" * 10**6, "nested more than 16 deep"),
    "many small items": (
        b"\x81\xa1a\x92" + (b"\xdc\x7f\xff" + b"\xc0" * 32767) * 2,
        "more than 32,768 items",
    ),
    "a key that is a number": (b"\x81\x01\x02", "a key that is not text"),
    "a key that is binary": (b"\x81\xc4\x01a\x02", "a key that is not text"),
    "a key that is an array": (b"\x81\x90\x02", "a key that is not text"),
    "a key twice": (b"\x82\xa1a\x01\xa1a\x02", "the same key twice"),
    "an inner key twice": (b"\x81\xa1b\x82\xa1a\x01\xa1a\x02", "the same key twice"),
    "text that is not UTF-8": (b"\x81\xa1a\xa1\xff", "not valid UTF-8"),
    "an unused byte": (b"\x81\xa1a\xc1", "a byte that msgpack does not use"),
    "an unknown extension": (b"\x81\xa1a\xd4\x07\x00", "extension type that is not known"),
    "a timestamp": (b"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "extension type that is not known"),
    "bytes after the end": (b"\x80\x80", "bytes follow its end"),
    "no map": (b"\x93\x01\x02\x03", "it is not a map"),
    "nothing": (b"", "cut short"),
    "an item short": (b"\x82\xa1a\x01", "more items than it has bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_with_the_reason(codec: Codec, name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(ProtocolError, match=f"a message is malformed: .*{reason}"):
        codec.decode(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_cost_no_memory(codec: Codec, name: str) -> None:
    data, _ = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            codec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


LARGEST = {
    "empty maps": b"\x81\xa1a\xdd" + (32_000).to_bytes(4, "big") + b"\x80" * 32_000,
    "short texts": msgpack.packb({"a": [f"{n}" for n in range(32_000)]}),
    "small maps": msgpack.packb({"a": [{f"k{n}": 1} for n in range(10_000)]}),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_messages_take_less_than_8_mib(codec: Codec, name: str) -> None:
    tracemalloc.start()
    try:
        assert codec.decode(LARGEST[name])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_nesting_and_items_up_to_the_limits_pass(codec: Codec) -> None:
    assert codec.decode(b"\x81\xa1a" * 16 + b"\xc0")
    message = {"a": [0] * (Limits().max_nodes - 3)}
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize("cut", ["max_str", "max_bin", "max_array", "max_map", "max_ext"])
def test_every_length_has_its_limit(cut: str) -> None:
    messages: dict[str, dict[str, Any]] = {
        "max_str": {"a": "x" * 9},
        "max_bin": {"a": b"x" * 9},
        "max_array": {"a": [1] * 9},
        "max_map": {str(n): n for n in range(9)},
        "max_ext": {"a": complex(1, 2)},
    }
    message = messages[cut]
    extensions = [Extension(1, complex, lambda value: b"x" * 9, lambda data: 0j)]
    roomy, tight = Codec(Limits(**{cut: 9}), extensions), Codec(Limits(**{cut: 8}), extensions)
    data = roomy.encode(message)
    roomy.decode(data)
    with pytest.raises(ProtocolError, match="allowed: 8"):
        tight.decode(data)
    with pytest.raises(ValueError, match=r"cannot be sent: .*allowed: 8"):
        tight.encode(message)


def loop() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "no form for object objects"),
        ({1, 2}, "no form for set objects"),
        (datetime.datetime.now(), "no form for datetime objects"),
        (2**64, "an integer of more than 64 bits"),
        (-(2**63) - 1, "an integer of more than 64 bits"),
        ("\ud800", "not valid UTF-8"),
        ({1: 2}, "a key that is not text"),
        (loop(), "nested too deeply"),
        (msgpack.ExtType(5, b""), "extension type that is not known"),
        ("x" * (1 << 16) + "x", "text of 65,537 bytes"),
    ],
)
def test_a_value_that_cannot_be_sent_is_the_senders_value_error(
    codec: Codec, value: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=f"the message cannot be sent: .*{reason}") as caught:
        codec.encode({"a": value})
    assert not isinstance(caught.value, ProtocolError)


def unpack_complex(data: bytes) -> complex:
    return complex(data.decode())


COMPLEX = Extension(3, complex, lambda value: str(value).encode(), unpack_complex)


@pytest.mark.parametrize("pure", [False, True])
def test_a_registered_extension_passes_and_its_bad_bytes_do_not(
    pure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pure:
        monkeypatch.setattr(codec_module, "msgpack", PythonMsgpack)
    codec = Codec(extensions=[COMPLEX])
    assert codec.decode(codec.encode({"z": 1 + 2j})) == {"z": 1 + 2j}
    data = msgpack.packb({"z": msgpack.ExtType(3, b"not a number")})
    with pytest.raises(ProtocolError, match="an extension value is wrong"):
        codec.decode(data)
    with pytest.raises(ProtocolError, match="extension type that is not known"):
        Codec().decode(data)


@pytest.mark.parametrize("code", [-1, 128])
def test_extension_codes_that_msgpack_keeps_for_itself_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 127"):
        Extension(code, complex, lambda value: b"", unpack_complex)


def test_errors_never_show_contents(codec: Codec) -> None:
    secret = "hunter2"
    generator = random.Random(1)
    good = msgpack.packb({secret: [secret, {secret: secret.encode()}]})
    texts = set()
    for _ in range(500):
        bad = bytearray(good)
        bad[generator.randrange(len(bad))] = generator.randrange(256)
        try:
            codec.decode(bytes(bad))
        except ProtocolError as error:
            texts.add(str(error))
    assert texts
    assert not any(secret[1:] in text for text in texts)
