"""GAE against its definition, summed term by term."""

from __future__ import annotations

import numpy as np

from shm_echo.demo.advantage import gae

GAMMA, LAM = 0.9, 0.8


def naive(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> np.ndarray:
    """sum over k of (gamma * lam)^k * delta[t + k], up to the end of t's episode."""
    fragments, steps = rewards.shape
    advantages = np.zeros((fragments, steps))
    for i in range(fragments):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                after = 0.0 if terminated[i, k] else next_values[i, k]
                advantages[i, t] += weight * (rewards[i, k] + GAMMA * after - values[i, k])
                if terminated[i, k] or truncated[i, k]:
                    break
                weight *= GAMMA * LAM
    return advantages


def test_agrees_with_the_definition_over_episodes_of_all_endings() -> None:
    rng = np.random.default_rng(0)
    shape = (40, 25)
    rewards, values, next_values = rng.standard_normal((3, *shape))
    ending = rng.random(shape)
    terminated, truncated = ending < 0.1, ending > 0.9

    found = gae(rewards, values, next_values, terminated, truncated, gamma=GAMMA, lam=LAM)

    np.testing.assert_allclose(found, naive(rewards, values, next_values, terminated, truncated))


def test_a_time_limit_bootstraps_where_a_termination_does_not() -> None:
    one, no, yes = np.ones((1, 1)), np.array([[False]]), np.array([[True]])

    def after(terminated: np.ndarray, truncated: np.ndarray) -> float:
        return float(gae(one, one, 5 * one, terminated, truncated, gamma=0.5, lam=1.0)[0, 0])

    assert after(yes, no) == 0.0
    assert after(no, yes) == 2.5


def test_keeps_the_dtype_of_the_rewards() -> None:
    zeros = np.zeros((2, 3), np.float32)
    no = np.zeros((2, 3), np.bool_)

    assert gae(zeros, zeros, zeros, no, no, gamma=GAMMA, lam=LAM).dtype == np.float32
