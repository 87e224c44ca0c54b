"""The token of a client: from its argument, or from the environment; never shown, never pickled."""

from __future__ import annotations

import os
import re

from shm_echo.control.protocol.messages import MAX_TOKEN

__all__ = [
    "MIN_TOKEN",
    "TOKEN_FILE_VARIABLE",
    "TOKEN_VARIABLE",
    "ClientToken",
    "check_no_path",
    "find_token",
]

TOKEN_VARIABLE = "SHM_ECHO_TOKEN"
TOKEN_FILE_VARIABLE = "SHM_ECHO_TOKEN_FILE"

# Characters, as `control.server.tokens` asks for them, which a client does not import.
MIN_TOKEN = 16
_TOKEN = re.compile(r"[!-~]+")


class ClientToken:
    """A token that a client holds.

    Args:
        token: the token.
        source: where it comes from, for messages.

    Raises:
        ValueError: it is no token. No message shows it.

    Example:
        >>> ClientToken("correct-horse-battery", "token=")
        <token from token=>
    """

    __slots__ = ("_token", "source")

    def __init__(self, token: str, source: str) -> None:
        if type(token) is not str:
            raise TypeError(f"{source} must be text or a path, not {type(token).__name__}")
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{source} is not text of printable ASCII characters without spaces")
        check_no_path(source, token)
        if not MIN_TOKEN <= len(token) <= MAX_TOKEN:
            raise ValueError(
                f"{source} has {len(token)} characters; a token has at least {MIN_TOKEN}, and at "
                f"most {MAX_TOKEN}"
            )
        self._token = token
        self.source = source

    def key(self) -> bytes:
        """Return the key with which the client proves that it knows the token."""
        from shm_echo.transports.tcp.proofs import token_key

        return token_key(self._token)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            f"a token is not pickled, as others may read the bytes: set {TOKEN_VARIABLE} or "
            f"{TOKEN_FILE_VARIABLE} in the process that uses it"
        )

    def __repr__(self) -> str:
        return f"<token from {self.source}>"


def check_no_path(source: str, token: str) -> None:
    """Refuse text that is the path of a file: as a token, others could guess it.

    Args:
        source: where the text comes from, for the message.
        token: the text.

    Raises:
        ValueError: it begins like a path, and its folder exists.
    """
    folder = os.path.dirname(os.path.expanduser(token))
    if token.startswith(("/", "./", "../", "~/")) and folder != "/" and os.path.isdir(folder):
        raise ValueError(
            f"{source} looks like the path of a file, and text is taken for the token itself: give "
            f"pathlib.Path(...) as token=, or set {TOKEN_FILE_VARIABLE}"
        )


def find_token(token: str | os.PathLike[str] | None = None) -> ClientToken | None:
    """Return the client's token; None if there is none.

    The argument comes first, which is a token or the path of a file with it, then SHM_ECHO_TOKEN,
    then the file that SHM_ECHO_TOKEN_FILE names.

    Raises:
        TypeError: the argument is neither text, a path nor None.
        ValueError: what was given is no token, or the file cannot be read.
    """
    if isinstance(token, os.PathLike):
        return _read("token=", os.fspath(token))
    if token is not None:
        return ClientToken(token, "token=")
    text = os.environ.get(TOKEN_VARIABLE)
    if text:
        return ClientToken(text, TOKEN_VARIABLE)
    path = os.environ.get(TOKEN_FILE_VARIABLE)
    return _read(TOKEN_FILE_VARIABLE, path) if path else None


def _read(source: str, path: str) -> ClientToken:
    """Return the token that a file has."""
    name = f"{source}{path}" if source.endswith("=") else f"{source} {path}"
    try:
        with open(path, encoding="ascii") as file:
            words = file.read(64 * MAX_TOKEN).split()
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: it is not plain ASCII text") from None
    if len(words) != 1:
        raise ValueError(f"{name}: it is to hold one token and nothing else")
    return ClientToken(words[0], name)
