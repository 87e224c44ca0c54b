"""The first program: a matrix-vector product under a budget.

python examples/metered/seed.py
shm-echo run --flop-budget 1e6 examples/metered/seed.py     # the same, as a client of a server
"""

import mechestim as me

with me.BudgetContext(flop_budget=10**6) as budget:
    x = me.zeros((256,))
    W = me.random.randn(256, 256)
    h = me.einsum("ij,j->i", W, x)
    print(budget.summary())
