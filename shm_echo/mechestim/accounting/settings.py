"""The settings of `mechestim.configure`, and how they reach budgets that are open. NumPy-free.

A call of `configure` changes every setting that it names, or none, from the next operation on. The
attributes of `settings` are the current values; each budget has copies of those that its charges
need.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from shm_echo.mechestim.accounting.account import Account
from shm_echo.validation import check_count

__all__ = ["Settings", "configure", "settings"]

_UNCHANGED: Any = ...  # the default of a setting that a call does not change


class Settings:
    """The process's settings, and the accounts that follow them.

    Attributes:
        symmetry_warnings: warn when an operation drops a symmetry.
        check_nan_inf: warn when a result holds NaN or Inf.
        op_log: the number of calls that a budget remembers; 0 for none.
        weights: the factors of prices, by operation; None for 1 everywhere.
    """

    def __init__(self) -> None:
        self.symmetry_warnings = True
        self.check_nan_inf = False
        self.op_log = 0
        self.weights: Mapping[str, float] | None = _weights_of_the_environment()
        self._accounts: weakref.WeakSet[Account] = weakref.WeakSet()
        self._lock = threading.RLock()

    def follow(self, account: Account) -> None:
        """Copy the settings to `account`, now and whenever they change."""
        with self._lock:
            self._accounts.add(account)
            self._copy_to(account)

    def change(self, values: Mapping[str, Any]) -> None:
        """Set checked values, and copy them to every account that follows."""
        with self._lock:
            for name, value in values.items():
                setattr(self, name, value)
            for account in list(self._accounts):
                self._copy_to(account)

    def after_fork_in_child(self) -> None:
        """Renew the locks: the threads that may hold them are not in the child."""
        self._lock = threading.RLock()
        for account in list(self._accounts):
            account.after_fork_in_child()

    def _copy_to(self, account: Account) -> None:
        with account.lock:
            account.check_nan_inf = self.check_nan_inf
            account.weights = self.weights
            if not self.op_log:
                account.log = None
            elif account.log is None or account.log.maxlen != self.op_log:
                account.log = deque(account.log or (), maxlen=self.op_log)
        account.refresh()


def configure(
    *,
    symmetry_warnings: bool = _UNCHANGED,
    check_nan_inf: bool = _UNCHANGED,
    op_log: int | None = _UNCHANGED,
    weights: Mapping[str, float] | str | os.PathLike[str] | None = _UNCHANGED,
    **unknown: NoReturn,
) -> None:
    """Change settings of this process, from the next operation on.

    Args:
        symmetry_warnings: warn (SymmetryLossWarning) when an operation drops a symmetry; initially
            True.
        check_nan_inf: warn (MechEstimWarning) when a result holds NaN or Inf; initially False.
        op_log: the number of last calls that a budget remembers in `op_log`; initially 0, none.
        weights: the factors of prices: a mapping from operation names to numbers, or the path of a
            JSON file with one. Initially None: 1 everywhere.

    Raises:
        ValueError: a setting is unknown, or its value is out of range; nothing has changed.
    """
    if unknown:
        name = next(iter(unknown))
        raise ValueError(f"Unknown setting: {name!r}. The settings are {', '.join(_CHECKS)}.")
    given = {
        "symmetry_warnings": symmetry_warnings,
        "check_nan_inf": check_nan_inf,
        "op_log": op_log,
        "weights": weights,
    }
    changes = {name: value for name, value in given.items() if value is not _UNCHANGED}
    settings.change({name: _CHECKS[name](name, value) for name, value in changes.items()})


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def _length(name: str, value: Any) -> int:
    if value is None:
        return 0
    try:
        return check_count(name, value, 0, most=sys.maxsize)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number of calls, 0 or more, got {value!r}") from None


def _weights(name: str, value: Any) -> Mapping[str, float] | None:
    # Imported here: the registry of all operations is large, and few programs set weights.
    from shm_echo.mechestim.accounting import weights

    if value is None:
        return None
    if isinstance(value, Mapping):
        return weights.check(value) or None
    if isinstance(value, (str, os.PathLike)):
        return weights.load(value) or None
    raise ValueError(
        f"{name} must be a mapping from operation names to numbers, the path of a JSON file, or "
        f"None, got {value!r}"
    )


def _weights_of_the_environment() -> Mapping[str, float] | None:
    if not os.environ.get("MECHESTIM_WEIGHTS_FILE", "").strip():
        return None
    from shm_echo.mechestim.accounting import weights

    return weights.from_environment() or None


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "symmetry_warnings": _flag,
    "check_nan_inf": _flag,
    "op_log": _length,
    "weights": _weights,
}

settings = Settings()
os.register_at_fork(after_in_child=settings.after_fork_in_child)
