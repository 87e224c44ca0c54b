"""The operations that reduce an axis, or compute a running total along it."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import reduction
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import reductions as cost
from shm_echo.mechestim.registry.rules.memory import bounds, reductions

_TWICE = "2*numel(input)"
_COPY = bounds.copies(1)  # a transposed or converted copy
_NAN_FREE = bounds.copies(3)  # a copy without the NaN, a mask, and a copy to select from
_DEVIATIONS = bounds.copies(4)

OPS: tuple[Op, ...] = (
    reduction("all", "True if all elements are true.", cost.extremum, reductions.positions),
    reduction("amax", "Largest element.", cost.extremum, reductions.extremum, charged_as="max"),
    reduction("amin", "Smallest element.", cost.extremum, reductions.extremum, charged_as="min"),
    reduction("any", "True if any element is true.", cost.extremum, reductions.positions),
    reduction("argmax", "Position of the largest element.", cost.position, reductions.positions,
              _COPY),
    reduction("argmin", "Position of the smallest element.", cost.position, reductions.positions,
              _COPY),
    reduction("average", "Weighted mean.", cost.average, reductions.average, bounds.copies(4)),
    reduction("count_nonzero", "Number of elements that are not 0.", cost.count_nonzero,
              reductions.positions, _COPY),
    reduction("cumprod", "Running product.", cost.cumulative, reductions.cumulative, _COPY),
    reduction("cumsum", "Running sum.", cost.cumulative, reductions.cumulative, _COPY),
    reduction("cumulative_prod", "Running product, with an optional 1 in front.",
              cost.cumulative_standard, reductions.cumulative_standard, _COPY),
    reduction("cumulative_sum", "Running sum, with an optional 0 in front.",
              cost.cumulative_standard, reductions.cumulative_standard, _COPY),
    reduction("max", "Largest element.", cost.extremum, reductions.extremum),
    reduction("mean", "Arithmetic mean.", cost.mean, reductions.total, _COPY),
    reduction("median", "Middle element, or the mean of the two in the middle.", cost.middle,
              reductions.extremum, _DEVIATIONS),
    reduction("min", "Smallest element.", cost.extremum, reductions.extremum),
    reduction("nanargmax", "Position of the largest element that is not NaN.", cost.position,
              reductions.positions, _NAN_FREE),
    reduction("nanargmin", "Position of the smallest element that is not NaN.", cost.position,
              reductions.positions, _NAN_FREE),
    reduction("nancumprod", "Running product, with 1 for each NaN.", cost.cumulative,
              reductions.cumulative, _NAN_FREE),
    reduction("nancumsum", "Running sum, with 0 for each NaN.", cost.cumulative,
              reductions.cumulative, _NAN_FREE),
    reduction("nanmax", "Largest element that is not NaN.", cost.extremum, reductions.extremum,
              _NAN_FREE),
    reduction("nanmean", "Arithmetic mean without the NaN.", cost.total, reductions.total,
              _NAN_FREE),
    reduction("nanmedian", "Middle element without the NaN.", cost.middle, reductions.extremum,
              _DEVIATIONS),
    reduction("nanmin", "Smallest element that is not NaN.", cost.extremum, reductions.extremum,
              _NAN_FREE),
    reduction("nanpercentile", "Percentiles without the NaN.", cost.quantile, reductions.quantile,
              _DEVIATIONS),
    reduction("nanprod", "Product without the NaN.", cost.total, reductions.total, _NAN_FREE),
    reduction("nanquantile", "Quantiles without the NaN.", cost.quantile, reductions.quantile,
              _DEVIATIONS),
    reduction("nanstd", "Standard deviation without the NaN.", cost.nan_deviation, reductions.total,
              _DEVIATIONS, formula=_TWICE),
    reduction("nansum", "Sum without the NaN.", cost.total, reductions.total, _NAN_FREE),
    reduction("nanvar", "Variance without the NaN.", cost.nan_deviation, reductions.total,
              _DEVIATIONS,
              formula=_TWICE),
    reduction("percentile", "Values below which a percentage of the elements lies.",
              cost.quantile, reductions.quantile, _DEVIATIONS),
    reduction("prod", "Product.", cost.total, reductions.total),
    reduction("ptp", "Largest element less the smallest.", cost.extremum, reductions.extremum),
    reduction("quantile", "Values below which a fraction of the elements lies.", cost.quantile,
              reductions.quantile, _DEVIATIONS),
    reduction("std", "Standard deviation.", cost.deviation, reductions.total, _DEVIATIONS,
              formula=_TWICE),
    reduction("sum", "Sum.", cost.total, reductions.total),
    reduction("var", "Variance.", cost.deviation, reductions.total, _DEVIATIONS, formula=_TWICE),
)  # fmt: skip
