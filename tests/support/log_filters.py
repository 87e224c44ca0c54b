"""Filters of log lines that depend on the speed of the machine."""

from __future__ import annotations

import re

__all__ = [
    "without_copy_warnings",
    "without_dropped_samples",
    "without_no_producer_warnings",
    "without_slow_callbacks",
    "without_wait_hints",
]

_NO_PRODUCER_WARNING = re.compile(
    r"^sample\(\) waits, and no producer has been attached for \d+ s"
    r"(, \d+ of \d+ producers have come|; a timeout, .*)?\n",
    re.MULTILINE,
)

_COPY_WARNING = re.compile(
    r"^more than a tenth of the last 100 batches were copied, .*\n", re.MULTILINE
)

_WAIT_HINT = re.compile(
    r"^the loop over a DataLoader has waited for batches for \d+ % of \d+ s: .*\n", re.MULTILINE
)

_DROPPED_SAMPLES = re.compile(
    r"^TcpTransport\(.*\) dropped \d+ samples that were acknowledged and not yet in the ring\n",
    re.MULTILINE,
)

# asyncio in its debug mode, which `-X dev` turns on.
_SLOW_CALLBACK = re.compile(r"^Executing <.*> took \d+\.\d+ seconds\n", re.MULTILINE)


def without_no_producer_warnings(log: str) -> str:
    """Remove the warnings of missing producers, which appear if processes start slowly."""
    return _NO_PRODUCER_WARNING.sub("", log)


def without_copy_warnings(log: str) -> str:
    """Remove the warnings of copied batches, which appear if a library lets them go slowly."""
    return _COPY_WARNING.sub("", log)


def without_wait_hints(log: str) -> str:
    """Remove the hints to loops that wait for their data, which appear on a busy machine."""
    return _WAIT_HINT.sub("", log)


def without_dropped_samples(log: str) -> str:
    """Remove the warnings of samples that came while a server closed, as from actors that go on."""
    return _DROPPED_SAMPLES.sub("", log)


def without_slow_callbacks(log: str) -> str:
    """Remove the warnings of asyncio about callbacks that took long, as on a busy machine."""
    return _SLOW_CALLBACK.sub("", log)
