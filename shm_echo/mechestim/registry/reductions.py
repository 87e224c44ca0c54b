"""The operations that fold an axis, or keep a running total along it."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import reduction
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import reductions as cost
from shm_echo.mechestim.registry.rules.memory import bounds, results

_TWICE = "2*numel(input)"
_COPY = bounds.copies(1)  # a transposed or converted copy
_NAN_FREE = bounds.copies(3)  # a copy without the NaN, a mask, and a copy to select from
_DEVIATIONS = bounds.copies(4)

OPS: tuple[Op, ...] = (
    reduction("all", "Whether all elements are true.", cost.extremum, results.positions),
    reduction("amax", "Largest element.", cost.extremum, results.extremum, charged_as="max"),
    reduction("amin", "Smallest element.", cost.extremum, results.extremum, charged_as="min"),
    reduction("any", "Whether any element is true.", cost.extremum, results.positions),
    reduction("argmax", "Position of the largest element.", cost.position, results.positions,
              _COPY),
    reduction("argmin", "Position of the smallest element.", cost.position, results.positions,
              _COPY),
    reduction("average", "Weighted mean.", cost.average, results.average, bounds.copies(4)),
    reduction("count_nonzero", "Number of elements that are not 0.", cost.count_nonzero,
              results.positions, _COPY),
    reduction("cumprod", "Running product.", cost.cumulative, results.cumulative, _COPY),
    reduction("cumsum", "Running sum.", cost.cumulative, results.cumulative, _COPY),
    reduction("cumulative_prod", "Running product, with an optional 1 in front.",
              cost.cumulative_standard, results.cumulative_standard, _COPY),
    reduction("cumulative_sum", "Running sum, with an optional 0 in front.",
              cost.cumulative_standard, results.cumulative_standard, _COPY),
    reduction("max", "Largest element.", cost.extremum, results.extremum),
    reduction("mean", "Arithmetic mean.", cost.mean, results.total, _COPY),
    reduction("median", "Middle element, or the mean of the two in the middle.", cost.middle,
              results.extremum, _DEVIATIONS),
    reduction("min", "Smallest element.", cost.extremum, results.extremum),
    reduction("nanargmax", "Position of the largest element that is not NaN.", cost.position,
              results.positions, _NAN_FREE),
    reduction("nanargmin", "Position of the smallest element that is not NaN.", cost.position,
              results.positions, _NAN_FREE),
    reduction("nancumprod", "Running product, with 1 for each NaN.", cost.cumulative,
              results.cumulative, _NAN_FREE),
    reduction("nancumsum", "Running sum, with 0 for each NaN.", cost.cumulative,
              results.cumulative, _NAN_FREE),
    reduction("nanmax", "Largest element that is not NaN.", cost.extremum, results.extremum,
              _NAN_FREE),
    reduction("nanmean", "Arithmetic mean without the NaN.", cost.total, results.total, _NAN_FREE),
    reduction("nanmedian", "Middle element without the NaN.", cost.middle, results.extremum,
              _DEVIATIONS),
    reduction("nanmin", "Smallest element that is not NaN.", cost.extremum, results.extremum,
              _NAN_FREE),
    reduction("nanpercentile", "Percentiles without the NaN.", cost.quantile, results.quantile,
              _DEVIATIONS),
    reduction("nanprod", "Product without the NaN.", cost.total, results.total, _NAN_FREE),
    reduction("nanquantile", "Quantiles without the NaN.", cost.quantile, results.quantile,
              _DEVIATIONS),
    reduction("nanstd", "Standard deviation without the NaN.", cost.nan_deviation, results.total,
              _DEVIATIONS, formula=_TWICE),
    reduction("nansum", "Sum without the NaN.", cost.total, results.total, _NAN_FREE),
    reduction("nanvar", "Variance without the NaN.", cost.nan_deviation, results.total,
              _DEVIATIONS,
              formula=_TWICE),
    reduction("percentile", "Values below which so many percent of the elements lie.",
              cost.quantile, results.quantile, _DEVIATIONS),
    reduction("prod", "Product.", cost.total, results.total),
    reduction("ptp", "Largest element less the smallest.", cost.extremum, results.extremum),
    reduction("quantile", "Values below which a fraction of the elements lies.", cost.quantile,
              results.quantile, _DEVIATIONS),
    reduction("std", "Standard deviation.", cost.deviation, results.total, _DEVIATIONS,
              formula=_TWICE),
    reduction("sum", "Sum.", cost.total, results.total),
    reduction("var", "Variance.", cost.deviation, results.total, _DEVIATIONS, formula=_TWICE),
)  # fmt: skip
