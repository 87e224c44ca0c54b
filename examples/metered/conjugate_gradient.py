"""Conjugate gradients for a system that is never stored as a matrix; it stops at its budget."""

import mechestim as me

N = 400


def apply(x):
    """Apply the Laplacian of a line with fixed ends, shifted a little."""
    y = 2.01 * x
    y[1:] -= x[:-1]
    y[:-1] -= x[1:]
    return y


def solve(b, steps):
    """Up to `steps` steps of conjugate gradients."""
    x = me.zeros(N)
    r = b.copy()
    p = r.copy()
    rr = r @ r
    for step in range(steps):
        Ap = apply(p)
        alpha = rr / (p @ Ap)
        x += alpha * p
        r -= alpha * Ap
        new = r @ r
        if new < 1e-20:
            return x, step + 1
        p = r + (new / rr) * p
        rr = new
    return x, steps


b = me.sin(me.arange(N) * 0.05)
with me.BudgetContext(flop_budget=10**7, namespace="cg", quiet=True) as budget:
    x, steps = solve(b, 500)
    print(f"{steps} steps, residual {me.linalg.norm(apply(x) - b):.3e}, x[200] = {x[200]:.12f}")
    print(budget.summary())

with me.BudgetContext(flop_budget=10**5, namespace="too little", quiet=True) as budget:
    try:
        solve(b, 500)
    except me.BudgetExhaustedError as error:
        print(f"stopped: {error.op_name} costs {error.flop_cost}, {error.flops_remaining} remain")
        print(f"used {budget.flops_used:,} of {budget.flop_budget:,}")
