"""The operations of `stats`: pdf, cdf and ppf of eight continuous distributions."""

from __future__ import annotations

from shm_echo.mechestim.registry.op import Category, Op
from shm_echo.mechestim.registry.rules.flops import stats as cost

_FUNCTIONS = {
    "pdf": "Probability density",
    "cdf": "Cumulative distribution function",
    "ppf": "Quantile function, the inverse of cdf,",
}

_DISTRIBUTIONS = {
    "norm": "normal",
    "uniform": "uniform",
    "expon": "exponential",
    "cauchy": "Cauchy",
    "logistic": "logistic",
    "laplace": "Laplace",
    "lognorm": "log-normal",
    "truncnorm": "truncated normal",
}

PER_POINT: dict[str, dict[str, int]] = {
    "norm": {"pdf": 10, "cdf": 20, "ppf": 40},
    "uniform": {"pdf": 3, "cdf": 3, "ppf": 3},
    "expon": {"pdf": 5, "cdf": 5, "ppf": 5},
    "cauchy": {"pdf": 6, "cdf": 5, "ppf": 5},
    "logistic": {"pdf": 8, "cdf": 5, "ppf": 5},
    "laplace": {"pdf": 5, "cdf": 5, "ppf": 5},
    "lognorm": {"pdf": 15, "cdf": 25, "ppf": 45},
    "truncnorm": {"pdf": 30, "cdf": 30, "ppf": 50},
}
"""FLOPs of one point, by distribution and function: round figures of the cost model for the series,
exponentials and divisions of each formula."""

_SOURCES = {
    "cdf": "error function: W. J. Cody, Math. Comp. 23 (1969), "
    "doi:10.1090/S0025-5718-1969-0247736-4",
    "ppf": "normal quantile: M. J. Wichura, algorithm AS 241, Applied Statistics 37 (1988), "
    "doi:10.2307/2347330",
}

OPS: tuple[Op, ...] = tuple(
    Op(
        f"stats.{distribution}.{function}",
        Category.CUSTOM,
        f"{PER_POINT[distribution][function]}*numel(output)",
        cost.price(distribution, function, PER_POINT[distribution][function]),
        cost.result_bytes(distribution, function),
        cost.scratch_bytes(distribution, function),
        summary=f"{meaning} of the {adjective} distribution.",
        source=_SOURCES.get(function, "") if "norm" in distribution else "",
    )
    for distribution, adjective in _DISTRIBUTIONS.items()
    for function, meaning in _FUNCTIONS.items()
)
