"""Differences, integrals, interpolation, convolution, cross products and spaced numbers."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import interpolation as cost
from shm_echo.mechestim.registry.rules.memory import bounds, creation, interpolation

OPS: tuple[Op, ...] = (
    custom("convolve", "n*m", cost.convolve, "Discrete convolution of two vectors.",
           interpolation.convolved, interpolation.convolved),
    custom("correlate", "n*m", cost.convolve, "Cross-correlation of two vectors.",
           interpolation.convolved, interpolation.convolved),
    custom("cross", "numel(output)", cost.cross, "Cross product of vectors.", interpolation.crossed,
           interpolation.crossed_scratch),
    custom("diff", "numel(input)", cost.diff, "Differences of neighbours along an axis.",
           interpolation.differences, interpolation.differences),
    custom("ediff1d", "numel(input)", cost.ediff1d, "Differences of neighbours, flattened.",
           interpolation.flat_differences, bounds.named_shape("ary")),
    custom("geomspace", "num", cost.geomspace, "Numbers evenly spaced on a log scale.",
           creation.geomspace, creation.geomspace),
    custom("gradient", "numel(input)", cost.gradient, "Slope by differences of both neighbours.",
           interpolation.gradients, bounds.copies(4)),
    custom("interp", "n*ceil(log2(m))", cost.interp, "Piecewise linear interpolation.",
           interpolation.interpolated, interpolation.interp_scratch),
    custom("logspace", "num", cost.logspace, "Numbers whose logarithms are evenly spaced.",
           creation.logspace, creation.logspace),
    custom("trapezoid", "numel(input)", cost.trapezoid, "Integral by the trapezoidal rule.",
           interpolation.trapezoid, interpolation.trapezoid_scratch),
    custom("trapz", "numel(input)", cost.trapezoid, "Integral by the trapezoidal rule.",
           interpolation.trapezoid, interpolation.trapezoid_scratch, numpy="trapezoid",
           charged_as="trapezoid"),
    custom("unwrap", "numel(input)", cost.unwrap, "Angles without jumps of a period.",
           bounds.named_shape("p"), bounds.named_shape("p", 6)),
)  # fmt: skip
