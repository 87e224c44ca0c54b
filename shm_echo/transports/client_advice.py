"""Advice for the client of one transport that was given what the client of the other one takes."""

from __future__ import annotations

from typing import Any

from shm_echo.control.address import is_unique_name

__all__ = ["advice_for_name", "advice_for_unknown_host", "check_is_no_port", "reject_no_host"]


def check_is_no_port(address: Any, example: Any) -> None:
    """Check that the example of a `ShmClient` is not the port of a `TcpClient`.

    Raises:
        TypeError: it is an int.
    """
    if type(example) is int:
        raise TypeError(
            f"example must be a sample, not the int {example}: ShmClient has no port; "
            f"TcpClient({address!r}, {example}, example) connects to one"
        )


def advice_for_name(address: str) -> str:
    """Return the end of a message about a name at which a `ShmClient` finds no server.

    A host's name is a valid name of a server, too.
    """
    if "://" in address or is_unique_name(address):
        return ""
    return "; a server on another machine is reached by TcpClient(host, port, example)"


def reject_no_host(host: str) -> None:
    """Check that the host of a `TcpClient` has no port, scheme or path in it.

    Raises:
        ValueError: it has.
    """
    scheme, separator, rest = host.rpartition("://")
    if "/" in rest or scheme == "ipc":
        raise ValueError(
            f"host must be a name or an address, not {host!r}; ShmClient(address, example) "
            "attaches to a server by its Unix socket"
        )
    name, colon, port = rest.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        raise ValueError(
            f"host must be a name or an address, not {host!r}: the port is an argument of its own, "
            f"TcpClient({name.strip('[]')!r}, {port}, example)"
        )
    if separator:
        raise ValueError(f"host must be a name or an address, not {host!r}: write {rest!r}")


def advice_for_unknown_host(host: str) -> str:
    """Return the end of a message about a host of a `TcpClient` that has no address."""
    if "." in host:
        return ""
    return "; a server of this machine is reached by its name by ShmClient(name, example)"
