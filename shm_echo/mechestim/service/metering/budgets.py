"""The budgets of one session.

The server alone keeps the counts. A client opens contexts and reads their books; it can neither
lower a count nor raise a limit. The ceiling of the session's principal (`flop_ceiling`) applies to
all contexts together, and no context can lift it.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from shm_echo.mechestim.accounting.account import Account, AccountView
from shm_echo.mechestim.accounting.active_account import current_view
from shm_echo.mechestim.accounting.budget_values import positive_number, whole_flops
from shm_echo.mechestim.accounting.settings import Settings, settings
from shm_echo.mechestim.accounting.weights import check as checked_weights
from shm_echo.mechestim.errors import MechEstimServerError, QuotaExceededError
from shm_echo.mechestim.service.metering.accounts import SessionAccount
from shm_echo.mechestim.service.metering.flop_ceiling import SessionLedger
from shm_echo.mechestim.service.metering.quotas import Quotas

# These bounds keep the memory of the books small, for any requests of a client.
_MAX_CONTEXTS = 4096
_MAX_NAMESPACES = 4096  # in one context
_MAX_SHAPES = 64
_MAX_LABEL_CHARS = 256
_MAX_LOG_RECORDS = 10**5


class Budgets:
    """The accounts of one session, by number; 0 is its default budget."""

    def __init__(self, quotas: Quotas, ledger: SessionLedger) -> None:
        self._ledger = ledger
        self._settings = Settings()
        self._accounts: dict[int, Account] = {0: self._account(quotas.default_budget, 1.0)}
        self._next = 1

    def _account(self, limit: int, multiplier: float) -> Account:
        account = SessionAccount(limit, self._ledger, multiplier)
        self._settings.follow(account)
        return account

    def open(
        self, flop_budget: Any, multiplier: float = 1.0, time_limit: float | None = None
    ) -> int:
        """Open an account. Return its number.

        Raises:
            ValueError: The budget, the multiplier or the time limit is out of range.
            QuotaExceededError: Too many accounts are open.
        """
        if len(self._accounts) > _MAX_CONTEXTS:
            raise QuotaExceededError(
                "max_contexts", allowed=_MAX_CONTEXTS, wanted=len(self._accounts)
            )
        if time_limit is not None:
            time_limit = positive_number("wall_time_limit_s", time_limit)
        multiplier = positive_number("flop_multiplier", multiplier)
        account = self._account(whole_flops(flop_budget), multiplier)
        account.time_limit = time_limit
        number, self._next = self._next, self._next + 1
        self._accounts[number] = account
        return number

    def account(self, number: Any) -> Account:
        """Return the account with this number.

        Raises:
            MechEstimServerError: The session has no such account.
        """
        found = self._accounts.get(number) if type(number) is int else None
        if found is None:
            raise MechEstimServerError(
                "this session has no such budget: it was closed, or never opened"
            )
        return found

    def view(self, number: Any, namespace: Any) -> AccountView:
        """Return the view that an operation charges: an account and a namespace.

        Raises:
            MechEstimServerError: The session has no such account, or the namespace is too long.
            QuotaExceededError: The account has too many namespaces.
        """
        # Every request comes here; nearly all use a view that exists.
        if type(number) is int and (namespace is None or type(namespace) is str):
            account = self._accounts.get(number)
            found = None if account is None else account.views.get(namespace)
            if found is not None:
                return found
        if namespace is not None and (
            type(namespace) is not str or len(namespace) > _MAX_LABEL_CHARS
        ):
            raise MechEstimServerError(f"a namespace has at most {_MAX_LABEL_CHARS} characters")
        account = self.account(number)
        if namespace not in account.views and len(account.views) >= _MAX_NAMESPACES:
            raise QuotaExceededError(
                "max_namespaces", allowed=_MAX_NAMESPACES, wanted=len(account.views) + 1
            )
        return account.view(namespace)

    def enter(self, number: Any, elapsed_s: float = 0.0) -> None:
        """Start the clock of a context that the client has entered."""
        account = self.account(number)
        if account.time_limit is not None:
            elapsed_s = max(0.0, float(elapsed_s))
            account.deadline = time.monotonic() + account.time_limit - elapsed_s
            account.refresh()

    def leave(self, number: Any) -> None:
        """Stop the clock of a context that the client has left."""
        account = self.account(number)
        account.deadline = None
        account.refresh()

    def deduct(self, name: Any, flop_cost: Any, subscripts: Any = None, shapes: Any = ()) -> None:
        """Charge work under a name that the client chooses.

        Raises:
            ValueError: The name is no text, or the cost is no integer of 0 or more.
            BudgetExhaustedError: The cost does not fit.
        """
        if type(name) is not str or type(flop_cost) is not int or flop_cost < 0:
            raise ValueError(f"flop_cost must be an int >= 0, got {flop_cost!r}")
        operands: list[Any] = [] if subscripts is None else [str(subscripts)[:_MAX_LABEL_CHARS]]
        for shape in list(shapes)[:_MAX_SHAPES]:
            operands.append(SimpleNamespace(shape=tuple(map(int, shape))[:_MAX_SHAPES]))
        view, label = current_view(), name[:_MAX_LABEL_CHARS]
        view.commit(label, view.reserve(label, flop_cost), tuple(operands))

    def log(self, number: Any) -> list[Any]:
        """Return the records of the optional log."""
        return [list(record) for record in self.account(number).log or ()]

    def history(self, number: Any) -> list[Any]:
        """Return the marks of the history, for drawing."""
        return [
            [
                mark.elapsed_s,
                [[namespace, name, flops] for (namespace, name), flops in mark.flops.items()],
            ]
            for mark in self.account(number).history
        ]

    def configure(self, op_log: Any = 0, check_nan_inf: Any = False, weights: Any = None) -> None:
        """Apply the client's `configure`, which changes the counts that its own contexts show."""
        self._settings.change(
            {
                "op_log": min(int(op_log), _MAX_LOG_RECORDS),
                "check_nan_inf": bool(check_nan_inf),
                "weights": settings.weights if weights is None else checked_weights(weights),
            }
        )

    def reset(self) -> None:
        """Reset the counts of the default budget; the ceiling keeps its count."""
        self.account(0).reset()

    def forget(self, numbers: list[Any]) -> None:
        """Close accounts for good. The ceiling keeps their FLOPs."""
        for number in numbers:
            if type(number) is int and number != 0:
                self._accounts.pop(number, None)

    def read(self, number: Any) -> dict[str, Any]:
        """Return the books of one account."""
        account = self.account(number)
        return {
            "used": account.used,
            "limit": account.limit,
            "books": [
                [namespace, {name: list(tally) for name, tally in operations.items()}]
                for namespace, operations in account.books().items()
            ],
        }

    def __len__(self) -> int:
        return len(self._accounts)

    def close(self) -> None:
        """Drop all accounts."""
        self._accounts.clear()
