"""The options of `Connector.connect`: those of both kinds of clients.

An actor's code is the same for both, so an option that only one kind has is checked in any case,
and has no effect on the other. A wrong one is an error on every host.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from shm_echo.transports.ways import check_prefer
from shm_echo.validation import check_count, seconds

__all__ = ["BOTH", "SHM_ONLY", "TCP_ONLY", "check_options"]

BOTH = frozenset({"connect_timeout", "publishes", "cast", "producer_id", "role", "wait_until"})
SHM_ONLY = frozenset({"server_uid"})
TCP_ONLY = frozenset(
    {"max_inflight_msgs", "reconnect", "token", "tls", "server_hostname", "dead_after"}
)
# What the connector gives the clients itself.
_GIVEN = frozenset(
    {"address", "host", "port", "data_sample", "run_id", "instance_id", "way", "dial_timeout"}
)


def check_options(prefer: object, options: dict[str, Any]) -> None:
    """Check the options of one kind of client, and the names of all.

    Raises:
        TypeError: an option is unknown, or the connector has it already, or its type is wrong.
        ValueError: a value is out of range.
    """
    check_prefer(prefer)
    for name in sorted(options):
        if name in _GIVEN:
            raise TypeError(f"connect() got {name!r}, which the connector has already")
        if name not in BOTH | SHM_ONLY | TCP_ONLY:
            raise TypeError(f"connect() got an unknown option {name!r}")
        check = _CHECKS.get(name)
        if check is not None:
            check(options[name])


def _check_uid(value: Any) -> None:
    if value is not None:
        check_count("server_uid", value, 0, most=2**32 - 1)


def _check_text(name: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be text or None, not {type(value).__name__}")

    return check


def _check_token(value: Any) -> None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"token must be text, a path or None, not {type(value).__name__}")


def _check_dead_after(value: Any) -> None:
    if not seconds("dead_after", value):
        raise ValueError(f"dead_after must be a number of seconds above 0, not {value!r}")


def _check_tls(value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    import ssl

    if not isinstance(value, ssl.SSLContext):
        raise TypeError(f"tls must be True, False, None or an SSLContext, not {value!r}")


def _check_window(value: Any) -> None:
    if value is not None:
        check_count("max_inflight_msgs", value, 1)


def _check_reconnect(value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"reconnect must be True or False, not {value!r}")


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "server_uid": _check_uid,
    "max_inflight_msgs": _check_window,
    "reconnect": _check_reconnect,
    "token": _check_token,
    "server_hostname": _check_text("server_hostname"),
    "dead_after": _check_dead_after,
    "tls": _check_tls,
}
