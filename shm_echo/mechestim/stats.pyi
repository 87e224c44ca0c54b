"""Continuous distributions, as in scipy.stats, counted.

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from shm_echo.mechestim import ndarray

_bool = builtins.bool




class _cauchy:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the Cauchy distribution. Costs 5*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the Cauchy distribution. Costs 6*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the Cauchy distribution. Costs 5*numel(output)."""


class _expon:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the exponential distribution. Costs 5*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the exponential distribution. Costs 5*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the exponential distribution. Costs 5*numel(output)."""


class _laplace:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the Laplace distribution. Costs 5*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the Laplace distribution. Costs 5*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the Laplace distribution. Costs 5*numel(output)."""


class _logistic:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the logistic distribution. Costs 5*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the logistic distribution. Costs 8*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the logistic distribution. Costs 5*numel(output)."""


class _lognorm:
    def cdf(self, x: Any, s: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the log-normal distribution. Costs 25*numel(output)."""
    def pdf(self, x: Any, s: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the log-normal distribution. Costs 15*numel(output)."""
    def ppf(self, q: Any, s: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the log-normal distribution. Costs 45*numel(output)."""


class _norm:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the normal distribution. Costs 20*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the normal distribution. Costs 10*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the normal distribution. Costs 40*numel(output)."""


class _truncnorm:
    def cdf(self, x: Any, a: Any, b: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the truncated normal distribution. Costs 30*numel(output)."""
    def pdf(self, x: Any, a: Any, b: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the truncated normal distribution. Costs 30*numel(output)."""
    def ppf(self, q: Any, a: Any, b: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the truncated normal distribution. Costs 50*numel(output)."""


class _uniform:
    def cdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Cumulative distribution function of the uniform distribution. Costs 3*numel(output)."""
    def pdf(self, x: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Probability density of the uniform distribution. Costs 3*numel(output)."""
    def ppf(self, q: Any, loc: Any=0, scale: Any=1) -> ndarray:
        """Quantile function, the inverse of cdf, of the uniform distribution. Costs 3*numel(output)."""


cauchy: _cauchy
expon: _expon
laplace: _laplace
logistic: _logistic
lognorm: _lognorm
norm: _norm
truncnorm: _truncnorm
uniform: _uniform
