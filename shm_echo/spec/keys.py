"""Dict keys, and other steps of a path to a leaf, as text that is the same in every process.

Equal keys of the common kinds (strings, integers, tuples, frozensets and enum members of them) get
equal tokens, independent of the hash seed, the start method and the order of insertion. A key whose
text would differ between processes is rejected.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np

# A str or an int stands for itself; any other key is the name of its type and a text.
Token: TypeAlias = "str | int | tuple[str, str]"

_INT64 = range(-(2**63), 2**63)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def key_token(key: Hashable) -> Token:
    """Return the token of one dict key.

    Raises:
        TypeError: the text of the key is not the same in every process.
    """
    if isinstance(key, (str, np.str_)):
        text = str.__str__(key)  # the value of a str enum, not its name
        if _is_utf8(text):
            return text
        return ("str with surrogates", ascii(text))
    if isinstance(key, (int, np.integer)):
        number = int(key)  # True and np.int64(1) are the same key as 1
        return number if number in _INT64 else ("int", repr(number))
    return (type(key).__qualname__, stable_text(key))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def stable_text(value: object) -> str:
    """Return Python's notation for a value, independent of hash order and memory addresses."""
    if isinstance(value, enum.Enum) and not isinstance(value, (str, int)):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, (str, np.str_)):
        return ascii(str.__str__(value))
    if isinstance(value, (int, np.integer)):
        return repr(int(value))
    if type(value) is tuple:
        inner = ", ".join(stable_text(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(sorted(stable_text(item) for item in value))}}})"
    text = repr(value)
    if _ADDRESS.search(text):
        raise TypeError(
            f"a key of type {type(value).__qualname__} has no text that is the same in every "
            "process: give the type a __repr__, or use strings or integers as keys"
        )
    return text


def token_order(token: Token) -> tuple[str, int, str]:
    """Return the sort key of a token: by the name of its kind, then by its value."""
    if isinstance(token, str):
        return ("str", 0, token)
    if isinstance(token, int):
        return ("int", token, "")
    return (token[0], 0, token[1])


def index_step(token: Token) -> str:
    """Return the step that a key adds to a path, such as `['obs']` or `[3]`."""
    return f"[{token[1]}]" if isinstance(token, tuple) else f"[{token!r}]"


def metadata_text(value: object) -> str:
    """Return a stable text of the data that a custom node stores beside its children.

    Plain values and containers of them appear in Python's notation, other values as their type.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return stable_text(value)
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(metadata_text(item) for item in value)})"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(sorted(_items(value)))})"
    return f"<{type(value).__qualname__}>"


def _items(mapping: Mapping[Any, Any]) -> list[str]:
    return [f"{metadata_text(key)}: {metadata_text(value)}" for key, value in mapping.items()]
