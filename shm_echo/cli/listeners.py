"""The options of `serve` for its addresses, and for the clients that may connect to each.

The kind of an address decides which services it offers: a socket file offers every service to this
user, and to other users the services that `--allow-uid` lists; a TCP port offers mechestim alone.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from shm_echo.control.address import Address, TcpAddress, parse_listen_address
from shm_echo.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shm_echo.control.server.control_server import ControlServer
    from shm_echo.control.server.tokens import Tokens

__all__ = [
    "DEFAULT_URL",
    "add_options",
    "admits_other_users",
    "make_servers",
    "remove_tokens_from_environment",
]

DEFAULT_URL = "ipc:///tmp/mechestim.sock"

TOKEN_VARIABLE = "MECHESTIM_TOKEN"
TOKEN_FILE_VARIABLE = "MECHESTIM_TOKEN_FILE"
_PORT_SERVICE = "mechestim"  # the only service at a TCP port, and the default of --allow-uid
_USER_AND_SERVICES = re.compile(r"(\d{1,10})(?::([a-z]+(?:,[a-z]+)*))?", re.ASCII)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    parser.add_argument(
        "--url",
        action="append",
        metavar="URL",
        help=(
            "address to serve at: ipc:///path.sock, a bare name (a socket in a folder of this "
            "user), or tcp://host:port, where clients need a token (port 0 takes a free port, and "
            f"prints it). May be repeated (default: {DEFAULT_URL})"
        ),
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=(
            "file with the tokens of clients that may connect to tcp:// addresses, one a line, "
            "each after the name of its holder if there are several (default: the file that "
            f"{TOKEN_FILE_VARIABLE} names, else the token in {TOKEN_VARIABLE})"
        ),
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow tcp:// addresses that other hosts can reach; nothing is encrypted",
    )
    parser.add_argument(
        "--allow-uid",
        action="append",
        type=_user_and_services,
        default=[],
        metavar="UID[:SERVICE,...]",
        help=(
            "number of another user that may connect to ipc:// sockets, and the services that it "
            "may use: mechestim (default), status. May be repeated"
        ),
    )


def admits_other_users(args: argparse.Namespace) -> bool:
    """Return True if clients other than this user's processes may connect."""
    return bool(args.allow_uid) or any(
        isinstance(address, TcpAddress) for address in _addresses(args)
    )


def make_servers(args: argparse.Namespace, services: Mapping[str, Any]) -> list[ControlServer]:
    """Make a server for each address, without starting any.

    Args:
        args: the parsed options.
        services: all services, by name.

    Raises:
        AddressError: an address is malformed, or lacks the token that it needs.
        ValueError: an option does not fit the addresses, or the tokens cannot be read.
    """
    from shm_echo.control.server.control_server import ControlServer

    addresses = _addresses(args)
    ports = [address for address in addresses if isinstance(address, TcpAddress)]
    for option, given in (
        ("--token-file", args.token_file is not None),
        ("--allow-remote", args.allow_remote),
    ):
        if given and not ports:
            raise ValueError(f"{option} is for tcp:// addresses, and --url names none")
    if args.allow_uid and len(ports) == len(addresses):
        raise ValueError("--allow-uid is for socket files, and --url names none")
    tokens = _tokens(args.token_file) if ports else None
    allowed: dict[int, tuple[str, ...]] = {}
    for uid, names in args.allow_uid:
        allowed[uid] = (*allowed.get(uid, ()), *names)
    servers = []
    for address in addresses:
        if isinstance(address, TcpAddress):
            if tokens is None:
                raise AddressError(
                    address.text,
                    "clients need a token here: give --token-file FILE, or set "
                    f"{TOKEN_FILE_VARIABLE} or {TOKEN_VARIABLE}",
                )
            offered = {_PORT_SERVICE: services[_PORT_SERVICE]}
            remote = args.allow_remote
            servers.append(ControlServer(address, offered, tokens=tokens, allow_remote=remote))
        else:
            servers.append(ControlServer(address, services, allow_uids=allowed))
    return servers


def remove_tokens_from_environment() -> None:
    """Remove the tokens from the environment of this process, and so from its children's."""
    for name in (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE):
        os.environ.pop(name, None)


def _addresses(args: argparse.Namespace) -> list[Address | TcpAddress]:
    return [parse_listen_address(url) for url in args.url or [DEFAULT_URL]]


def _tokens(path: str | None) -> Tokens | None:
    """Read the tokens from the file or the environment; None if neither has any."""
    from shm_echo.control.server.tokens import Tokens

    if path is None:
        path = os.environ.get(TOKEN_FILE_VARIABLE, "").strip() or None
    if path is not None:
        return Tokens.read(path)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return None
    try:
        return Tokens({"token-1": token})
    except ValueError as error:
        raise ValueError(f"{TOKEN_VARIABLE}: {error}") from None


def _user_and_services(text: str) -> tuple[int, tuple[str, ...]]:
    """Parse a user's number and the services that the user may open."""
    match = _USER_AND_SERVICES.fullmatch(text)
    if match is None or int(match[1]) >= 2**32 - 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a user: expected a number below 2**32 - 1, alone or with services, "
            "such as 1001:mechestim,status"
        )
    return int(match[1]), tuple((match[2] or _PORT_SERVICE).split(","))
