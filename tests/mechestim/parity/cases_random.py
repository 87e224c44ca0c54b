"""Cases of `random`: module functions, `RandomState` and `Generator`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.specs import Call, Case, L, Sc, arr, case

OWNERS = ("", "RandomState.", "Generator.")
_MAKERS = {
    "RandomState.": Call("random.RandomState", (7,)),
    "Generator.": Call("random.default_rng", (7,)),
}

_P = arr(3, fill="probability")
_POSITIVE = arr(3, fill="positive")
_SIZES: tuple[dict[str, Any], ...] = (
    {},
    {"size": 4},
    {"size": (2, 3)},
    {"size": (2, 0)},
    {"size": ()},
    {"size": None},
    {"size": Sc("int64", 3)},
    {"size": -1},
    {"size": 2.5},
    {"size": "x"},
)

# Valid parameters, parameters in arrays, and parameters that are refused.
DISTRIBUTIONS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "beta": ((2.0, 3.0), (_POSITIVE, 2.0), (-1.0, 2.0)),
    "binomial": ((10, 0.3), (10, _P), (-1, 0.3)),
    "chisquare": ((3.0,), (_POSITIVE,), (-1.0,)),
    "dirichlet": (([1.0, 2.0, 3.0],), (_POSITIVE,), ([-1.0, 2.0],)),
    "exponential": ((), (2.0,), (_POSITIVE,), (-1.0,)),
    "f": ((2.0, 3.0), (_POSITIVE, 4.0), (-1.0, 2.0)),
    "gamma": ((2.0,), (_POSITIVE, 2.0), (-1.0,)),
    "geometric": ((0.4,), (_P,), (2.0,)),
    "gumbel": ((), (1.0, 2.0), (_POSITIVE,), (0.0, -1.0)),
    "hypergeometric": ((5, 4, 3), (L([5, 6]), 4, 3), (1, 1, 9)),
    "laplace": ((), (1.0, 2.0), (_POSITIVE, 2.0), (0.0, -1.0)),
    "logistic": ((), (1.0, 2.0), (_POSITIVE, 2.0), (0.0, -1.0)),
    "lognormal": ((), (1.0, 2.0), (_POSITIVE, 2.0), (0.0, -1.0)),
    "logseries": ((0.4,), (_P,), (2.0,)),
    "negative_binomial": ((5, 0.4), (5, _P), (-1, 0.4)),
    "noncentral_chisquare": ((3.0, 2.0), (_POSITIVE, 1.0), (-1.0, 1.0)),
    "noncentral_f": ((3.0, 2.0, 1.0), (_POSITIVE, 2.0, 1.0), (-1.0, 1.0, 1.0)),
    "normal": (
        (),
        (1.0, 2.0),
        (_POSITIVE, 2.0),
        (arr(2, 1), _POSITIVE),
        (0.0, -1.0),
        (arr(2), arr(3)),
    ),
    "pareto": ((2.0,), (_POSITIVE,), (-1.0,)),
    "poisson": ((), (3.0,), (_POSITIVE,), (-1.0,)),
    "power": ((2.0,), (_POSITIVE,), (-1.0,)),
    "rayleigh": ((), (2.0,), (_POSITIVE,), (-1.0,)),
    "standard_cauchy": ((),),
    "standard_t": ((3.0,), (_POSITIVE,), (-1.0,)),
    "triangular": ((0.0, 1.0, 2.0), (0.0, 1.0, L([2.0, 3.0])), (2.0, 1.0, 0.0)),
    "uniform": ((), (1.0, 2.0), (0.0, _POSITIVE), (0.0, float("inf"))),
    "vonmises": ((0.0, 1.0), (0.0, _POSITIVE), (0.0, -1.0)),
    "wald": ((1.0, 2.0), (_POSITIVE, 2.0), (-1.0, 1.0)),
    "weibull": ((2.0,), (_POSITIVE,), (-1.0,)),
    "zipf": ((2.0,), (L([2.0, 3.0]),), (0.5,)),
    "multinomial": ((5, [0.2, 0.3, 0.5]), (5, L([0.5, 0.5])), (5, [0.9, 0.9])),
    "standard_exponential": ((),),
    "standard_gamma": ((2.0,), (_POSITIVE,), (-1.0,)),
    "standard_normal": ((),),
    "random_sample": ((),),
    "random": ((),),
    "ranf": ((),),
    "sample": ((),),
    "tomaxint": ((),),
    "randint": ((5,), (2, 9), (L([3, 5]),), (5, 2)),
    "random_integers": ((5,), (2, 9), (5, 2)),
    "integers": ((5,), (2, 9), (L([3, 5]),), (5, 2)),
    "multivariate_hypergeometric": (([3, 4, 5], 4), (L([3, 4]), 2), ([1, 1], 9)),
    "multivariate_normal": (
        ([0.0, 1.0], [[1.0, 0.0], [0.0, 1.0]]),
        (arr(3), arr(3, 3, fill="definite")),
        (arr(2), arr(3, 3)),
    ),
    "choice": ((5,), (arr(4),), ([1, 2, 3],), (0,)),
}
_REFUSED = frozenset({"multivariate_normal", "choice"})

_MORE: dict[str, tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]] = {
    "bytes": (((5,), {}), ((0,), {}), ((-1,), {}), (("x",), {})),
    "rand": (((), {}), ((3,), {}), ((2, 3), {}), ((2, 0), {}), ((-1,), {}), ((2.5,), {})),
    "randn": (((), {}), ((3,), {}), ((2, 3), {}), ((2, 0), {}), ((-1,), {}), ((2.5,), {})),
    "permutation": (
        ((5,), {}),
        ((arr(3, 4),), {}),
        (([1, 2, 3],), {}),
        ((arr(0),), {}),
        (("x",), {}),
        ((2.5,), {}),
    ),
    "shuffle": (
        ((arr(5),), {}),
        ((arr(3, 4),), {}),
        ((arr(0),), {}),
        ((3,), {}),
        ((arr(4, layout="broadcast"),), {}),
    ),
    "choice": (
        ((5, 3), {}),
        ((5, (2, 2)), {"replace": False}),
        ((5, 9), {"replace": False}),
        ((arr(3), 2), {"p": [0.5, 0.25, 0.25]}),
        ((arr(3), 2, False, arr(3, fill="one")), {}),
        ((3,), {"p": [0.5, 0.5]}),
    ),
    "randint": (
        ((5,), {"dtype": "uint8"}),
        ((0, 5, (2, 2), "int32"), {}),
        ((300,), {"dtype": "uint8"}),
    ),
    "multivariate_normal": (
        (([0.0, 1.0], [[1.0, 0.0], [0.0, 1.0]]), {"check_valid": "raise"}),
        (([0.0, 1.0], [[1.0, 2.0], [2.0, 1.0]]), {"check_valid": "ignore"}),
    ),
    "seed": (((3,), {}), ((L([1, 2]),), {}), ((-1,), {})),
    "get_state": (((), {}), ((), {"legacy": False})),
}

_GENERATOR_MORE: dict[str, tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]] = {
    "choice": (
        ((arr(3, 4), 2), {"axis": 1}),
        ((arr(3, 4), 5), {"axis": 1, "replace": False}),
        ((5, 3), {"replace": False, "shuffle": False}),
    ),
    "integers": (
        ((5,), {"endpoint": True}),
        ((0, 5, (2, 2)), {"dtype": "int8"}),
        ((300,), {"dtype": "uint8"}),
    ),
    "random": (
        ((4,), {"dtype": "float32"}),
        ((), {"out": arr(3)}),
        ((), {"out": arr(3, dtype="int8")}),
        ((4,), {"out": arr(3)}),
    ),
    "standard_normal": (((4, "float32"), {}), ((), {"out": arr(3)})),
    "standard_exponential": (((4,), {"method": "inv"}), ((), {"out": arr(3)})),
    "standard_gamma": (((2.0, 4), {"dtype": "float32"}), ((2.0,), {"out": arr(3)})),
    "multivariate_normal": (
        (([0.0, 1.0], [[1.0, 0.0], [0.0, 1.0]], 3), {"method": "cholesky"}),
        (([0.0, 1.0], [[1.0, 2.0], [2.0, 1.0]]), {"method": "eigh"}),
    ),
    "multivariate_hypergeometric": ((([3, 4, 5], 4), {"method": "count"}),),
    "permutation": (((arr(3, 4),), {"axis": 1}), ((arr(3, 4),), {"axis": 3})),
    "shuffle": (((arr(3, 4),), {"axis": 1}), (([1, 2, 3],), {})),
    "permuted": (
        ((arr(3, 4),), {}),
        ((arr(3, 4),), {"axis": 1}),
        ((arr(3, 4),), {"axis": 1, "out": arr(3, 4)}),
        (([1, 2, 3],), {}),
        ((arr(3, 4),), {"axis": 3}),
    ),
    "spawn": (((2,), {}), ((-1,), {})),
}


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    for owner in OWNERS:
        maker = (_MAKERS[owner],) if owner else ()
        for name, parameters in DISTRIBUTIONS.items():
            op = f"random.{owner}{name}"
            if op not in OPS:
                continue
            for i, given in enumerate(parameters):
                sizes = _SIZES if i == 0 else ({}, {"size": (2, 3)}, {"size": 2})
                for size in sizes:
                    yield case(op, *maker, *given, **size)
            yield case(op, *maker, *parameters[0], nonsense=1)
        tables = (_MORE, _GENERATOR_MORE) if owner == "Generator." else (_MORE,)
        for table in tables:
            for name, calls in table.items():
                op = f"random.{owner}{name}"
                if op in OPS:
                    for args, kwargs in calls:
                        yield case(op, *maker, *args, **kwargs)
    yield case("random.set_state", Call("random.get_state"))
    yield case("random.set_state", ("MT19937",))
    yield case(
        "random.RandomState.set_state", Call("random.RandomState", (7,)), Call("random.get_state")
    )
    yield case("random.default_rng", 5)
    yield case("random.default_rng", [1, 2])
    yield case("random.default_rng", -1)
    yield case("random.Generator.bit_generator", Call("random.default_rng", (7,)))
