"""The normal distribution's tail, interval mass and quantile, in NumPy alone.

Accurate to a few units in the last place, in the far tails too, because tails are kept *scaled*:
`scaled_tail(y) = Phi(-y) * exp(y^2 / 2)` neither underflows nor cancels.

* `Phi`, the distribution function: the rational Chebyshev approximations of W. J. Cody, Math. Comp.
  23 (1969), 631-637, doi:10.1090/S0025-5718-1969-0247736-4, in the form for the normal distribution
  of his Algorithm 715, ACM TOMS 19 (1993), 22-32, doi:10.1145/151271.151273.
* Its inverse: M. J. Wichura, algorithm AS 241 (PPND16), Applied Statistics 37 (1988), 477-484,
  doi:10.2307/2347330.

Every function takes and returns float64 arrays of one shape. The caller silences floating-point
warnings: the branches that `numpy.where` drops may divide by zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

SQRT_2PI = 2.5066282746310005024
LOG_SQRT_2PI = 0.91893853320467274178

# Cody: Phi(x) - 1/2 = x * P(x^2) / Q(x^2) for |x| <= _CENTRE.
_CENTRE = 0.67448975
_CENTRE_P = (
    0.065682337918207449113, 2.2352520354606839287, 161.02823106855587881,
    1067.6894854603709582, 18154.981253343561249,
)  # fmt: skip
_CENTRE_Q = (
    1.0, 47.20258190468824187, 976.09855173777669322, 10260.932208618978205,
    45507.789335026729956,
)  # fmt: skip

# Cody: Phi(-y) * exp(y^2 / 2) = P(y) / Q(y) for _CENTRE < y <= _FAR = sqrt(32).
_FAR = 5.656854249492380195
_MIDDLE_P = (
    1.0765576773720192317e-8, 0.39894151208813466764, 8.8831497943883759412,
    93.506656132177855979, 597.27027639480026226, 2494.5375852903726711, 6848.1904505362823326,
    11602.651437647350124, 9842.7148383839780218,
)  # fmt: skip
_MIDDLE_Q = (
    1.0, 22.266688044328115691, 235.38790178262499861, 1519.377599407554805, 6485.558298266760755,
    18615.571640885098091, 34900.952721145977266, 38912.003286093271411, 19685.429676859990727,
)  # fmt: skip

# Cody: Phi(-y) * exp(y^2 / 2) = (1/sqrt(2 pi) - z*P(z)/Q(z)) / y with z = 1/y^2 beyond _FAR.
_FAR_P = (
    0.02307344176494017303, 0.21589853405795699, 0.1274011611602473639, 0.022235277870649807,
    0.001421619193227893466, 2.9112874951168792e-5,
)  # fmt: skip
_FAR_Q = (
    1.0, 1.28426009614491121, 0.468238212480865118, 0.0659881378689285515,
    0.00378239633202758244, 7.29751555083966205e-5,
)  # fmt: skip

# Wichura: the quantile is q*A/B with q = p - 1/2 for |q| <= 0.425; beyond, C/D and E/F of
# sqrt(-log p).
_A = (
    2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
    13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080,
)  # fmt: skip
_B = (
    5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
    5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0,
)  # fmt: skip
_C = (
    7.74545014278341407640e-4, 0.0227238449892691845833, 0.241780725177450611770,
    1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
    4.63033784615654529590, 1.42343711074968357734,
)  # fmt: skip
_D = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 0.0151986665636164571966,
    0.148103976427480074590, 0.689767334985100004550, 1.67638483018380384940,
    2.05319162663775882187, 1.0,
)  # fmt: skip
_E = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
    0.0265321895265761230930, 0.296560571828504891230, 1.78482653991729133580,
    5.46378491116411436990, 6.65790464350110377720,
)  # fmt: skip
_F = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
    7.86869131145613259100e-4, 0.0148753612908506148525, 0.136929880922735805310,
    0.599832206555887937690, 1.0,
)  # fmt: skip

# Gauss-Legendre on [-1, 1] with ten points, for intervals so narrow that a difference of tails
# would cancel.
_NODES = (
    0.14887433898163121088, 0.43339539412924719080, 0.67940956829902440623,
    0.86506336668898451073, 0.97390652851717172008,
)  # fmt: skip
_WEIGHTS = (
    0.29552422471475287017, 0.26926671930999635509, 0.21908636251598204400,
    0.14945134915058059315, 0.066671344308688137594,
)  # fmt: skip


def by_region(
    shape: tuple[int, ...], *regions: tuple[Any, Callable[..., Any], tuple[Floats, ...]]
) -> Floats:
    """Return an array that each region, a mask, a function and its arrays, fills in part."""
    result = np.full(shape, np.nan)
    for mask, function, arrays in regions:
        if mask.any():
            result[mask] = function(*(array[mask] for array in arrays))
    return result


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    result: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return np.asarray(result)


def gaussian(x: Floats) -> Floats:
    """Return `exp(-x^2 / 2)` to full precision: `x` is split so that its head squares exactly."""
    x = np.minimum(np.abs(x), 40.0)  # exp(-800) is 0 in float64
    head = np.trunc(x * 16.0) / 16.0
    return np.asarray(np.exp(-head * head * 0.5) * np.exp(-(x - head) * (x + head) * 0.5))


def central(x: Floats) -> Floats:
    """Return `Phi(x) - 1/2`, with full relative accuracy near 0 too."""
    near = np.abs(x) <= _CENTRE
    return by_region(
        x.shape,
        (near, lambda y: y * _polynomial(_CENTRE_P, y * y) / _polynomial(_CENTRE_Q, y * y), (x,)),
        (~near, lambda y: np.copysign(0.5 - gaussian(y) * scaled_tail(np.abs(y)), y), (x,)),
    )


def scaled_tail(y: Floats) -> Floats:
    """Return `Phi(-y) * exp(y^2 / 2)` for `y >= 0`; 0 at infinity."""
    near = y <= _CENTRE
    far = y > _FAR
    return by_region(
        y.shape,
        (near, lambda y: (0.5 - central(y)) / gaussian(y), (y,)),
        (~near & ~far, lambda y: _polynomial(_MIDDLE_P, y) / _polynomial(_MIDDLE_Q, y), (y,)),
        (far, _far_tail, (y,)),
    )


def _far_tail(y: Floats) -> Floats:
    z = 1.0 / (y * y)
    ratio = z * _polynomial(_FAR_P, z) / _polynomial(_FAR_Q, z)
    return np.asarray((1.0 / SQRT_2PI - ratio) / y)


def cdf(x: Floats) -> Floats:
    """Return `Phi(x)`, the probability below `x`.

    >>> cdf(np.array([0.0, 1.96])).round(4).tolist()
    [0.5, 0.975]
    """
    near = np.abs(x) <= _CENTRE
    return by_region(
        x.shape,
        (near, lambda y: 0.5 + central(y), (x,)),
        (x < -_CENTRE, lambda y: gaussian(y) * scaled_tail(-y), (x,)),
        (x > _CENTRE, lambda y: 1.0 - gaussian(y) * scaled_tail(y), (x,)),
    )


def quantile(p: Floats) -> Floats:
    """Return the inverse of `cdf` for `0 <= p <= 1`; -inf and inf at the ends."""
    q = p - 0.5
    tail = np.abs(q) > 0.425
    inside = (p > 0) & (p < 1)
    return by_region(
        p.shape,
        (inside & ~tail, _central_quantile, (q,)),
        (inside & tail & (q < 0), lambda p: -_tail_quantile(-np.log(p)), (p,)),
        (inside & tail & (q > 0), lambda p: _tail_quantile(-np.log1p(-p)), (p,)),
        (p == 0, lambda p: np.full(p.shape, -np.inf), (p,)),
        (p == 1, lambda p: np.full(p.shape, np.inf), (p,)),
    )


def _central_quantile(q: Floats) -> Floats:
    r = 0.180625 - q * q
    return np.asarray(q * _polynomial(_A, r) / _polynomial(_B, r))


def _tail_quantile(minus_log_p: Floats) -> Floats:
    """Return the `y` with `Phi(-y) = p` for a small `p`, given `-log(p)`."""
    r = np.sqrt(minus_log_p)
    near, far = r - 1.6, r - 5.0
    close = _polynomial(_C, near) / _polynomial(_D, near)
    distant = _polynomial(_E, far) / _polynomial(_F, far)
    return np.where(r <= 5.0, close, distant)


def upper_quantile_of_log(log_p: Floats) -> Floats:
    """Return the `y` with `log(Phi(-y)) = log_p`, for any `log_p < 0`.

    AS 241 as far as its tail goes, then Newton steps on the logarithm of the scaled tail.
    """
    inner = log_p > -2.0
    deep = log_p < -700.0  # below exp(-708) a float64 loses digits
    y = by_region(
        log_p.shape,
        (inner, lambda t: -quantile(np.exp(t)), (log_p,)),
        (~inner & ~deep, lambda t: _tail_quantile(-t), (log_p,)),
        (deep, lambda t: np.sqrt(-2.0 * (t + LOG_SQRT_2PI + 0.5 * np.log(-2.0 * t))), (log_p,)),
    )
    if not deep.any():
        return y
    for _ in range(4):  # each step doubles the digits, and the start has five
        tail = scaled_tail(np.maximum(y, 0.0))
        step = (np.log(tail) - 0.5 * y * y - log_p) * tail * SQRT_2PI
        y = np.where(deep, y + step, y)
    return y


def interval(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the probability of `a < X < b` for `a <= b`, as `mass` and `at`.

    The probability is `mass * exp(-at^2 / 2)`, where `at` is the point of the interval nearest 0.
    So `mass` does not underflow, nor cancel: narrow intervals are integrated by quadrature.
    """
    low = np.where(
        b <= 0, -b, a
    )  # mirrored into the positive half where it lies in the negative one
    high = np.where(b <= 0, -a, b)
    across = low < 0
    at = np.where(across, 0.0, low)
    width = high - low
    narrow = width * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high))) < 1.0
    mass = by_region(
        a.shape,
        (across & ~narrow, lambda low, high: central(high) - central(low), (low, high)),
        (~across & ~narrow, _difference_of_tails, (low, high)),
        (narrow, _quadrature, (low, high, at)),
    )
    return mass, at


def _difference_of_tails(low: Floats, high: Floats) -> Floats:
    decay = np.where(np.isinf(high), 0.0, np.exp(-0.5 * (high - low) * (high + low)))
    return scaled_tail(low) - np.where(decay > 0, scaled_tail(high) * decay, 0.0)


def _quadrature(low: Floats, high: Floats, at: Floats) -> Floats:
    half = 0.5 * (high - low)
    middle = 0.5 * (low - at + high - at)
    total = np.zeros(low.shape)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        for sign in (-node, node):
            step = middle + sign * half  # from `at`, so that nothing large is subtracted
            total += weight * np.exp(-0.5 * step * (step + 2.0 * at))
    return total * half / SQRT_2PI
