"""Accounts of a session: each charge is paid by the session's ledger, too.

What a client's context shows (its limit, its multiplier, its weights) is in the account; the ledger
takes the plain price from the ceiling of the session's principal. One thread at a time works on a
session, so a charge in one step needs no lock here.
"""

from __future__ import annotations

from shm_echo.mechestim.accounting.account import Account, AccountView
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.flop_ceiling import SessionLedger

__all__ = ["SessionAccount"]


class SessionAccount(Account):
    """A budget of a session.

    Args:
        limit: FLOPs.
        ledger: of the session.
        multiplier: of what is charged here; not of what the ledger pays.
    """

    __slots__ = ("ledger",)

    def __init__(self, limit: int, ledger: SessionLedger, multiplier: float = 1.0) -> None:
        super().__init__(limit, multiplier=multiplier)
        self.ledger = ledger

    def _new_frame(self, namespace: str | None) -> AccountView:
        return _SessionAccountView(self, namespace, self.ledger)


class _SessionAccountView(AccountView):
    """A frame whose charges are paid by a ledger, after they were found to fit into the account."""

    __slots__ = ("_ledger",)

    def __init__(self, account: Account, namespace: str | None, ledger: SessionLedger) -> None:
        super().__init__(account, namespace)
        self._ledger = ledger

    def charge(self, name: str, cost: int) -> None:
        account = self.account
        room = account.room - cost
        if room < 0:
            raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.room)
        self._ledger.charge(name, cost)
        account.room = room
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies.setdefault(name, [0, 0])
        tally[0] += cost
        tally[1] += 1
        if room <= account.next_mark:
            account.mark()

    def reserve(self, name: str, cost: int) -> int:
        self._ledger.reserve(name, cost)
        try:
            return super().reserve(name, cost)
        except BaseException:
            self._ledger.release(name, cost)
            raise

    def cancel(self, promised: int, name: str = "", cost: int = 0) -> None:
        super().cancel(promised)
        self._ledger.release(name, cost)
