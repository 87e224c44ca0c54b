"""What `wait()` of a producer waits for, and the wait for the learner."""

from __future__ import annotations

import logging
from typing import Any, Literal, cast, get_args

from shm_echo.errors import SendTimeoutError
from shm_echo.ring.core import _core_cpython, lib
from shm_echo.ring.ring import Ring
from shm_echo.validation import seconds

__all__ = ["WARN_AFTER", "WaitUntil", "check_wait_until", "wait_until_taken"]

_log = logging.getLogger("shm_echo")

# "taken": the learner has taken the batches of all samples; "stored": the ring has the samples.
WaitUntil = Literal["taken", "stored"]

# Seconds of a wait for an incomplete batch until a warning says so.
WARN_AFTER = 5.0


def check_wait_until(name: str, value: Any) -> WaitUntil:
    """Return `value`.

    Raises:
        ValueError: it is neither "taken" nor "stored".
    """
    choices = get_args(WaitUntil)
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")
    return cast("WaitUntil", value)


def wait_until_taken(sender: _core_cpython.Sender, ring: Ring, timeout: float | None) -> None:
    """Wait until the learner has taken the batches of all samples that were sent.

    Args:
        sender: the producer that waits.
        ring: its ring.
        timeout: seconds to wait; None waits as long as the server lives.

    Raises:
        TimeoutError: `timeout` seconds passed before.
        ConnectionClosedError: the producer was closed, or the server has gone, before.
    """
    left = seconds("timeout", timeout)
    try:
        if left is None or left > WARN_AFTER:
            try:
                sender.wait(WARN_AFTER)
                return
            except SendTimeoutError:
                if left is not None:
                    left -= WARN_AFTER
            rest = _rest_of(ring)
            if rest:
                _log.warning("wait() has waited %.0f s%s", WARN_AFTER, rest)
        sender.wait(left)
    except SendTimeoutError:
        raise TimeoutError(
            f"not every sample was handed to the learner within {timeout:g} s{_rest_of(ring)}"
        ) from None


def _rest_of(ring: Ring) -> str:
    """Describe the incomplete batch that the learner has next; empty if it is complete."""
    there, whole = lib.she_untaken(ring.pointer), ring.config.batch_size
    if not 0 < there < whole:
        return ""
    return (
        f": {there} samples of a batch of {whole} are there, and a batch that does not fill is "
        "taken by sample(partial=True)"
    )
