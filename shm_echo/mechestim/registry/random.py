"""The operations of `random`: the module functions, `RandomState` and `Generator`.

All three draw from the same distributions, so one table describes them. The tables below it have
the functions that only some of the three offer, or offer with other arguments.
"""

from __future__ import annotations

from collections.abc import Iterator

from shm_echo.mechestim.registry.build import custom, free
from shm_echo.mechestim.registry.op import Op, Rule
from shm_echo.mechestim.registry.rules.flops import sampling as cost
from shm_echo.mechestim.registry.rules.memory import bounds as shared
from shm_echo.mechestim.registry.rules.memory import sampling as sizes

Sampler = cost.Sampler

_DRAWS = "numel(output)"
_ORDER = "n*ceil(log2(n)), n = length along the axis"
_CHOICE = "numel(output); without replacement n*ceil(log2(n)), n = population"

# The part after "random." with which the names of an owner's operations begin.
_MODULE, _STATE, _GENERATOR = "", "RandomState.", "Generator."
_LEGACY = (_MODULE, _STATE)

_LOCATED = Sampler(("loc=", "scale="))
_SCALED = Sampler(("scale=",))
_SIZED = Sampler()
_UNIFORM = (_SIZED, "uniform on [0, 1)")

_EVERYWHERE: dict[str, tuple[Sampler, str]] = {
    "beta": (Sampler(("a", "b")), "beta"),
    "binomial": (Sampler(("n", "p")), "binomial"),
    "chisquare": (Sampler(("df",)), "chi-square"),
    "dirichlet": (Sampler(("alpha",), tail="alpha", flat=True), "Dirichlet"),
    "exponential": (_SCALED, "exponential"),
    "f": (Sampler(("dfnum", "dfden")), "F"),
    "gamma": (Sampler(("shape", "scale=")), "gamma"),
    "geometric": (Sampler(("p",)), "geometric"),
    "gumbel": (_LOCATED, "Gumbel"),
    "hypergeometric": (Sampler(("ngood", "nbad", "nsample")), "hypergeometric"),
    "laplace": (_LOCATED, "Laplace"),
    "logistic": (_LOCATED, "logistic"),
    "lognormal": (Sampler(("mean=", "sigma=")), "log-normal"),
    "logseries": (Sampler(("p",)), "logarithmic series"),
    "negative_binomial": (Sampler(("n", "p")), "negative binomial"),
    "noncentral_chisquare": (Sampler(("df", "nonc")), "noncentral chi-square"),
    "noncentral_f": (Sampler(("dfnum", "dfden", "nonc")), "noncentral F"),
    "normal": (_LOCATED, "normal"),
    "pareto": (Sampler(("a",)), "Pareto II (Lomax)"),
    "poisson": (Sampler(("lam=",)), "Poisson"),
    "power": (Sampler(("a",)), "power"),
    "rayleigh": (_SCALED, "Rayleigh"),
    "standard_cauchy": (_SIZED, "standard Cauchy"),
    "standard_t": (Sampler(("df",)), "Student's t"),
    "triangular": (Sampler(("left", "mode", "right")), "triangular"),
    "uniform": (Sampler(("low=", "high=")), "uniform"),
    "vonmises": (Sampler(("mu", "kappa")), "von Mises"),
    "wald": (Sampler(("mean", "scale")), "Wald (inverse Gaussian)"),
    "weibull": (Sampler(("a",)), "Weibull"),
    "zipf": (Sampler(("a",)), "Zipf"),
}

_ONLY_LEGACY: dict[str, tuple[Sampler, str]] = {
    "multinomial": (Sampler(("n", "pvals"), tail="pvals", flat=True), "multinomial"),
    "standard_exponential": (_SIZED, "standard exponential"),
    "standard_gamma": (Sampler(("shape",)), "standard gamma"),
    "standard_normal": (_SIZED, "standard normal"),
    "random_sample": _UNIFORM,
    "random": _UNIFORM,
    "randint": (Sampler(("low", "high="), loose=True, more=("dtype",)), "discrete uniform"),
    "random_integers": (
        Sampler(("low", "high="), loose=True),
        "discrete uniform, both ends included",
    ),
}

_ONLY_GENERATOR: dict[str, tuple[Sampler, str]] = {
    "multinomial": (Sampler(("n", "pvals"), tail="pvals"), "multinomial"),
    "multivariate_hypergeometric": (
        Sampler(("colors", "nsample"), tail="colors", flat=True, more=("method",)),
        "multivariate hypergeometric",
    ),
    "standard_exponential": (Sampler(more=("dtype", "method", "out")), "standard exponential"),
    "standard_gamma": (Sampler(("shape",), more=("dtype", "out")), "standard gamma"),
    "standard_normal": (Sampler(more=("dtype", "out")), "standard normal"),
    "random": (Sampler(more=("dtype", "out")), "uniform on [0, 1)"),
    "integers": (
        Sampler(("low", "high="), loose=True, more=("dtype", "endpoint")),
        "discrete uniform",
    ),
}

# Other spellings of one function, by owner and name.
_ALIASES = {
    "random": "random.random_sample",
    "ranf": "random.random_sample",
    "sample": "random.random_sample",
    "RandomState.random": "random.RandomState.random_sample",
}


def _op(
    name: str,
    formula: str,
    rule: Rule,
    result: Rule,
    scratch: Rule,
    summary: str,
    writes: tuple[str, ...] = (),
) -> Op:
    return custom(
        f"random.{name}",
        formula,
        rule,
        summary,
        result,
        scratch,
        charged_as=_ALIASES.get(name, ""),
        writes=writes,
    )


def _samplers(owner: str, table: dict[str, tuple[Sampler, str]]) -> Iterator[Op]:
    for name, (sampler, adjective) in table.items():
        scratch = sizes.parameters_copied(sampler)
        if name == "multivariate_hypergeometric":
            scratch = sizes.hypergeometric_scratch
        yield _op(
            owner + name,
            _DRAWS,
            sampler,
            sizes.drawn(sampler),
            scratch,
            f"Draws from the {adjective} distribution.",
        )


def _shared(owner: str) -> Iterator[Op]:
    """Yield the operations of every owner whose price is no `Sampler`."""
    yield _op(
        f"{owner}bytes", "length", cost.byte_string, sizes.byte_result, shared.none, "Random bytes."
    )
    legacy = owner != _GENERATOR
    yield _op(
        f"{owner}multivariate_normal",
        _DRAWS,
        cost.multivariate_normal_legacy if legacy else cost.multivariate_normal,
        sizes.multivariate_normal,
        sizes.multivariate_normal_scratch,
        "Draws from the multivariate normal distribution.",
    )
    yield _op(
        f"{owner}choice",
        _CHOICE,
        cost.choice_of_vector if legacy else cost.choice,
        sizes.choice,
        sizes.choice_scratch,
        "Draws from a given population.",
    )
    yield _op(
        f"{owner}permutation",
        _ORDER,
        cost.permutation_of_rows if legacy else cost.permutation,
        sizes.permutation,
        sizes.permutation_scratch,
        "A copy in random order, or the integers below one.",
    )
    yield _op(
        f"{owner}shuffle",
        _ORDER,
        cost.shuffle_rows if legacy else cost.shuffle,
        shared.none,
        sizes.shuffle_scratch,
        "Puts a sequence in random order, in place.",
        writes=("x",),
    )


def _dimensioned(owner: str) -> Iterator[Op]:
    """Yield `rand` and `randn`, which take dimensions in place of a size."""
    for name, adjective in (("rand", "uniform on [0, 1)"), ("randn", "standard normal")):
        yield _op(
            owner + name,
            _DRAWS,
            cost.from_dimensions,
            sizes.floats,
            shared.none,
            f"Draws from the {adjective} distribution, in the given dimensions.",
        )


def _state(owner: str) -> Iterator[Op]:
    yield free(f"random.{owner}seed", "Restarts the generator from a seed.")
    yield free(f"random.{owner}get_state", "The state of the generator.", sizes.generator_state)
    yield free(f"random.{owner}set_state", "Restores a state of the generator.")


def _all() -> Iterator[Op]:
    for owner in _LEGACY:
        yield from _samplers(owner, _EVERYWHERE)
        yield from _samplers(owner, _ONLY_LEGACY)
        yield from _shared(owner)
        yield from _dimensioned(owner)
        yield from _state(owner)
    yield from _samplers(_MODULE, dict.fromkeys(("ranf", "sample"), _UNIFORM))
    yield from _samplers(_STATE, {"tomaxint": (_SIZED, "discrete uniform")})
    yield free("random.default_rng", "A new Generator.")
    yield from _samplers(_GENERATOR, _EVERYWHERE)
    yield from _samplers(_GENERATOR, _ONLY_GENERATOR)
    yield from _shared(_GENERATOR)
    yield _op(
        "Generator.permuted",
        "numel(input)",
        cost.permuted,
        sizes.permuted,
        sizes.permuted_scratch,
        "A copy with the elements along an axis in random order.",
    )
    yield free("random.Generator.bit_generator", "The source of the generator's random bits.")
    yield free("random.Generator.spawn", "New generators with independent streams.")


OPS: tuple[Op, ...] = tuple(_all())
