"""Accounts of local mode: the count is kept in this process."""

from __future__ import annotations

from shm_echo.mechestim.accounting.account import Account


def new(limit: int, multiplier: float = 1.0) -> Account:
    """Return an account with a budget of `limit` FLOPs."""
    return Account(limit, multiplier=multiplier)
