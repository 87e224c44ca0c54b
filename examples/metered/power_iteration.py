"""The largest eigenvalue of a symmetric matrix by power iteration, and what it costs."""

import mechestim as me

N, TOLERANCE = 60, 1e-12

rng = me.random.default_rng(3)
with me.BudgetContext(flop_budget=10**8, namespace="power", quiet=True) as budget:
    A = rng.normal(size=(N, N))
    A = me.as_symmetric(A @ A.T, (0, 1))
    v = me.ones(N) / me.sqrt(float(N))
    value, steps = me.float64(0.0), 0
    while True:
        w = A @ v
        before, value = value, v @ w
        v = w / me.linalg.norm(w)
        steps += 1
        if me.abs(value - before) < TOLERANCE * value:
            break
    print(f"after {steps} steps: {value:.10f}, residual {me.linalg.norm(A @ v - value * v):.1e}")
    used = budget.flops_used
    exact = me.linalg.eigvalsh(A)[-1]
    print(f"eigvalsh: {exact:.10f}, agrees: {abs(exact - value) < 1e-8 * exact}")
    print(f"{used:,} FLOPs against {budget.flops_used - used:,}")
    print(budget.summary())
