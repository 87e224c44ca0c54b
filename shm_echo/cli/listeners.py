"""The options of ``serve`` that say where it listens, for whom, and what it offers there.

What each address offers follows from its kind: a socket file of this user has everything, other
users have what ``--allow-uid`` gives them, and a port has mechestim only.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from shm_echo.control.address import Address, TcpAddress, parse_place
from shm_echo.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shm_echo.control.server.control_server import ControlServer
    from shm_echo.control.server.tokens import Tokens

__all__ = ["DEFAULT_URL", "add_options", "servers_of", "takes_strangers", "without_tokens"]

DEFAULT_URL = "ipc:///tmp/mechestim.sock"

TOKEN = "MECHESTIM_TOKEN"
TOKEN_FILE = "MECHESTIM_TOKEN_FILE"
_OF_TOKENS = "mechestim"  # all that is offered at a port
_ALLOWED = re.compile(r"(\d{1,10})(?::([a-z]+(?:,[a-z]+)*))?", re.ASCII)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Register them."""
    parser.add_argument(
        "--url",
        action="append",
        metavar="URL",
        help=(
            "where to serve: ipc:///path.sock, a bare name (a socket in a folder of this user), or "
            "tcp://host:port, where clients have to show a token (port 0: one that is free, which "
            f"is printed). May be given several times (default: {DEFAULT_URL})"
        ),
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=(
            "tokens of those who may connect to tcp:// addresses, one a line, each behind its "
            "holder's name if there are several (default: the file that "
            f"{TOKEN_FILE} names, else the token in {TOKEN})"
        ),
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="let tcp:// addresses be reached from other hosts; nothing is encrypted",
    )
    parser.add_argument(
        "--allow-uid",
        action="append",
        type=_allowed,
        default=[],
        metavar="UID[:SERVICE,...]",
        help=(
            "another user, by number, that may connect to ipc:// sockets, and for what: mechestim "
            "(default), status. May be given several times"
        ),
    )


def takes_strangers(args: argparse.Namespace) -> bool:
    """Somebody else than this user may connect."""
    return bool(args.allow_uid) or any(isinstance(place, TcpAddress) for place in _places(args))


def servers_of(args: argparse.Namespace, services: Mapping[str, Any]) -> list[ControlServer]:
    """A server for each address, none of them started.

    Args:
        args: what was asked for.
        services: all that can be offered, by name.

    Raises:
        AddressError, ValueError: that cannot be served.
    """
    from shm_echo.control.server.control_server import ControlServer

    places = _places(args)
    ports = [place for place in places if isinstance(place, TcpAddress)]
    for option, given in (
        ("--token-file", args.token_file is not None),
        ("--allow-remote", args.allow_remote),
    ):
        if given and not ports:
            raise ValueError(f"{option} is for tcp:// addresses, and there is none (--url)")
    if args.allow_uid and len(ports) == len(places):
        raise ValueError("--allow-uid is for socket files, and there is none (--url)")
    tokens = _tokens(args.token_file) if ports else None
    allowed: dict[int, tuple[str, ...]] = {}
    for uid, names in args.allow_uid:
        allowed[uid] = (*allowed.get(uid, ()), *names)
    servers = []
    for place in places:
        if isinstance(place, TcpAddress):
            if tokens is None:
                raise AddressError(
                    place.text,
                    "clients have to show a token here: give --token-file FILE, or set "
                    f"{TOKEN_FILE} or {TOKEN}",
                )
            offered = {_OF_TOKENS: services[_OF_TOKENS]}
            remote = args.allow_remote
            servers.append(ControlServer(place, offered, tokens=tokens, allow_remote=remote))
        else:
            servers.append(ControlServer(place, services, allow_uids=allowed))
    return servers


def without_tokens() -> None:
    """Take the tokens out of this process's environment, and so out of its children's."""
    for name in (TOKEN, TOKEN_FILE):
        os.environ.pop(name, None)


def _places(args: argparse.Namespace) -> list[Address | TcpAddress]:
    return [parse_place(url) for url in args.url or [DEFAULT_URL]]


def _tokens(path: str | None) -> Tokens | None:
    """The tokens that were given; None if none were."""
    from shm_echo.control.server.tokens import Tokens

    if path is None:
        path = os.environ.get(TOKEN_FILE, "").strip() or None
    if path is not None:
        return Tokens.read(path)
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return None
    try:
        return Tokens({"token-1": token})
    except ValueError as error:
        raise ValueError(f"{TOKEN}: {error}") from None


def _allowed(text: str) -> tuple[int, tuple[str, ...]]:
    """A user, and what is offered to it."""
    match = _ALLOWED.fullmatch(text)
    if match is None or int(match[1]) >= 2**32 - 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a user: expected a number below 2**32 - 1, or one and services, such "
            "as 1001:mechestim,status"
        )
    return int(match[1]), tuple((match[2] or _OF_TOKENS).split(","))
