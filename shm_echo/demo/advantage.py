"""Generalised advantage estimation over rollout fragments.

GAE (Schulman et al. 2016) for a batch of fragments, each T consecutive steps of one environment,
vectorised over the fragments.

A fragment is complete in itself. The value after its last step, and after a step at which the time
limit cut the episode, is bootstrapped from that step's own next observation. The value after a
termination is 0. No advantage flows from one episode into another. The caller passes the values,
which may be newer than the fragments.
"""

from __future__ import annotations

import numpy as np

from shm_echo.demo.policy import Array

__all__ = ["gae"]


def gae(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    *,
    gamma: float,
    lam: float,
) -> Array:
    """Return the advantage of each step; all arrays are (fragments, steps)."""
    deltas = rewards + gamma * next_values * ~terminated - values
    carried_on = gamma * lam * ~(terminated | truncated)
    advantages: Array = np.empty_like(deltas)
    following = np.zeros_like(deltas[:, 0])
    for t in range(deltas.shape[1] - 1, -1, -1):
        following = deltas[:, t] + carried_on[:, t] * following
        advantages[:, t] = following
    return advantages
