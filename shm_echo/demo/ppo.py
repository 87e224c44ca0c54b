"""Proximal policy optimisation on batches of rollout fragments, in NumPy.

Each ring batch gives one update: advantages under the current value function, then a few passes
    over
shuffled minibatches with PPO's clipped objective (Schulman et al. 2017).

The ratio is taken against the log-probabilities that the acting policy recorded, so that fragments
of older policy versions are used correctly. Clipping bounds the change of the policy by one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shm_echo.demo.advantage import gae
from shm_echo.demo.policy import MLP, Adam, Array, log_softmax

__all__ = ["PPO", "Hyperparameters", "policy_gradient"]


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of the demo, chosen to be robust on CartPole rather than fast."""

    hidden: tuple[int, ...] = (64, 64)
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy: float = 0.005
    learning_rate: float = 1e-4
    epochs: int = 4
    minibatch: int = 256
    max_norm: float = 0.5


class PPO:
    """A policy, a value function, and the update that improves both."""

    def __init__(
        self, observation_size: int, actions: int, rng: np.random.Generator, hp: Hyperparameters
    ) -> None:
        self.hp = hp
        self.policy = MLP((observation_size, *hp.hidden, actions), rng, last_scale=0.01)
        self.value = MLP((observation_size, *hp.hidden, 1), rng)
        self._rng = rng
        self._policy_adam = Adam(self.policy.flat, hp.learning_rate)
        self._value_adam = Adam(self.value.flat, hp.learning_rate)

    def update(self, steps: dict[str, Any]) -> None:
        """Train on one batch; every leaf of `steps` is (fragments, steps, ...)."""
        hp = self.hp
        obs = _rows(steps["obs"])
        shape = steps["reward"].shape
        values = self.value(obs)[:, 0]
        next_values = self.value(_rows(steps["next_obs"]))[:, 0]
        # Rewards times (1 - gamma) keep values within [0, 1], which suits the network's scale;
        # advantages are normalised below, so the policy does not see the factor.
        advantages = gae(
            steps["reward"] * np.float32(1 - hp.gamma),
            values.reshape(shape),
            next_values.reshape(shape),
            steps["terminated"],
            steps["truncated"],
            gamma=hp.gamma,
            lam=hp.lam,
        ).ravel()
        targets = advantages + values
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        actions = steps["action"].ravel()
        old_log_probs = steps["log_prob"].ravel()
        for _ in range(hp.epochs):
            order = self._rng.permutation(len(obs))
            for start in range(0, len(obs), hp.minibatch):
                rows = order[start : start + hp.minibatch]
                self._step(
                    obs[rows], actions[rows], old_log_probs[rows], advantages[rows], targets[rows]
                )

    def _step(
        self, obs: Array, actions: Array, old_log_probs: Array, advantages: Array, targets: Array
    ) -> None:
        hp = self.hp
        logits, inputs = self.policy.forward(obs)
        grad = policy_gradient(
            logits, actions, old_log_probs, advantages, clip=hp.clip, entropy=hp.entropy
        )
        self._policy_adam.step(self.policy.backward(inputs, grad), max_norm=hp.max_norm)
        values, inputs = self.value.forward(obs)
        error = (values[:, 0] - targets)[:, None] / np.float32(len(obs))
        self._value_adam.step(self.value.backward(inputs, error), max_norm=hp.max_norm)


def policy_gradient(
    logits: Array,
    actions: Array,
    old_log_probs: Array,
    advantages: Array,
    *,
    clip: float,
    entropy: float,
) -> Array:
    """Return the gradient by the logits of PPO's clipped loss minus `entropy` times the entropy.

    The loss is `-mean(min(r * A, clip(r, 1 - clip, 1 + clip) * A))`; the entropy is the mean one.
    """
    n = len(actions)
    log_probs = log_softmax(logits)
    probs = np.exp(log_probs)
    chosen = np.zeros_like(probs)
    chosen[np.arange(n), actions] = 1
    ratio = np.exp((log_probs * chosen).sum(axis=1) - old_log_probs)
    # If the clipped branch is the smaller one, the loss does not depend on the policy.
    active = np.where(advantages > 0, ratio < 1 + clip, ratio > 1 - clip)
    weight = (advantages * ratio * active)[:, None]
    grad_objective = weight * (chosen - probs)
    mean_log_prob = (probs * log_probs).sum(axis=1, keepdims=True)
    grad_entropy = -probs * (log_probs - mean_log_prob)
    gradient: Array = -(grad_objective + entropy * grad_entropy) / np.asarray(n, logits.dtype)
    return gradient


def _rows(leaf: Array) -> Array:
    """Reshape (fragments, steps, ...) to (fragments * steps, ...)."""
    return leaf.reshape(-1, *leaf.shape[2:])
