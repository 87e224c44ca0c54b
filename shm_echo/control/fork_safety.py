"""What os.fork must not carry over: the server side of the control plane.

A child that is forked from the process of a server inherits its sockets. If it kept them open,
clients of a dead server would wait for an answer from a socket that nobody reads, and the address
would look alive. So in every child, before anything else runs, what is registered here lets go.

``FORK_LOCK`` is held while a fork happens. Whoever opens a descriptor holds it until the
descriptor is where ``after_fork_in_child`` finds it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["FORK_LOCK", "ForkAware", "at_fork"]

# Re-entrant because a signal handler may fork while its thread holds it.
FORK_LOCK = threading.RLock()


class ForkAware(Protocol):
    def after_fork_in_child(self) -> None:
        """Close inherited descriptors. May take no lock: its holder may not exist here."""


_registered: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def at_fork(owner: ForkAware) -> None:
    """Have ``owner.after_fork_in_child()`` called in children, as long as the owner lives."""
    with FORK_LOCK:
        _registered.add(owner)


def _in_child() -> None:
    FORK_LOCK.release()
    for owner in list(_registered):
        owner.after_fork_in_child()
    _registered.clear()


os.register_at_fork(
    before=FORK_LOCK.acquire, after_in_parent=FORK_LOCK.release, after_in_child=_in_child
)
