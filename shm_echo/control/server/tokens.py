"""Tokens: secrets that identify the clients of a TCP port, where the kernel reports no user.

A listener keeps digests instead of tokens, and compares all of them in constant time. So neither
the time of an answer nor a log or a traceback reveals anything about a token. Each token belongs to
a holder with a name, and sessions are billed to that name. Tokens come from a file, from the
environment or from Python, never from a command line, which other users can read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Mapping

from shm_echo.control.protocol.messages import MAX_TOKEN

__all__ = ["MIN_LENGTH", "Tokens"]

# Characters. Of 64 possible ones each, 16 make 96 bits, too many to guess over a network.
MIN_LENGTH = 16

_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ADVICE = (
    "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one; the file is to "
    "be readable by its owner only (chmod 600)"
)


class Tokens:
    """The tokens that a listener accepts.

    Args:
        tokens: the tokens, by the names of their holders.

    Raises:
        ValueError: there is no token, or one is malformed. No message shows a token.

    Example:
        >>> tokens = Tokens({"ann": "correct-horse-battery"})
        >>> tokens.holder_of("correct-horse-battery"), tokens.holder_of("a wrong one")
        ('ann', None)
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        if not tokens:
            raise ValueError("a listener for holders of a token needs at least one token")
        self._holders: dict[str, bytes] = {}
        for name, token in tokens.items():
            if type(name) is not str or not _NAME.fullmatch(name):
                raise ValueError(
                    f"a token's holder has a name of letters, digits, '.', '_' and '-', at most "
                    f"64, not {name!r}"
                )
            problem = _problem(token)
            if problem:
                raise ValueError(f"the token of {name!r} {problem}")
            digest = _digest(token)
            if digest in self._holders.values():
                raise ValueError(f"the token of {name!r} is another holder's, too")
            self._holders[name] = digest

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Tokens:
        """Read tokens from text: one a line, after the name of its holder if there are several.

        Empty lines and lines that begin with `#` are skipped. The holder of a token without a name,
        in line N, is called `token-N`.

        Raises:
            ValueError: a line is malformed; the message has its number.
        """
        holders: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) > 2:
                raise ValueError(f"line {number}: expected a token, or a name and a token")
            name = words[0] if len(words) == 2 else f"token-{number}"
            if name in holders:
                raise ValueError(f"line {number}: there is a token of {name!r} already")
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"line {number}: the name before the token may have letters, digits, '.', '_' "
                    "and '-', and at most 64 of them"
                )
            problem = _problem(words[-1])
            if problem:
                raise ValueError(f"line {number}: the token {problem}")
            holders[name] = words[-1]
        return cls(holders)

    @classmethod
    def read(cls, path: str) -> Tokens:
        """Read tokens from a file, see `parse`.

        Raises:
            ValueError: the file cannot be read, other users have access to it, or its text holds
                no tokens.
        """
        try:
            with open(path, encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & 0o077:
                    raise ValueError(
                        f"other users have access to it (mode {mode & 0o777:04o}): chmod 600 it"
                    )
                return cls.parse(file)
        except OSError as error:
            raise ValueError(f"token file {path}: {error.strerror or error}; {_ADVICE}") from None
        except UnicodeDecodeError:
            raise ValueError(f"token file {path}: it is not plain ASCII text") from None
        except ValueError as error:
            raise ValueError(f"token file {path}: {error}") from None

    def holder_of(self, token: str) -> str | None:
        """Return the name of the token's holder; None if the token is unknown."""
        digest = _digest(token)
        holders = None
        for name, known in self._holders.items():
            # No early exit: the time of an answer must not depend on which token matches.
            if hmac.compare_digest(digest, known):
                holders = name
        return holders

    def holder_who(self, knows: Callable[[bytes], bool]) -> tuple[str, bytes] | None:
        """Return the name and the key of a holder who has proved to know a token.

        Args:
            knows: returns True if a proof was made with this key, the SHA-256 of a token.

        Returns:
            None if no token's key fits.
        """
        found = None
        for name, key in self._holders.items():  # no early exit, as above
            if knows(key):
                found = name, key
        return found

    def __len__(self) -> int:
        return len(self._holders)

    def __repr__(self) -> str:
        return f"<tokens of {', '.join(self._holders)}>"


def _problem(token: object) -> str | None:
    if type(token) is not str or not _TOKEN.fullmatch(token):
        return "is not text of printable ASCII characters without spaces"
    if not MIN_LENGTH <= len(token) <= MAX_TOKEN:
        return (
            f"has {len(token)} characters; it needs at least {MIN_LENGTH}, and at most {MAX_TOKEN}"
        )
    return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
