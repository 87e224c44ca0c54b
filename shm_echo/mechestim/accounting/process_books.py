"""The books of the process: closed contexts, merged by namespace, and the default budget.

Memory is O(distinct namespaces x distinct operations), however many contexts come and go.
NumPy-free.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from shm_echo.mechestim.accounting.account import Account

Books = dict[str | None, dict[str, tuple[int, int]]]  # {namespace: {operation: (FLOPs, calls)}}

DEFAULT_LABEL = "(default)"


class _Group:
    """The merged contexts of one namespace."""

    def __init__(self, limit: int = 0, books: Books | None = None) -> None:
        self.limit = limit
        self.books: Books = {} if books is None else books

    def add(self, account: Account) -> Books:
        """Add a context, less the part that an earlier merge added. Return its books."""
        books = account.books()
        since, before = account.last_merge or (None, {})
        if since != _resets:
            self.limit += account.limit
        _merge(self.books, books, before)
        return books

    def copy(self) -> _Group:
        return _Group(self.limit, {name: dict(ops) for name, ops in self.books.items()})


_lock = threading.RLock()  # re-entrant: a signal handler may read while this thread holds it
_closed: dict[str | None, _Group] = {}  # by the namespace of the context
_resets = 0


def describe(account: Account, label: str | None, *, by_namespace: bool) -> dict[str, Any]:
    """Return one account as plain values."""
    books = account.books()
    used = _flops(books)
    result: dict[str, Any] = {
        "namespace": label,
        "flop_budget": account.limit,
        "flops_used": used,
        "flops_remaining": account.limit - used,
        "operations": _operations(books),
    }
    if by_namespace:
        result["by_namespace"] = _by_namespace(books, dict.fromkeys(books, account.limit))
    return result


def merge_closed(account: Account, label: str | None) -> None:
    """Merge the books of a context that closes, without the part that was merged before."""
    with _lock:
        account.last_merge = (_resets, _closed.setdefault(label, _Group()).add(account))


def _after_fork_in_child() -> None:
    """Renew the lock: the thread that may hold it is not in the child."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def reset() -> None:
    """Forget every closed context."""
    global _resets
    with _lock:
        _closed.clear()
        _resets += 1


def snapshot(
    default: Account | None,
    *,
    by_namespace: bool,
    still_open: Iterable[tuple[Account, str | None]] = (),
) -> dict[str, Any]:
    """Return all closed contexts and the default budget as plain values.

    Args:
        default: the default budget; None while there is none.
        by_namespace: add `by_namespace`: the operations of each label, and the budget of the
            contexts that they were charged to.
        still_open: open contexts, with their namespaces, to count as if they closed now.
    """
    groups: dict[str | None, _Group] = {}
    default_books: Books = {} if default is None else default.books()
    if default is not None and default_books:
        books: Books = {
            DEFAULT_LABEL if name is None else name: ops for name, ops in default_books.items()
        }
        groups[DEFAULT_LABEL] = _Group(default.limit, books)
    with _lock:
        for label, group in list(_closed.items()):
            groups[label] = group.copy()
        for account, label in still_open:
            groups.setdefault(label, _Group()).add(account)
    total: Books = {}
    for group in groups.values():
        _merge(total, group.books, {})
    budget, used = sum(group.limit for group in groups.values()), _flops(total)
    result: dict[str, Any] = {
        "flop_budget": budget,
        "flops_used": used,
        "flops_remaining": budget - used,
        "operations": _operations(total),
    }
    if by_namespace:
        limits: dict[str | None, int] = {}
        for label, group in groups.items():
            for name in dict.fromkeys((label, *group.books)):
                limits[name] = limits.get(name, 0) + group.limit
        result["by_namespace"] = _by_namespace(total, limits)
    return result


def _by_namespace(books: Books, limits: dict[str | None, int]) -> dict[str | None, dict[str, Any]]:
    parts: dict[str | None, Books] = {name: {name: books.get(name, {})} for name in limits}
    return {
        name: {
            "flop_budget": limits[name],
            "flops_used": _flops(part),
            "operations": _operations(part),
        }
        for name, part in parts.items()
    }


def _flops(books: Books) -> int:
    return sum(flops for operations in books.values() for flops, _ in operations.values())


def _operations(books: Books) -> dict[str, dict[str, int]]:
    """Operations of all namespaces together, the dearest first; FLOPs under both usual keys."""
    merged: dict[str, list[int]] = {}
    for operations in books.values():
        for name, (flops, calls) in operations.items():
            tally = merged.setdefault(name, [0, 0])
            tally[0] += flops
            tally[1] += calls
    ordered = sorted(merged.items(), key=lambda item: (-item[1][0], item[0]))
    return {
        name: {"flop_cost": flops, "flops": flops, "calls": calls}
        for name, (flops, calls) in ordered
    }


def _merge(into: Books, books: Books, without: Books) -> None:
    for namespace, operations in books.items():
        target = into.setdefault(namespace, {})
        old = without.get(namespace, {})
        for name, (flops, calls) in operations.items():
            base_flops, base_calls = target.get(name, (0, 0))
            old_flops, old_calls = old.get(name, (0, 0))
            target[name] = (base_flops + flops - old_flops, base_calls + calls - old_calls)
