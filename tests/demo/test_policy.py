"""The networks, the loss and Adam against numerical gradients and known answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shm_echo.demo.policy import MLP, Adam, log_softmax, sample_actions
from shm_echo.demo.ppo import PPO, Hyperparameters, policy_gradient


def numerical_gradient(loss: Callable[[], float], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + step
        above = loss()
        x[i] = kept - step
        below = loss()
        x[i] = kept
        gradient[i] = (above - below) / (2 * step)
    return gradient


def test_backward_agrees_with_the_numerical_gradient_in_every_parameter() -> None:
    rng = np.random.default_rng(0)
    net = MLP((3, 5, 4, 2), rng, dtype=np.float64)
    net.flat += 0.1 * rng.standard_normal(net.flat.shape)  # biases away from 0, too
    x = rng.standard_normal((7, 3))
    direction = rng.standard_normal((7, 2))

    outputs, inputs = net.forward(x)
    gradient = net.backward(inputs, direction).copy()

    expected = numerical_gradient(lambda: float((net(x) * direction).sum()), net.flat)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    assert outputs.shape == (7, 2)


def clipped_loss(
    logits: np.ndarray,
    actions: np.ndarray,
    old: np.ndarray,
    advantages: np.ndarray,
    clip: float,
    entropy: float,
) -> float:
    """PPO's loss, written down one sample at a time."""
    total = 0.0
    for row, action, old_log_prob, advantage in zip(logits, actions, old, advantages, strict=True):
        probs = np.exp(row) / np.exp(row).sum()
        ratio = probs[action] / np.exp(old_log_prob)
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        total -= min(ratio * advantage, clipped * advantage)
        total += entropy * float((probs * np.log(probs)).sum())
    return total / len(actions)


@pytest.mark.parametrize("drift", [0.01, 0.6], ids=["inside the clip range", "mostly outside"])
def test_policy_gradient_agrees_with_the_numerical_gradient_of_the_clipped_loss(
    drift: float,
) -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((64, 2))
    actions = rng.integers(0, 2, 64)
    new = log_softmax(logits)[np.arange(64), actions]
    old = new + drift * rng.standard_normal(64)
    advantages = rng.standard_normal(64)

    gradient = policy_gradient(logits, actions, old, advantages, clip=0.2, entropy=0.05)

    expected = numerical_gradient(
        lambda: clipped_loss(logits, actions, old, advantages, 0.2, 0.05), logits
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)


def test_adam_takes_first_steps_of_the_learning_rate_against_the_gradient() -> None:
    parameters = np.array([1.0, 1.0, 1.0])
    adam = Adam(parameters, 0.01)

    adam.step(np.array([5.0, -0.003, 0.0]))

    np.testing.assert_allclose(parameters, [0.99, 1.01, 1.0], rtol=1e-4)


def test_adam_finds_the_minimum_of_a_badly_scaled_parabola() -> None:
    scales = np.array([100.0, 1.0, 0.01])
    parameters = np.ones(3)
    adam = Adam(parameters, 0.02)

    for _ in range(2000):
        adam.step(scales * parameters)

    np.testing.assert_allclose(parameters, 0, atol=0.02)


def test_adam_shortens_a_gradient_above_the_maximal_norm_and_no_other() -> None:
    def after(gradient: list[float], max_norm: float) -> np.ndarray:
        adam = Adam(parameters := np.zeros(2), 1.0)
        adam.step(np.array([1.0, 0.0]))  # so that the second step depends on the length
        adam.step(np.array(gradient), max_norm=max_norm)
        return parameters

    np.testing.assert_array_equal(after([30.0, 40.0], 5.0), after([3.0, 4.0], np.inf))
    np.testing.assert_array_equal(after([3.0, 4.0], 6.0), after([3.0, 4.0], np.inf))


def test_sampled_actions_follow_the_softmax_and_come_with_their_log_probability() -> None:
    rng = np.random.default_rng(2)
    logits = np.tile(np.log([0.2, 0.8]), (20_000, 1))

    actions, log_probs = sample_actions(logits, rng)

    assert abs(actions.mean() - 0.8) < 0.02
    np.testing.assert_allclose(log_probs, np.log(np.where(actions == 1, 0.8, 0.2)))


def test_log_softmax_survives_logits_whose_exponential_overflows() -> None:
    np.testing.assert_allclose(log_softmax(np.array([[1000.0, 0.0]])), [[0.0, -1000.0]])


def test_a_network_loaded_from_anothers_tree_computes_the_same() -> None:
    source = MLP((4, 8, 2), np.random.default_rng(3))
    copy = MLP((4, 8, 2), np.random.default_rng(4))
    x = np.ones((1, 4), np.float32)
    assert not np.allclose(source(x), copy(x))

    copy.load({name: array.copy() for name, array in source.tree().items()})

    np.testing.assert_array_equal(source(x), copy(x))


def test_an_update_makes_the_better_action_more_likely() -> None:
    """A bandit in two states: action 1 is right in the first, action 0 in the second."""
    rng = np.random.default_rng(5)
    ppo = PPO(4, 2, rng, Hyperparameters(learning_rate=1e-3))
    states = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32)
    for _ in range(20):
        which = rng.integers(0, 2, (16, 32))
        obs = states[which]
        actions, log_probs = sample_actions(ppo.policy(obs.reshape(-1, 4)), rng)
        actions = actions.reshape(16, 32)
        steps: dict[str, Any] = {
            "obs": obs,
            "next_obs": obs,
            "action": actions,
            "log_prob": log_probs.reshape(16, 32),
            "reward": (actions == 1 - which).astype(np.float32),
            "terminated": np.ones((16, 32), np.bool_),
            "truncated": np.zeros((16, 32), np.bool_),
        }
        ppo.update(steps)

    probs = np.exp(log_softmax(ppo.policy(states)))
    assert probs[0, 1] > 0.9
    assert probs[1, 0] > 0.9
