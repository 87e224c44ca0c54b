"""Changes of a client's requests that leave them well-formed, which a fuzzer of bytes rarely makes.

A seed is a sequence of frames. `mutated` reads it into messages, changes some of them (an argument,
an operation's name, a number, the order), and writes them again. It returns None for bytes that are
no frames; the fuzzer then changes these as bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import msgpack

from shm_echo.mechestim import wire
from shm_echo.mechestim.registry import OPS

__all__ = ["frames", "joined", "mutated"]

ExtType = msgpack.ExtType
_WORDS = (
    *("session.array", "session.fetch", "session.grid", "session.path", "session.ufunc"),
    *("session.print_options", "session.seterr", "session.finfo", "session.iinfo", "session.size"),
    *("object.call", "arena.open", "arena.blank", "arena.put", "arena.hold", "arena.get"),
    *("as_symmetric", "is_symmetric", "budget.open", "budget.read", "budget.enter", "budget.leave"),
    *("budget.deduct", "budget.log", "budget.history", "budget.configure", "budget.reset"),
    *("ndarray.flags.get", "ndarray.flat.get", "ndarray.flat.set", "ndarray.shape.set"),
    *("ndarray.real.set", "ndarray.imag.set", "ndarray.resize", "ndarray.__getitem__"),
    *("ndarray.__setitem__", "ndarray.tolist", "ndarray.view", "ndarray.setflags", "ndarray.item"),
    *("ndarray.__repr__", "ndarray.__format__", "ndarray.astype", "ndarray.setfield"),
    *("ndarray.getfield", "ndarray.reshape", "ndarray.T.get", "add.reduce", "add.outer", "add.at"),
)
_NAMES = (*sorted(OPS), *_WORDS)
_NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 63, 64, 65, 255, 1000, 2**16, 2**31 - 1, 2**31, -(2**31), 2**32, 2**48),
    *(2**62, 2**63 - 1, -(2**63), 2**64 - 1, 10**6, 10**9),
)
_FLOATS = (0.0, -0.0, 1.5, -1.0, 1e-300, 1e300, 1e-12, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    *(
        "",
        "x",
        "O",
        "object",
        "<f8",
        "S1000",
        "V8",
        "f4,i2",
        "(3,)f8",
        "ij,jk->ik",
        "ii->i",
        "...i",
    ),
    *("raise", "auto", "optimal", "fd", "wrap", "K", "F", "same", "__class__", "r", "mgrid"),
    *("\u0430", " " * 100, "MT19937", "M8[ns]", "unsafe"),
)


def _packed(*items: Any) -> bytes:
    data: bytes = msgpack.packb(list(items))
    return data


def _handle(source: random.Random) -> Any:
    return wire.handle_ext(source.choice((0, 1, 1, 1, 2, 2, 3, 4, 5, 8, 2**63)))


def _ndarray(source: random.Random) -> Any:
    size = source.randrange(5)
    code, width = source.choice((("<f8", 8), ("<i8", 8), ("|b1", 1), ("<c16", 16), ("<U1", 4)))
    content = bytes(source.randrange(2) for _ in range(size * width))
    return ExtType(wire.NDARRAY, _packed(code, source.choice(([size], [1, size])), content))


_LEAVES: tuple[Callable[[random.Random], Any], ...] = (
    lambda source: source.choice(_NUMBERS),
    lambda source: source.choice(_NUMBERS),
    lambda source: source.choice(_FLOATS),
    lambda source: source.choice(_TEXTS),
    lambda source: source.choice((None, True, False, [], {}, b"", b"bytes")),
    _handle,
    _handle,
    _ndarray,
    lambda source: ExtType(
        wire.TUPLE, _packed(*(_value(source) for _ in range(source.randrange(4))))
    ),
    lambda source: ExtType(wire.SLICE, _packed(*(source.choice((None, *_NUMBERS)) for _ in "123"))),
    lambda source: ExtType(wire.ELLIPSIS, b""),
    lambda source: ExtType(wire.COMPLEX, struct.pack("<dd", *source.choices(_FLOATS, k=2))),
    lambda source: ExtType(wire.DTYPE, msgpack.packb(source.choice(_TEXTS))),
    lambda source: ExtType(wire.SCALAR_TYPE, msgpack.packb(source.choice(("int8", "complex64")))),
    lambda source: ExtType(wire.SCALAR, _packed("<f4", source.choice(_FLOATS))),
    lambda source: ExtType(wire.BIGINT, bytes([source.randrange(256)]) * source.randrange(1, 20)),
    lambda source: ExtType(wire.CALLBACK, struct.pack("<Q", 1)),
    lambda source: ExtType(wire.FROZENSET, _packed(0, 1)),
    lambda source: ExtType(source.randrange(1, 20), bytes(source.randrange(9))),
)


def _value(source: random.Random) -> Any:
    if source.random() < 0.12:
        return [_value(source) for _ in range(source.randrange(4))]
    return source.choice(_LEAVES)(source)


def frames(data: bytes) -> list[dict[Any, Any]] | None:
    """Return the messages in a seed; None if the bytes are no frames."""
    found, at = [], 0
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        try:
            message = msgpack.unpackb(data[at + 4 : at + 4 + length], strict_map_key=False)
        except Exception:
            return None
        if type(message) is not dict:
            return None
        found.append(message)
        at += 4 + length
    return found if found and at == len(data) else None


def joined(messages: list[Any]) -> bytes:
    """Return the seed of these messages."""
    packed = [msgpack.packb(message) for message in messages]
    return b"".join(struct.pack("<I", len(one)) + one for one in packed)


def _changed(value: Any, source: random.Random) -> Any:
    """Return a value with one place in it changed."""
    if isinstance(value, list) and value and source.random() < 0.8:
        at = source.randrange(len(value))
        return [*value[:at], _changed(value[at], source), *value[at + 1 :]]
    if isinstance(value, dict) and value and source.random() < 0.8:
        key = source.choice(sorted(value, key=repr))
        return {**value, key: _changed(value[key], source)}
    if isinstance(value, ExtType) and value.data and source.random() < 0.4:
        try:
            inner = msgpack.unpackb(value.data, strict_map_key=False)
            return ExtType(value.code, msgpack.packb(_changed(inner, source)))
        except Exception:
            pass
    return _value(source)


def _change_arguments(messages: list[Any], at: int, source: random.Random) -> None:
    message = messages[at]
    args = list(message.get("a") or []) if isinstance(message.get("a"), list) else []
    kind = source.randrange(5)
    if kind == 0:
        args.insert(source.randrange(len(args) + 1), _value(source))
    elif kind == 1 and args:
        del args[source.randrange(len(args))]
    elif kind == 2:
        options = message.get("k")
        message["k"] = {
            **(options if isinstance(options, dict) else {}),
            source.choice(("axis", "dtype", "out", "where", "size", "order", "n", "mode")): _value(
                source
            ),
        }
    else:
        args = _changed(args, source)
    message["a"] = args


def _change_message(messages: list[Any], at: int, source: random.Random) -> None:
    message = messages[at]
    kind = source.randrange(10)
    if kind < 5:
        _change_arguments(messages, at, source)
    elif kind == 5:
        message["op"] = source.choice(_NAMES)
    elif kind == 6:
        messages.insert(source.randrange(len(messages) + 1), dict(message))
    elif kind == 7 and len(messages) > 1:
        del messages[at]
    elif kind == 8:
        key = source.choice(("id", "op", "a", "k", "b", "n", "f", "fb", "ret", "cancel"))
        message[key] = _value(source)
    else:
        messages.append({"ret": source.randrange(1, 4), "r": _value(source)})


def mutated(data: bytes, seed: int) -> bytes | None:
    """Another seed; None when this one is not made of frames."""
    messages = frames(data)
    if messages is None:
        return None
    source = random.Random(seed)
    for _ in range(source.randrange(1, 5)):
        _change_message(messages, source.randrange(len(messages)), source)
    try:
        return joined(messages)
    except (ValueError, OverflowError, TypeError):
        return None
