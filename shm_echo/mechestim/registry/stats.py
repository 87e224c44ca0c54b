"""The operations of ``stats``: pdf, cdf and ppf of eight continuous distributions."""

from __future__ import annotations

from shm_echo.mechestim.costs import stats as cost
from shm_echo.mechestim.registry.op import Category, Op

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

_SOURCES = {
    "cdf": "error function: W. J. Cody, Math. Comp. 23 (1969), "
    "doi:10.1090/S0025-5718-1969-0247736-4",
    "ppf": "normal quantile: M. J. Wichura, algorithm AS 241, Applied Statistics 37 (1988), "
    "doi:10.2307/2347330",
}

OPS: tuple[Op, ...] = tuple(
    Op(
        name=f"stats.{distribution}.{function}",
        category=Category.CUSTOM,
        formula=f"{cost.PER_POINT[distribution][function]}*numel(output)",
        cost=cost.price(distribution, function),
        result_bytes=cost.result_bytes(distribution, function),
        scratch_bytes=cost.scratch_bytes(distribution, function),
        summary=f"{meaning} of the {adjective} distribution.",
        source=_SOURCES.get(function, "") if "norm" in distribution else "",
    )
    for distribution, adjective in _DISTRIBUTIONS.items()
    for function, meaning in _FUNCTIONS.items()
)
