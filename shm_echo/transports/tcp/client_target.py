"""The checks of the arguments that say where and how a TcpClient connects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.transports import full_ring_warning
from shm_echo.transports.client_advice import reject_no_host
from shm_echo.transports.own_servers import own_servers
from shm_echo.transports.tcp.client_connect import Target, is_loopback
from shm_echo.transports.tcp.shm_wire import INSTANCE_BYTES
from shm_echo.validation import check_count, seconds

if TYPE_CHECKING:
    import ssl

# Seconds (11 days) that stand for no limit: poll() and locks overflow above it.
_NO_LIMIT = 1e6

# Samples that may be sent and not acknowledged, if the user names no number: echo's. Batches of
# small samples would wait for a round trip at every 32nd, though all of their samples are there: as
# much of them may be on its way as the kernel sends in one piece.
_WINDOW = 32
_BATCH_BYTES = 2**16

__all__ = ["check_instance", "check_target", "check_tls", "watch_for_own_server", "windows"]


def check_target(
    host: Any, port: Any, connect_timeout: Any, dial_timeout: Any, dead_after: Any
) -> Target:
    """Return the target.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be text, not {type(host).__name__}")
    if not host or "\0" in host:
        raise ValueError(f"host must be a name or an address, not {host!r}")
    reject_no_host(host)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        port = check_count("port", port, 0, most=65535)
    except TypeError as error:
        raise TypeError(f"{error}; a server's name is for ShmClient(name, example)") from None
    if port == 0:
        raise ValueError("port must be the one at which the server listens, not 0")
    limit = _limited("connect_timeout", connect_timeout)
    dead = _limited("dead_after", dead_after)
    if not dead:
        raise ValueError("dead_after must be a number > 0, not 0")
    dial = None if dial_timeout is None else _limited("dial_timeout", dial_timeout)
    return Target(host, port, limit, dial, dead)


def _limited(name: str, value: Any) -> float:
    limit = seconds(name, value)
    return _NO_LIMIT if limit is None else min(limit, _NO_LIMIT)


def check_instance(instance_id: Any) -> bytes | None:
    """Return the id of a server's instance, or None.

    Raises:
        TypeError: it is neither bytes nor None.
        ValueError: it has another length.
    """
    if instance_id is None:
        return None
    if not isinstance(instance_id, bytes):
        raise TypeError(f"instance_id must be bytes or None, not {type(instance_id).__name__}")
    if len(instance_id) != INSTANCE_BYTES:
        raise ValueError(f"instance_id must have {INSTANCE_BYTES} bytes, not {len(instance_id)}")
    return instance_id


def check_tls(tls: Any) -> ssl.SSLContext | Literal[True] | None:
    """Return the context of TLS, True for the default one, or None for no TLS.

    Raises:
        TypeError: it is none of these.
        ValueError: the context is one of a server.
    """
    if tls is None or tls is False:
        return None
    if tls is True:
        return True
    from shm_echo.transports.tcp.tls_context import client_context

    return client_context(tls)


def windows(given: int | None, sample_bytes: int) -> tuple[int, int]:
    """Return how many samples may be sent and not acknowledged: by `send`, and by `send_batch`.

    Args:
        given: the number that the user wants for both, or None.
        sample_bytes: the size of a sample.
    """
    if given is not None:
        return given, given
    return _WINDOW, max(_WINDOW, _BATCH_BYTES // sample_bytes)


def watch_for_own_server(target: Target) -> tuple[Callable[[], None], int]:
    """Return what to call while a call waits for room, and after how many nanoseconds.

    One thread that sends to its own server and is to take the batches, too, would wait for itself.
    """

    def find() -> bytes | None:
        here = target.host == "localhost" or is_loopback(target.host)
        return own_servers.at_port(target.port) if here else None

    watch = full_ring_warning.OwnServerWarning(str(target), find)
    return watch, round(full_ring_warning.BLOCKED_AFTER * 1e9)
