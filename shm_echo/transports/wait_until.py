"""What `wait()` of a client waits for."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

__all__ = ["WaitUntil", "check_wait_until"]

# "taken": the learner has taken the batches of all samples; "stored": the ring has the samples.
WaitUntil = Literal["taken", "stored"]


def check_wait_until(name: str, value: Any) -> WaitUntil:
    """Return `value`.

    Raises:
        ValueError: it is neither "taken" nor "stored".
    """
    choices = get_args(WaitUntil)
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")
    return cast("WaitUntil", value)
