"""A small neural network learns the sine: forward pass, backward pass, gradient descent.

The gradients are checked against a difference quotient of the loss.
"""

import itertools

import mechestim as me

WIDTHS = (1, 32, 32, 1)
STEPS, RATE = 150, 0.05

rng = me.random.default_rng(0)


def forward(weights, biases, x):
    """Return the activations of each layer."""
    activations = [x]
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        z = activations[-1] @ W + b
        activations.append(me.tanh(z) if i < len(weights) - 1 else z)
    return activations


def loss_of(prediction, target):
    return me.mean((prediction - target) ** 2)


def backward(weights, activations, target):
    """Return the gradients of the loss, for weights and biases."""
    gradients = []
    error = 2.0 * (activations[-1] - target) / target.size
    for i in reversed(range(len(weights))):
        gradients.append((activations[i].T @ error, error.sum(axis=0)))
        if i:
            error = (error @ weights[i].T) * (1.0 - activations[i] ** 2)
    return gradients[::-1]


with me.BudgetContext(flop_budget=10**9, namespace="mlp", quiet=True) as budget:
    x = rng.uniform(-3.0, 3.0, size=(64, 1))
    y = me.sin(x)
    weights = [rng.normal(size=(n, m)) / me.sqrt(float(n)) for n, m in itertools.pairwise(WIDTHS)]
    biases = [me.zeros(m) for m in WIDTHS[1:]]

    activations = forward(weights, biases, x)
    gradient = backward(weights, activations, y)[1][0][3, 5]
    step = 1e-6
    weights[1][3, 5] += step
    above = loss_of(forward(weights, biases, x)[-1], y)
    weights[1][3, 5] -= 2 * step
    below = loss_of(forward(weights, biases, x)[-1], y)
    weights[1][3, 5] += step
    print(f"gradient {gradient:.9f}, difference quotient {(above - below) / (2 * step):.6f}")

    for step in range(STEPS + 1):
        activations = forward(weights, biases, x)
        if step % 50 == 0:
            print(f"step {step:3d}: loss {loss_of(activations[-1], y):.12f}")
        with me.namespace("backward"):
            for i, (dW, db) in enumerate(backward(weights, activations, y)):
                weights[i] -= RATE * dW
                biases[i] -= RATE * db
    print(budget.summary())
    for name, part in budget.summary_dict(by_namespace=True)["by_namespace"].items():
        print(f"{name}: {part['flops_used']:,} FLOPs")
