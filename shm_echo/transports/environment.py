"""The environment variable by which a launcher gives its actors the address of a server."""

from __future__ import annotations

import os

from shm_echo.control.address import parse_address
from shm_echo.errors import AddressError

__all__ = ["ADDRESS_VARIABLE", "address_from_environment"]

ADDRESS_VARIABLE = "SHM_ECHO_ADDRESS"


def address_from_environment() -> str:
    """Return the address that the environment names, for a client that was given none.

    Raises:
        AddressError: the environment names none, or a malformed one.
    """
    text = os.environ.get(ADDRESS_VARIABLE, "")
    if not text:
        state = "is empty" if ADDRESS_VARIABLE in os.environ else "is not set"
        raise AddressError(
            text,
            f"no address was given, and {ADDRESS_VARIABLE} {state}: let the launcher set it to "
            "server.address, or give the client an address",
        )
    try:
        parse_address(text)
    except AddressError as error:
        detail = str(error).partition(": ")[2]
        raise AddressError(text, f"{detail} (it comes from {ADDRESS_VARIABLE})") from None
    return text
