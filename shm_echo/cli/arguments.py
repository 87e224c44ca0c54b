"""Numbers as users write them on a command line: ``1e12`` FLOPs, ``512M`` of memory, ``30`` s."""

from __future__ import annotations

import argparse
import math
import re

__all__ = ["count", "flops", "seconds", "size"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_LONGEST = 1e9  # seconds, which every call that waits can take


def flops(text: str) -> int:
    """A budget: ``1000000``, ``1e12``, ``2.5e9``."""
    try:
        try:
            value = int(text)
        except ValueError:
            number = float(text)
            value = int(number)
            if value != number:
                raise ValueError from None
    except (ValueError, OverflowError):
        value = 0
    if not 0 < value < 2**63:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of FLOPs: a whole number above 0 and below 2**63, such as "
            "1e12"
        )
    return value


def size(text: str, least: int = 1) -> int:
    """Bytes: ``4096``, ``512M``, ``1.5GiB``; the units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    value = float(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not least <= value < 2**62:
        unit = next(unit for unit in reversed(_UNITS) if least % _UNITS[unit] == 0)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size: a number of bytes, {least // _UNITS[unit]}{unit} or more and "
            "below 2**62, such as 65536, 512M or 4G"
        )
    return int(value)


def count(text: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """A whole number."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return value


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds above 0 and at most 1e9"
        )
    return value
