"""Tokens: what the holders of a secret are known by where no kernel vouches for them.

A listener keeps digests, not tokens, and compares all of them in constant time, so neither the
time of an answer nor a look at a log or a traceback tells anything about them. Each token belongs
to a holder with a name, who is booked by it. Tokens come from a file or from Python, never from a
command line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping

from shm_echo.control.protocol.messages import MAX_TOKEN

__all__ = ["LEAST", "Tokens"]

LEAST = 16  # characters: shorter ones can be guessed

_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ADVICE = (
    "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one; the file is to "
    "be readable by its owner only (chmod 600)"
)


class Tokens:
    """The tokens that a listener knows.

    Args:
        tokens: each by the name of its holder.

    Raises:
        ValueError: there is none, or one is no token. No message shows one.
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
        """Tokens as text: one a line, behind the name of its holder if there are several.

        Empty lines and those that begin with ``#`` are passed over. A token without a name is
        the one of ``token-N`` in line N.

        Raises:
            ValueError: a line is none of this; it is named by its number.
        """
        found: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) > 2:
                raise ValueError(f"line {number}: expected a token, or a name and a token")
            name = words[0] if len(words) == 2 else f"token-{number}"
            if name in found:
                raise ValueError(f"line {number}: there is a token of {name!r} already")
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"line {number}: the name before the token may have letters, digits, '.', '_' "
                    "and '-', and at most 64 of them"
                )
            problem = _problem(words[-1])
            if problem:
                raise ValueError(f"line {number}: the token {problem}")
            found[name] = words[-1]
        return cls(found)

    @classmethod
    def read(cls, path: str) -> Tokens:
        """The tokens in a file, see ``parse``.

        Raises:
            ValueError: it cannot be read, others could read it, or there are no tokens in it.
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
        """Whose it is; None if nobody's."""
        digest = _digest(token)
        found = None
        for name, known in self._holders.items():
            # All are compared, whichever is the right one.
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def __len__(self) -> int:
        return len(self._holders)

    def __repr__(self) -> str:
        return f"<tokens of {', '.join(self._holders)}>"


def _problem(token: object) -> str | None:
    if type(token) is not str or not _TOKEN.fullmatch(token):
        return "is not text of printable ASCII characters without spaces"
    if not LEAST <= len(token) <= MAX_TOKEN:
        return f"has {len(token)} characters; it needs at least {LEAST}, and at most {MAX_TOKEN}"
    return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
