"""The contexts of TLS, checked when they are given, and the words for what can fail."""

from __future__ import annotations

import contextlib
import os
import ssl

__all__ = [
    "NEEDED_VERSION",
    "check_server_context",
    "client_context",
    "client_text",
    "no_tls_text",
    "server_text",
]


# Earlier versions have no half-close: a client could not wait for its last acknowledgements.
NEEDED_VERSION = "TLSv1.3"


def _check_version(context: ssl.SSLContext) -> None:
    most = context.maximum_version
    if most not in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3):
        raise ValueError(f"tls= has maximum_version {most.name}, and TLSv1_3 is needed")


def client_context(tls: object) -> ssl.SSLContext:
    """Return the context of a client.

    Args:
        tls: a context, or True for one that trusts the certificates that this machine trusts.

    Raises:
        TypeError: it is neither.
        ValueError: it is the context of a server, or leaves out TLS 1.3.
    """
    if tls is True:
        return ssl.create_default_context()
    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be True or an ssl.SSLContext, not {tls!r}")
    if tls.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("tls= is the context of a server (ssl.PROTOCOL_TLS_SERVER)")
    _check_version(tls)
    return tls


def check_server_context(tls: object) -> ssl.SSLContext:
    """Return the context of a server, after a look if it can serve.

    Raises:
        TypeError: it is no context.
        ValueError: it is the context of a client, leaves out TLS 1.3, or has no certificate.
    """
    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be an ssl.SSLContext or None, not {type(tls).__name__}")
    if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            "tls= is the context of a client: use ssl.create_default_context"
            "(ssl.Purpose.CLIENT_AUTH)"
        )
    _check_version(tls)
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trial.check_hostname, trial.verify_mode = False, ssl.CERT_NONE
    hello, unused, answer = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trial.wrap_bio(unused, hello).do_handshake()
    try:
        tls.wrap_bio(hello, answer, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError as error:
        raise ValueError(
            f"tls= cannot serve ({_reason(error)}): has it a certificate (load_cert_chain)?"
        ) from None
    return tls


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason as words."""
    reason = getattr(error, "reason", None)
    return reason.lower().replace("_", " ") if reason else str(error.strerror or error)


def no_tls_text(address: str) -> str:
    """Describe, for the client, a server that does not speak TLS."""
    return f"{address}: it does not answer with TLS: its server was made without tls="


def client_text(address: str, error: ssl.SSLError) -> str:
    """Describe, for the client, why a handshake failed."""
    if getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return no_tls_text(address)
    return f"{address}: the TLS handshake failed: {_reason(error)}"


def server_text(error: Exception) -> str:
    """Describe, for the server's log, why a handshake failed."""
    if isinstance(error, TimeoutError):
        return "the TLS handshake was not done in time"
    if isinstance(error, ssl.SSLError):
        if getattr(error, "reason", None) in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER"):
            return "it does not speak TLS, which this server's tls= asks for"
        return f"the TLS handshake failed: {_reason(error)}"
    number = getattr(error, "errno", None)
    return f"the TLS handshake failed: {os.strerror(number) if number else error}"
