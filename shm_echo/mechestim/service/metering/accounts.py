"""The accounts of a session: the session's ledger pays every charge, too.

The account holds the values that a client's context shows: its limit, its multiplier, its weights.
The ledger takes the plain cost from the ceiling of the session's principal. One thread at a time
works on a session, so a charge in one step needs no lock here.
"""

from __future__ import annotations

from shm_echo.mechestim.accounting.account import Account, AccountView
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.flop_ceiling import SessionLedger

__all__ = ["SessionAccount"]


class SessionAccount(Account):
    """A budget of a session.

    Args:
        limit: The FLOPs of the budget.
        ledger: The session's ledger.
        multiplier: Multiplies the charges of this account, not those of the ledger.
    """

    __slots__ = ("ledger",)

    def __init__(self, limit: int, ledger: SessionLedger, multiplier: float = 1.0) -> None:
        super().__init__(limit, multiplier=multiplier)
        self.ledger = ledger

    def _new_view(self, namespace: str | None) -> AccountView:
        return _SessionAccountView(self, namespace, self.ledger)


class _SessionAccountView(AccountView):
    """A view whose charges a ledger pays once they are known to fit into the account."""

    __slots__ = ("_ledger",)

    def __init__(self, account: Account, namespace: str | None, ledger: SessionLedger) -> None:
        super().__init__(account, namespace)
        self._ledger = ledger

    # The parent's `charge` with the ledger in the middle, and without its lock. Calling the parent
    # would check the available FLOPs a second time, on the path of every operation.
    def charge(self, name: str, cost: int) -> None:
        account = self.account
        available = account.available - cost
        if available < 0:
            raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.available)
        self._ledger.charge(name, cost)
        account.available = available
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies.setdefault(name, [0, 0])
        tally[0] += cost
        tally[1] += 1
        if available <= account.next_mark:
            account.mark()

    def reserve(self, name: str, cost: int) -> int:
        self._ledger.reserve(name, cost)
        try:
            return super().reserve(name, cost)
        except BaseException:
            self._ledger.release(name, cost)
            raise

    def release(self, reserved: int, name: str = "", cost: int = 0) -> None:
        super().release(reserved)
        self._ledger.release(name, cost)
