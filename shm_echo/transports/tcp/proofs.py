"""The proofs by which both sides of a shm wire show that they know a token, without sending it.

    client's MAC = HMAC-SHA256(key, "shm-echo tcp 1 client" | server's hello | client's hello)
    server's MAC = HMAC-SHA256(key, "shm-echo tcp 1 server" | server's hello | client's hello)

The key is the SHA-256 of the token, which is all that a listener keeps. Each hello has a nonce that
its sender has made for this connection, so no proof can be used again, and the two labels keep a
server from sending a client's proof back. A proof says who opened the connection. It does not
protect the bytes that follow: TLS does.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["is_proof", "proof", "token_key"]

_LABELS = {"client": b"shm-echo tcp 1 client", "server": b"shm-echo tcp 1 server"}


def token_key(token: str) -> bytes:
    """Return the key that belongs to a token."""
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def proof(
    key: bytes, whose: Literal["client", "server"], server_hello: bytes, client_hello: bytes
) -> bytes:
    """Return the MAC of one side.

    Args:
        key: the key of the token.
        whose: the side that proves itself.
        server_hello: all bytes of the server's hello.
        client_hello: all bytes of the client's hello, without its MAC.
    """
    import hmac

    return hmac.digest(key, _LABELS[whose] + server_hello + client_hello, "sha256")


def is_proof(
    mac: bytes,
    key: bytes,
    whose: Literal["client", "server"],
    server_hello: bytes,
    client_hello: bytes,
) -> bool:
    """Return True if `mac` is the MAC of one side; the time does not depend on where it differs."""
    import hmac

    return hmac.compare_digest(mac, proof(key, whose, server_hello, client_hello))
