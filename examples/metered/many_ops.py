"""Thirty operations of all kinds in one program: creation, indexing, linear algebra, statistics."""

import mechestim as me

me.random.seed(7)
with me.BudgetContext(flop_budget=10**8, namespace="tour", quiet=True) as budget:
    a = me.random.normal(size=(12, 8))
    b = me.linspace(0.0, 1.0, 8)
    c = me.arange(96).reshape(12, 8) % 7

    # Element by element.
    d = me.exp(-(a**2)) + me.sqrt(me.abs(b)) * me.sin(c)
    e = me.where(d > 0.5, d, me.tanh(a))
    e[0, :4] = 0.25
    e[:, -1] += me.log1p(b[-1])
    f = me.clip(e, -0.9, 0.9)
    g = me.maximum(f, me.minimum(a, 0.1))

    # Along axes.
    print("sum  ", me.sum(g), g.mean(axis=0).round(6), g.std())
    print("order", me.argsort(g[0]), me.sort(g[:, 0])[:3], me.argmax(g, axis=1))
    print("steps", me.cumsum(b).tolist(), me.diff(b, n=2).round(12).tolist())
    print("some ", me.median(g), me.percentile(g, 90), me.any(g > 0.89), me.count_nonzero(c))

    # Shapes.
    h = me.concatenate([g, me.stack([b, b[::-1]])])
    print("shape", h.shape, me.transpose(h).shape, me.split(h, 2)[0].shape, me.tile(b, 2).shape)
    print("sets ", me.unique(c), me.bincount(c.ravel()), me.searchsorted(b, [0.2, 0.5]))

    # Linear algebra, transforms, draws.
    gram = g.T @ g + me.eye(8)
    factor = me.linalg.cholesky(gram)
    solved = me.linalg.solve(gram, b)
    print("solve", me.allclose(gram @ solved, b), me.linalg.norm(factor), me.trace(gram))
    print("svd  ", me.linalg.svd(g, compute_uv=False))
    print("fft  ", me.abs(me.fft.rfft(b)))
    print("inner", me.dot(b, b), me.outer(b, b).shape, me.einsum("ij,kj->ik", g, a)[0, :3])
    print("cdf  ", me.stats.norm.cdf(b[:3]), me.interp(0.3, b, b**2))
    print("draws", me.random.permutation(6), me.random.default_rng(1).integers(0, 10, 5))
    print(budget.summary())
