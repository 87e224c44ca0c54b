"""Histograms, counts per bin, covariances and correlations."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import statistics as cost
from shm_echo.mechestim.registry.rules.memory import bounds, statistics

_COVARIANCE = "f^2*s"

OPS: tuple[Op, ...] = (
    custom("histogram", "n*ceil(log2(bins))", cost.histogram, "Number of elements in each bin.",
           statistics.histogram, bounds.copies(4)),
    custom("histogram2d", "n*(ceil(log2(bx))+ceil(log2(by)))", cost.histogram2d,
           "Number of points in each cell of a plane.", statistics.plane, statistics.plane_scratch),
    custom("histogramdd", "n*sum_i(ceil(log2(b_i)))", cost.histogramdd,
           "Number of points in each cell of a space.", statistics.grid, statistics.grid_scratch),
    custom("histogram_bin_edges", "numel(a)", cost.histogram_bin_edges,
           "Edges of the bins that a histogram would use.", statistics.bin_edges, bounds.copies(4)),
    custom("bincount", "numel(x)", cost.bincount,
           "Number of times that each non-negative integer occurs.", statistics.bincount,
           bounds.copies(2)),
    custom("digitize", "n*ceil(log2(len(bins)))", cost.digitize,
           "Index of the bin that each element falls into.", statistics.places,
           statistics.places_scratch),
    custom("cov", _COVARIANCE, cost.cov, "Covariance matrix of variables.", statistics.covariances,
           statistics.observations_scratch),
    custom("corrcoef", _COVARIANCE, cost.corrcoef, "Correlation coefficients of variables.",
           statistics.correlations, statistics.observations_scratch),
)  # fmt: skip
