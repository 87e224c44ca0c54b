"""Accounts of a session: each charge is paid by the session's purse, too.

What a client's context shows (its limit, its multiplier, its weights) is in the account; the purse
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
        purse: of the session.
        multiplier: of what is charged here; not of what the purse pays.
    """

    __slots__ = ("purse",)

    def __init__(self, limit: int, purse: SessionLedger, multiplier: float = 1.0) -> None:
        super().__init__(limit, multiplier=multiplier)
        self.purse = purse

    def _new_frame(self, namespace: str | None) -> AccountView:
        return _SessionFrame(self, namespace, self.purse)


class _SessionFrame(AccountView):
    """A frame whose charges are paid by a purse, after they were found to fit into the account."""

    __slots__ = ("_purse",)

    def __init__(self, account: Account, namespace: str | None, purse: SessionLedger) -> None:
        super().__init__(account, namespace)
        self._purse = purse

    def charge(self, name: str, cost: int) -> None:
        account = self.account
        room = account.room - cost
        if room < 0:
            raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.room)
        self._purse.spend(name, cost)
        account.room = room
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies.setdefault(name, [0, 0])
        tally[0] += cost
        tally[1] += 1
        if room <= account.next_mark:
            account.mark()

    def reserve(self, name: str, cost: int) -> int:
        self._purse.take(name, cost)
        try:
            return super().reserve(name, cost)
        except BaseException:
            self._purse.give_back(name, cost)
            raise

    def cancel(self, promised: int, name: str = "", cost: int = 0) -> None:
        super().cancel(promised)
        self._purse.give_back(name, cost)
