"""Monte-Carlo estimates of pi: plain, stratified and with antithetic points, for equal budgets."""

import contextlib

import mechestim as me

BUDGET = 10**6


def plain(rng, n):
    points = rng.random((n, 2))
    return me.mean((points * points).sum(axis=1) < 1.0) * 4.0


def stratified(rng, n):
    side = int(n**0.5)
    corner = me.indices((side, side)).reshape(2, -1).T
    points = (corner + rng.random((side * side, 2))) / side
    return me.mean((points * points).sum(axis=1) < 1.0) * 4.0


def antithetic(rng, n):
    u = rng.random(n)
    return me.mean(me.sqrt(1.0 - u * u) + me.sqrt(1.0 - (1.0 - u) ** 2)) * 2.0


for method in (plain, stratified, antithetic):
    rng = me.random.default_rng(11)
    with me.BudgetContext(flop_budget=BUDGET, namespace=method.__name__, quiet=True) as budget:
        estimates = []
        with contextlib.suppress(me.BudgetExhaustedError):
            while True:
                estimates.append(method(rng, 2500))
        values = me.array([float(estimate) for estimate in estimates])
        count = len(estimates)
        mean, spread = sum(values.tolist()) / count, max(values.tolist()) - min(values.tolist())
        print(f"{method.__name__:>11}: {mean:.10f}, off by {mean - me.pi:+.5f}, {count} rounds,")
        print(f"{'':>13}from lowest to highest {spread:.6f}, {budget.flops_used:,} FLOPs")
