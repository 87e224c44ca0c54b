"""Closes a server's descriptors in forked children.

A child that is forked from a server's process inherits its sockets. If it kept them open, clients
of a dead server would wait for an answer from a socket that no process reads, and the address would
seem to be served. So in every child, before anything else runs, each registered object closes its
descriptors.

`FORK_LOCK` is held during a fork. Code that opens a descriptor holds it, too, until the descriptor
is where `after_fork_in_child` finds it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["FORK_LOCK", "ForkAware", "register_at_fork"]

# Re-entrant because a signal handler may fork while its thread holds it.
FORK_LOCK = threading.RLock()


class ForkAware(Protocol):
    """An object that owns descriptors which a forked child must not keep."""

    def after_fork_in_child(self) -> None:
        """Close the inherited descriptors. Take no lock: its holder may not exist in the child."""


_registered: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register_at_fork(owner: ForkAware) -> None:
    """Call `owner.after_fork_in_child()` in forked children, as long as the owner exists."""
    with FORK_LOCK:
        _registered.add(owner)


def _after_fork_in_child() -> None:
    FORK_LOCK.release()
    for owner in list(_registered):
        owner.after_fork_in_child()
    _registered.clear()


os.register_at_fork(
    before=FORK_LOCK.acquire, after_in_parent=FORK_LOCK.release, after_in_child=_after_fork_in_child
)
