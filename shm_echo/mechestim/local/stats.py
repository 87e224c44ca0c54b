"""Eight continuous distributions with `pdf`, `cdf` and `ppf`, called as those of scipy.stats.

Every method takes arrays that broadcast (the points, the shape parameters, `loc` and `scale`) and
returns float64. As in scipy, a scale that is not positive, an invalid shape parameter, a NaN
anywhere and a probability outside [0, 1] give NaN; a density is 0 outside the support.

These are plain functions on plain arrays. The dispatcher charges for them and wraps their results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from shm_echo.mechestim.local import normal_distribution as normal
from shm_echo.mechestim.local.normal_distribution import Floats, by_region


def _floats(value: Any) -> Floats:
    return np.asarray(value).astype(np.float64, casting="same_kind", copy=False)


class Distribution(ABC):
    """A distribution in its standard form, shifted by `loc` and scaled by `scale`.

    A subclass implements the standard form: functions of points inside the support and of the shape
    parameters, all arrays of one dimension.
    """

    def valid(self, *shapes: Floats) -> Any:
        """Return True in each place where the shape parameters are valid."""
        return True

    def support(self, *shapes: Floats) -> tuple[Any, Any]:
        """Return the ends of the support."""
        return -np.inf, np.inf

    @abstractmethod
    def density(self, x: Floats, *shapes: Floats) -> Floats:
        """Return the probability density inside the support."""

    @abstractmethod
    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        """Return the probability below `x`, strictly inside the support."""

    @abstractmethod
    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        """Return the point below which the probability is `q`, strictly between 0 and 1."""

    def _broadcast(self, points: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> Any:
        """Return the arguments broadcast, and a mask of the places where they are valid."""
        arrays = [_floats(value) for value in (points, loc, scale, *shapes)]
        x, loc, scale, *parameters = np.broadcast_arrays(*arrays)
        valid = (scale > 0) & ~np.isnan(loc) & self.valid(*parameters)
        return x, loc, scale, tuple(parameters), valid

    def _pdf(self, x: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> Any:
        with np.errstate(all="ignore"):
            x, loc, scale, parameters, valid = self._broadcast(x, shapes, loc, scale)
            z = np.asarray((x - loc) / scale)
            low, high = self.support(*parameters)
            inside = valid & (z >= low) & (z <= high)
            result = by_region(z.shape, (inside, self.density, (z, *parameters))) / scale
            return np.where(valid & ~inside & ~np.isnan(z), 0.0, result)[()]

    def _cdf(self, x: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> Any:
        with np.errstate(all="ignore"):
            x, loc, scale, parameters, valid = self._broadcast(x, shapes, loc, scale)
            z = np.asarray((x - loc) / scale)
            low, high = self.support(*parameters)
            inside = valid & (z > low) & (z < high)
            result = by_region(z.shape, (inside, self.probability, (z, *parameters)))
            result = np.where(valid & (z <= low), 0.0, result)
            return np.where(valid & (z >= high), 1.0, result)[()]

    def _ppf(self, q: Any, shapes: tuple[Any, ...], loc: Any, scale: Any) -> Any:
        with np.errstate(all="ignore"):
            q, loc, scale, parameters, valid = self._broadcast(q, shapes, loc, scale)
            low, high = self.support(*parameters)
            inside = valid & (q > 0) & (q < 1)
            z = by_region(q.shape, (inside, self.quantile, (q, *parameters)))
            z = np.where(valid & (q == 0), low, z)
            z = np.where(valid & (q == 1), high, z)
            return np.asarray(z * scale + loc)[()]


class _LocationScale(Distribution):
    """A distribution without shape parameters."""

    def pdf(self, x: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability density at `x`."""
        return self._pdf(x, (), loc, scale)

    def cdf(self, x: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability of a value up to `x`."""
        return self._cdf(x, (), loc, scale)

    def ppf(self, q: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the value up to which the probability is `q`."""
        return self._ppf(q, (), loc, scale)


class _Norm(_LocationScale):
    def density(self, x: Floats, *shapes: Floats) -> Floats:
        return normal.gaussian(x) / normal.SQRT_2PI

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        return normal.cdf(x)

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        return normal.quantile(q)


class _Uniform(_LocationScale):
    def support(self, *shapes: Floats) -> tuple[Any, Any]:
        return 0.0, 1.0

    def density(self, x: Floats, *shapes: Floats) -> Floats:
        return np.ones(x.shape)

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        return x

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        return q


class _Expon(_LocationScale):
    def support(self, *shapes: Floats) -> tuple[Any, Any]:
        return 0.0, np.inf

    def density(self, x: Floats, *shapes: Floats) -> Floats:
        return np.exp(-x)

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        return -np.expm1(-x)

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        return -np.log1p(-q)


class _Cauchy(_LocationScale):
    def density(self, x: Floats, *shapes: Floats) -> Floats:
        return 1.0 / (np.pi * (1.0 + x * x))

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        return np.arctan2(1.0, -x) / np.pi

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        # A tangent is taken only of a small argument: near its poles it would lose all digits.
        end = np.minimum(q, 1.0 - q)
        outer = np.copysign(1.0 / np.tan(np.pi * end), q - 0.5)
        return np.where(end < 0.25, outer, np.tan(np.pi * (q - 0.5)))


class _Logistic(_LocationScale):
    def density(self, x: Floats, *shapes: Floats) -> Floats:
        decay = np.exp(-np.abs(x))
        return decay / (1.0 + decay) ** 2

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        decay = np.exp(-np.abs(x))
        return np.where(x < 0, decay, 1.0) / (1.0 + decay)

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        middle = np.abs(q - 0.5) < 0.25
        return np.where(middle, 2.0 * np.arctanh(2.0 * q - 1.0), np.log(q) - np.log1p(-q))


class _Laplace(_LocationScale):
    def density(self, x: Floats, *shapes: Floats) -> Floats:
        return 0.5 * np.exp(-np.abs(x))

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        half = 0.5 * np.exp(-np.abs(x))
        return np.where(x > 0, 1.0 - half, half)

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        return np.where(q > 0.5, -np.log(2.0 * (1.0 - q)), np.log(2.0 * q))


class _LogNorm(Distribution):
    """The exponential of a normal variable of standard deviation `s`."""

    def valid(self, *shapes: Floats) -> Any:
        return shapes[0] > 0

    def support(self, *shapes: Floats) -> tuple[Any, Any]:
        return 0.0, np.inf

    def density(self, x: Floats, *shapes: Floats) -> Floats:
        (s,) = shapes
        inside = np.exp(-0.5 * (np.log(x) / s) ** 2) / (normal.SQRT_2PI * s * x)
        return np.where((x == 0) | np.isinf(x), 0.0, inside)

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        return normal.cdf(np.log(x) / shapes[0])

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        return np.exp(shapes[0] * normal.quantile(q))

    def pdf(self, x: Any, s: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability density at `x`."""
        return self._pdf(x, (s,), loc, scale)

    def cdf(self, x: Any, s: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability of a value up to `x`."""
        return self._cdf(x, (s,), loc, scale)

    def ppf(self, q: Any, s: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the value up to which the probability is `q`."""
        return self._ppf(q, (s,), loc, scale)


class _TruncNorm(Distribution):
    """A standard normal variable, given that it lies between `a` and `b`."""

    def valid(self, *shapes: Floats) -> Any:
        return shapes[0] < shapes[1]

    def support(self, *shapes: Floats) -> tuple[Any, Any]:
        return shapes[0], shapes[1]

    def density(self, x: Floats, *shapes: Floats) -> Floats:
        mass, at = normal.interval(*shapes)
        size = np.abs(x)
        inside = np.exp(0.5 * (at - size) * (at + size)) / (normal.SQRT_2PI * mass)
        return np.where(np.isinf(x), 0.0, inside)

    def probability(self, x: Floats, *shapes: Floats) -> Floats:
        below, above = self._cdf_and_survival(x, *shapes)
        return np.where(below <= above, below, 1.0 - above)

    def _cdf_and_survival(self, x: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Return the probabilities below and above `x`, each to full relative precision."""
        whole, at = normal.interval(a, b)
        below, at_below = normal.interval(a, x)
        above, at_above = normal.interval(x, b)
        return (
            below / whole * np.exp(0.5 * (at - at_below) * (at + at_below)),
            above / whole * np.exp(0.5 * (at - at_above) * (at + at_above)),
        )

    def quantile(self, q: Floats, *shapes: Floats) -> Floats:
        a, b = shapes
        mirrored = b <= 0  # so that the interval lies above 0, or holds 0
        low, high = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
        below, above = np.where(mirrored, 1.0 - q, q), np.where(mirrored, q, 1.0 - q)
        mass, at = normal.interval(low, high)
        z = by_region(
            q.shape,
            (low < 0, _quantile_across_zero, (low, high, below, above, mass)),
            (low >= 0, _quantile_in_tail, (low, high, above, mass, at)),
        )
        x = _refine_near_ends(
            np.clip(np.where(mirrored, -z, z), a, b),
            (a, q / self.density(a, a, b)),
            (b, -(1.0 - q) / self.density(b, a, b)),
        )
        # One Newton step, with probabilities that are relatively precise next to both ends.
        lower, upper = self._cdf_and_survival(x, a, b)
        error = np.where(q < 0.5, lower - q, (1.0 - q) - upper) / self.density(x, a, b)
        return np.clip(np.where(np.isfinite(error), x - error, x), a, b)

    def pdf(self, x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability density at `x`."""
        return self._pdf(x, (a, b), loc, scale)

    def cdf(self, x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the probability of a value up to `x`."""
        return self._cdf(x, (a, b), loc, scale)

    def ppf(self, q: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
        """Return the value up to which the probability is `q`."""
        return self._ppf(q, (a, b), loc, scale)


def _quantile_across_zero(
    low: Floats, high: Floats, below: Floats, above: Floats, mass: Floats
) -> Floats:
    """Return the quantile of an interval that holds 0, from the smaller of its two tails."""
    lower = normal.cdf(low) + below * mass
    upper = normal.cdf(-high) + above * mass
    return np.where(lower < upper, normal.quantile(lower), -normal.quantile(upper))


def _quantile_in_tail(low: Floats, high: Floats, above: Floats, mass: Floats, at: Floats) -> Floats:
    """Return the quantile of an interval above 0, from the logarithm of its upper tail."""
    decay = np.where(np.isinf(high), 0.0, np.exp(-0.5 * (high - low) * (high + low)))
    tail = np.where(decay > 0, normal.scaled_tail(high) * decay, 0.0)
    return normal.upper_quantile_of_log(np.log(above * mass + tail) - 0.5 * at * at)


def _refine_near_ends(x: Floats, *ends: tuple[Floats, Floats]) -> Floats:
    """Return `x`, replaced near an end of the interval by that end plus its distance from it.

    Near 0 a quantile of 1e-80 and one of 1e-20 differ only in that distance.
    """
    end, distance = ends[0]
    for other, further in ends[1:]:
        nearer = np.abs(further) < np.abs(distance)
        end, distance = np.where(nearer, other, end), np.where(nearer, further, distance)
    close = np.abs(distance) * np.maximum(1.0, np.abs(end)) < 1e-6
    return np.where(close, end + distance, x)


norm = _Norm()
uniform = _Uniform()
expon = _Expon()
cauchy = _Cauchy()
logistic = _Logistic()
laplace = _Laplace()
lognorm = _LogNorm()
truncnorm = _TruncNorm()

__all__ = ["cauchy", "expon", "laplace", "logistic", "lognorm", "norm", "truncnorm", "uniform"]
