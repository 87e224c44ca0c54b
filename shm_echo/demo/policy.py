"""Two small tanh networks, their gradients and Adam, in NumPy.

They are the policy and the value function of the demo. A network's parameters are views into one
flat float32 vector, so that an optimiser step is a few vector operations, and a policy is copied or
published layer by layer without conversion. The networks keep no reference to their inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MLP", "Adam", "Array", "FloatDType", "log_softmax", "sample_actions"]

Array: TypeAlias = NDArray[Any]
FloatDType: TypeAlias = type[np.float32] | type[np.float64]


class MLP:
    """A fully connected network: tanh on every hidden layer, nothing on the last one."""

    def __init__(
        self,
        sizes: Sequence[int],
        rng: np.random.Generator,
        *,
        last_scale: float = 1.0,
        dtype: FloatDType = np.float32,
    ) -> None:
        """Create layers of the given sizes, with orthogonal weights and zero biases.

        `last_scale` scales the last layer: near 0, a policy starts uniform.
        """
        self.sizes = tuple(sizes)
        shapes = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        self.flat: Array = np.zeros(sum(n * m + m for n, m in shapes), dtype)
        self.layers = _views(self.flat, shapes)
        for i, ((n, m), (weight, _)) in enumerate(zip(shapes, self.layers, strict=True)):
            scale = last_scale if i == len(shapes) - 1 else float(np.sqrt(2.0))
            weight[...] = scale * _orthogonal(rng, n, m)
        self._grad: Array = np.zeros_like(self.flat)
        self._grad_layers = _views(self._grad, shapes)

    def forward(self, x: Array) -> tuple[Array, list[Array]]:
        """Return the outputs for a batch of inputs, and the layers' inputs for `backward`."""
        inputs = []
        last = len(self.layers) - 1
        for i, (weight, bias) in enumerate(self.layers):
            inputs.append(x)
            x = x @ weight + bias
            if i < last:
                x = np.tanh(x)
        return x, inputs

    def __call__(self, x: Array) -> Array:
        """Return only the outputs of `forward`."""
        return self.forward(x)[0]

    def backward(self, inputs: list[Array], grad_output: Array) -> Array:
        """Return the loss's gradient by the flat parameters, given its gradient by the outputs.

        The next call reuses the returned vector.
        """
        grad = grad_output
        for i in range(len(self.layers) - 1, -1, -1):
            x = inputs[i]
            grad_weight, grad_bias = self._grad_layers[i]
            np.matmul(x.T, grad, out=grad_weight)
            np.sum(grad, axis=0, out=grad_bias)
            if i:
                # x is tanh(z) here, and tanh'(z) = 1 - tanh(z)^2.
                grad = (grad @ self.layers[i][0].T) * (1 - x * x)
        return self._grad

    def tree(self) -> dict[str, Array]:
        """Return the parameters as a pytree of views: `{"w0": ..., "b0": ..., "w1": ...}`."""
        return {
            f"{kind}{i}": array
            for i, layer in enumerate(self.layers)
            for kind, array in zip("wb", layer, strict=True)
        }

    def load(self, tree: dict[str, Array]) -> None:
        """Copy the parameters of a `tree()` of a network of the same sizes into this one."""
        for name, array in self.tree().items():
            array[...] = tree[name]


class Adam:
    """Adam (Kingma and Ba 2015) on one flat vector, in place."""

    def __init__(self, parameters: Array, learning_rate: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self._mean: Array = np.zeros_like(parameters)
        self._square: Array = np.zeros_like(parameters)
        self._steps = 0

    def step(self, gradient: Array, *, max_norm: float = np.inf) -> None:
        """Take one descent step along `gradient`, scaled down to the norm `max_norm` if longer."""
        norm = float(np.linalg.norm(gradient))
        if norm > max_norm:
            gradient = gradient * np.asarray(max_norm / norm, gradient.dtype)
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (gradient * gradient - self._square)
        scale = self.learning_rate * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        update = self._mean / (np.sqrt(self._square) + 1e-8)
        self.parameters -= np.asarray(scale, update.dtype) * update


def log_softmax(logits: Array) -> Array:
    """Return log-probabilities along the last axis, safe for large logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probs


def sample_actions(logits: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw one action per row from softmax(logits); return actions and log-probabilities."""
    log_probs = log_softmax(logits)
    # The largest of log p + Gumbel noise is distributed as p.
    actions = (log_probs + rng.gumbel(size=logits.shape)).argmax(axis=-1).astype(np.int32)
    return actions, log_probs[np.arange(len(actions)), actions]


def _views(flat: Array, shapes: Sequence[tuple[int, int]]) -> list[tuple[Array, Array]]:
    layers = []
    at = 0
    for n, m in shapes:
        weight = flat[at : at + n * m].reshape(n, m)
        at += n * m
        layers.append((weight, flat[at : at + m]))
        at += m
    return layers


def _orthogonal(rng: np.random.Generator, n: int, m: int) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((max(n, m), min(n, m))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return q if n >= m else q.T
