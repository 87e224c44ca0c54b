"""Parses the numbers of a command line: `1e12` FLOPs, `512M` of memory, `30` seconds."""

from __future__ import annotations

import argparse
import math
import re

__all__ = ["count", "flops", "seconds", "size"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
# 31 years: every system call that waits accepts it, and larger values overflow some of them.
_MAX_SECONDS = 1e9


def flops(text: str) -> int:
    """Parse a budget: `1000000`, `1e12`, `2.5e9`.

    Example:
        >>> flops("2.5e9")
        2500000000
    """
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


def size(text: str, minimum: int = 1) -> int:
    """Parse a number of bytes: `4096`, `512M`, `1.5GiB`. The units are powers of 1024.

    Example:
        >>> size("512M")
        536870912
    """
    match = _SIZE.fullmatch(text.strip())
    value = float(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not minimum <= value < 2**62:
        # The message states the minimum in the largest unit that divides it: "64M".
        unit = next(unit for unit in reversed(_UNITS) if minimum % _UNITS[unit] == 0)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size: a number of bytes, {minimum // _UNITS[unit]}{unit} or more "
            "and below 2**62, such as 65536, 512M or 4G"
        )
    return int(value)


def count(text: str, minimum: int = 1, maximum: int = 2**31 - 1) -> int:
    """Parse a whole number."""
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if not minimum <= value <= maximum:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from {minimum} to {maximum}"
        )
    return value


def seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds above 0 and at most 1e9"
        )
    return value
