"""Calls of every drawing function of `random`, with the price of each.

`EVERYWHERE` are calls that the module, `RandomState` and `Generator` all take; `LEGACY` and
`GENERATOR` those that only the first two, or the last, take. `calls` puts them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Call = tuple[str, tuple[Any, ...], dict[str, Any], int]

COLUMN = np.array([[1.0], [2.0], [3.0]])
ROW = np.array([0.5, 0.25, 0.125, 0.75])

# Two-parameter distributions of one pattern: each gives all the spellings of a size.
_PAIRS = {
    "beta": (2.0, 3.0),
    "binomial": (9, 0.5),
    "f": (3.0, 4.0),
    "gamma": (2.0, 3.0),
    "gumbel": (1.0, 2.0),
    "laplace": (1.0, 2.0),
    "logistic": (1.0, 2.0),
    "lognormal": (1.0, 0.5),
    "negative_binomial": (3, 0.5),
    "noncentral_chisquare": (3.0, 2.0),
    "normal": (1.0, 2.0),
    "uniform": (1.0, 2.0),
    "vonmises": (1.0, 2.0),
    "wald": (1.0, 2.0),
}
_SINGLES = {
    "chisquare": 3.0,
    "exponential": 2.0,
    "geometric": 0.5,
    "logseries": 0.5,
    "pareto": 3.0,
    "poisson": 4.0,
    "power": 2.0,
    "rayleigh": 2.0,
    "standard_gamma": 2.0,
    "standard_t": 3.0,
    "weibull": 2.0,
    "zipf": 3.0,
}
_TRIPLES = {
    "hypergeometric": (5, 6, 4),
    "noncentral_f": (3.0, 4.0, 1.0),
    "triangular": (1.0, 2.0, 4.0),
}
_DEFAULTED = ("exponential", "gumbel", "laplace", "logistic", "lognormal", "normal", "poisson")


def _everywhere() -> Iterator[Call]:
    for table in (_PAIRS, {k: (v,) for k, v in _SINGLES.items()}, _TRIPLES):
        for name, params in table.items():
            assert isinstance(params, tuple)
            yield name, params, {}, 1
            yield name, (*params, 5), {}, 5
            yield name, (*params, (2, 3)), {}, 6
            yield name, params, {"size": [2, 3]}, 6
            yield name, params, {"size": ()}, 1
            yield name, params, {"size": (2, 0)}, 1
            yield name, tuple(np.full((3, 1), p) for p in params), {}, 3
            yield name, (np.full((2, 1), params[0]), *params[1:], (2, 4)), {}, 8
    for name in ("beta", "laplace", "normal", "uniform"):
        yield name, (COLUMN, COLUMN.T + 3), {}, 9
        yield name, (COLUMN, COLUMN.T + 3, (2, 3, 3)), {}, 18
    for name in _DEFAULTED:
        yield name, (), {"size": 7}, 7
    yield "normal", (), {"loc": [1.0, 2.0], "scale": 3.0}, 2
    yield "uniform", (0.0,), {"high": ROW}, 4
    for name in ("standard_cauchy", "standard_exponential", "standard_normal", "random"):
        yield name, (), {}, 1
        yield name, (4,), {}, 4
        yield name, (), {"size": (4, 2)}, 8
    yield "bytes", (7,), {}, 7
    yield "bytes", (0,), {}, 1
    yield "dirichlet", ((1.0, 2.0, 3.0),), {}, 3
    yield "dirichlet", ([1.0, 2.0, 3.0], (2, 2)), {}, 12
    yield "multinomial", (20, [0.25, 0.25, 0.5]), {}, 3
    yield "multinomial", (20, [0.25, 0.25, 0.5], 4), {}, 12
    yield "multivariate_normal", ([1.0, 2.0], np.eye(2)), {}, 2
    yield "multivariate_normal", ([1.0, 2.0], np.eye(2), (3, 2)), {}, 12
    yield "choice", (10,), {}, 1
    yield "choice", (10, 5), {}, 5
    yield "choice", (10, 5, False), {}, 40
    yield "choice", (10, 5), {"p": np.full(10, 0.1)}, 5
    yield "choice", (np.arange(10.0), (2, 3)), {"replace": False}, 40
    yield "choice", (["a", "b", "c"], 4), {}, 4
    yield "permutation", (16,), {}, 64
    yield "permutation", (np.arange(15).reshape(3, 5),), {}, 6
    yield "permutation", ([1, 2, 3],), {}, 6
    yield "permutation", (1,), {}, 1
    yield "permutation", (0,), {}, 1


def _legacy() -> Iterator[Call]:
    for name in ("rand", "randn"):
        yield name, (), {}, 1
        yield name, (10, 20), {}, 200
    for name in ("random_sample", "tomaxint"):
        yield name, (), {}, 1
        yield name, ((2, 3),), {}, 6
    yield "randint", (9,), {}, 1
    yield "randint", (3, 9, (2, 2)), {}, 4
    yield "randint", ([3, 4, 5],), {"dtype": np.int32}, 3
    yield "randint", (0, [[3], [4]], (2, 3)), {}, 6


def _generator() -> Iterator[Call]:
    yield "integers", (9,), {}, 1
    yield "integers", (3, 9, (2, 2)), {"dtype": np.uint8, "endpoint": True}, 4
    yield "integers", ([3, 4, 5], [[7], [8]]), {}, 6
    yield "random", ((2, 2),), {"dtype": np.float32}, 4
    yield "random", (), {"out": np.zeros(5)}, 5
    yield "standard_normal", (), {"out": np.zeros((2, 3))}, 6
    yield "standard_exponential", (6, np.float64, "inv"), {}, 6
    yield "standard_gamma", (2.0,), {"out": np.zeros(4)}, 4
    yield "multinomial", ([5, 6], [0.5, 0.5]), {}, 4
    yield "multinomial", (5, [[0.5, 0.5], [0.25, 0.75]]), {}, 4
    yield "multinomial", ([[5], [6]], [0.5, 0.5], (2, 3)), {}, 12
    yield "multivariate_hypergeometric", ([3, 4, 5], 6), {}, 3
    yield "multivariate_hypergeometric", ([3, 4, 5], 6, 2), {"method": "count"}, 6
    yield "multivariate_normal", ([1.0, 2.0], np.eye(2), 3), {"method": "cholesky"}, 6
    yield "choice", (np.arange(12).reshape(3, 4), 5), {"axis": 1}, 15
    yield "choice", (np.arange(12).reshape(3, 4), 2, False), {"axis": 1}, 8
    yield "choice", (np.arange(12).reshape(3, 4),), {"shuffle": False}, 4
    yield "permutation", (np.arange(12).reshape(3, 4), 1), {}, 8
    yield "permuted", (np.arange(12).reshape(3, 4),), {}, 12
    yield "permuted", (np.arange(12).reshape(3, 4),), {"axis": 1}, 12
    yield "permuted", (np.arange(3.0),), {"out": np.zeros(3)}, 3


EVERYWHERE = tuple(_everywhere())
LEGACY = tuple(_legacy())
GENERATOR = tuple(_generator())
# The functions that only RandomState, or only the module, has.
ONLY_STATE = ("tomaxint",)
ONLY_MODULE: tuple[Call, ...] = tuple(
    (name, args, {}, flops) for name in ("ranf", "sample") for args, flops in (((), 1), ((6,), 6))
)


def calls(owner: str) -> Iterator[Call]:
    """Yield the calls of `"module"`, `"RandomState"` or `"Generator"`."""
    yield from EVERYWHERE
    if owner == "Generator":
        yield from GENERATOR
        return
    for call in LEGACY:
        if owner == "RandomState" or call[0] not in ONLY_STATE:
            yield call
    if owner == "module":
        yield from ONLY_MODULE
