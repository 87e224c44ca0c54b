"""Random numbers, as in numpy.random, counted.

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from shm_echo.mechestim import ndarray

_bool = builtins.bool


class SeedSequence:
    """Entropy from which bit generators are seeded."""

    def __init__(self, entropy: Any = None, *, spawn_key: Any = (), pool_size: int = 4, n_children_spawned: int = 0) -> None: ...
    def generate_state(self, n_words: int, dtype: Any = ...) -> Any: ...
    def spawn(self, n_children: int) -> list[SeedSequence]: ...
class BitGenerator:
    """A source of random bits."""

    def __init__(self, seed: Any = None) -> None: ...
    @property
    def state(self) -> Any: ...
    @state.setter
    def state(self, value: Any) -> None: ...
    def spawn(self, n_children: int) -> list[BitGenerator]: ...
class MT19937(BitGenerator): ...
class PCG64(BitGenerator): ...
class PCG64DXSM(BitGenerator): ...
class Philox(BitGenerator): ...
class SFC64(BitGenerator): ...
def get_bit_generator() -> BitGenerator:
    """The source of the module functions' random bits."""
def set_bit_generator(bitgen: BitGenerator) -> None:
    """Sets the source of the module functions' random bits."""


def beta(a: Any, b: Any, size: Any=None) -> ndarray:
    """Draws from the beta distribution. Costs numel(output)."""
def binomial(n: Any, p: Any, size: Any=None) -> ndarray:
    """Draws from the binomial distribution. Costs numel(output)."""
def bytes(length: Any) -> builtins.bytes:
    """Random bytes. Costs length."""
def chisquare(df: Any, size: Any=None) -> ndarray:
    """Draws from the chi-square distribution. Costs numel(output)."""
def choice(a: Any, size: Any=None, replace: Any=True, p: Any=None) -> ndarray:
    """Draws from a given population. Costs numel(output); without replacement n*ceil(log2(n)), n = population."""
def default_rng(seed: Any=None) -> Generator:
    """A new Generator. Free."""
def dirichlet(alpha: Any, size: Any=None) -> ndarray:
    """Draws from the Dirichlet distribution. Costs numel(output)."""
def exponential(scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the exponential distribution. Costs numel(output)."""
def f(dfnum: Any, dfden: Any, size: Any=None) -> ndarray:
    """Draws from the F distribution. Costs numel(output)."""
def gamma(shape: Any, scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the gamma distribution. Costs numel(output)."""
def geometric(p: Any, size: Any=None) -> ndarray:
    """Draws from the geometric distribution. Costs numel(output)."""
def get_state(legacy: Any=True) -> Any:
    """The state of the generator. Free."""
def gumbel(loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the Gumbel distribution. Costs numel(output)."""
def hypergeometric(ngood: Any, nbad: Any, nsample: Any, size: Any=None) -> ndarray:
    """Draws from the hypergeometric distribution. Costs numel(output)."""
def laplace(loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the Laplace distribution. Costs numel(output)."""
def logistic(loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the logistic distribution. Costs numel(output)."""
def lognormal(mean: Any=0.0, sigma: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the log-normal distribution. Costs numel(output)."""
def logseries(p: Any, size: Any=None) -> ndarray:
    """Draws from the logarithmic series distribution. Costs numel(output)."""
def multinomial(n: Any, pvals: Any, size: Any=None) -> ndarray:
    """Draws from the multinomial distribution. Costs numel(output)."""
def multivariate_normal(mean: Any, cov: Any, size: Any=None, check_valid: Any='warn', tol: Any=1e-08) -> ndarray:
    """Draws from the multivariate normal distribution. Costs numel(output)."""
def negative_binomial(n: Any, p: Any, size: Any=None) -> ndarray:
    """Draws from the negative binomial distribution. Costs numel(output)."""
def noncentral_chisquare(df: Any, nonc: Any, size: Any=None) -> ndarray:
    """Draws from the noncentral chi-square distribution. Costs numel(output)."""
def noncentral_f(dfnum: Any, dfden: Any, nonc: Any, size: Any=None) -> ndarray:
    """Draws from the noncentral F distribution. Costs numel(output)."""
def normal(loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the normal distribution. Costs numel(output)."""
def pareto(a: Any, size: Any=None) -> ndarray:
    """Draws from the Pareto II (Lomax) distribution. Costs numel(output)."""
def permutation(x: Any) -> ndarray:
    """A copy in random order, or the integers below one. Costs n*ceil(log2(n)), n = length along the axis."""
def poisson(lam: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the Poisson distribution. Costs numel(output)."""
def power(a: Any, size: Any=None) -> ndarray:
    """Draws from the power distribution. Costs numel(output)."""
def rand(*args: Any) -> ndarray:
    """Draws from the uniform on [0, 1) distribution, in the given dimensions. Costs numel(output)."""
def randint(low: Any, high: Any=None, size: Any=None, dtype: Any=int) -> ndarray:
    """Draws from the discrete uniform distribution. Costs numel(output)."""
def randn(*args: Any) -> ndarray:
    """Draws from the standard normal distribution, in the given dimensions. Costs numel(output)."""
def random(size: Any=None) -> ndarray:
    """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
def random_integers(low: Any, high: Any=None, size: Any=None) -> ndarray:
    """Draws from the discrete uniform, both ends included distribution. Costs numel(output)."""
def random_sample(size: Any=None) -> ndarray:
    """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
def ranf(*args: Any, **kwargs: Any) -> ndarray:
    """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
def rayleigh(scale: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the Rayleigh distribution. Costs numel(output)."""
def sample(*args: Any, **kwargs: Any) -> ndarray:
    """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
def seed(seed: Any=None) -> None:
    """Restarts the generator from a seed. Free."""
def set_state(state: Any) -> None:
    """Puts the generator back into a state. Free."""
def shuffle(x: Any) -> None:
    """Puts a sequence in random order, in place. Costs n*ceil(log2(n)), n = length along the axis."""
def standard_cauchy(size: Any=None) -> ndarray:
    """Draws from the standard Cauchy distribution. Costs numel(output)."""
def standard_exponential(size: Any=None) -> ndarray:
    """Draws from the standard exponential distribution. Costs numel(output)."""
def standard_gamma(shape: Any, size: Any=None) -> ndarray:
    """Draws from the standard gamma distribution. Costs numel(output)."""
def standard_normal(size: Any=None) -> ndarray:
    """Draws from the standard normal distribution. Costs numel(output)."""
def standard_t(df: Any, size: Any=None) -> ndarray:
    """Draws from the Student's t distribution. Costs numel(output)."""
def triangular(left: Any, mode: Any, right: Any, size: Any=None) -> ndarray:
    """Draws from the triangular distribution. Costs numel(output)."""
def uniform(low: Any=0.0, high: Any=1.0, size: Any=None) -> ndarray:
    """Draws from the uniform distribution. Costs numel(output)."""
def vonmises(mu: Any, kappa: Any, size: Any=None) -> ndarray:
    """Draws from the von Mises distribution. Costs numel(output)."""
def wald(mean: Any, scale: Any, size: Any=None) -> ndarray:
    """Draws from the Wald (inverse Gaussian) distribution. Costs numel(output)."""
def weibull(a: Any, size: Any=None) -> ndarray:
    """Draws from the Weibull distribution. Costs numel(output)."""
def zipf(a: Any, size: Any=None) -> ndarray:
    """Draws from the Zipf distribution. Costs numel(output)."""


class Generator:
    """Random numbers from a source of bits."""

    def __init__(self, bit_generator: BitGenerator) -> None: ...
    @property
    def bit_generator(self) -> BitGenerator: ...
    def beta(self, a: Any, b: Any, size: Any=None) -> ndarray:
        """Draws from the beta distribution. Costs numel(output)."""
    def binomial(self, n: Any, p: Any, size: Any=None) -> ndarray:
        """Draws from the binomial distribution. Costs numel(output)."""
    def bytes(self, length: Any) -> builtins.bytes:
        """Random bytes. Costs length."""
    def chisquare(self, df: Any, size: Any=None) -> ndarray:
        """Draws from the chi-square distribution. Costs numel(output)."""
    def choice(self, a: Any, size: Any=None, replace: Any=True, p: Any=None, axis: Any=0, shuffle: Any=True) -> ndarray:
        """Draws from a given population. Costs numel(output); without replacement n*ceil(log2(n)), n = population."""
    def dirichlet(self, alpha: Any, size: Any=None) -> ndarray:
        """Draws from the Dirichlet distribution. Costs numel(output)."""
    def exponential(self, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the exponential distribution. Costs numel(output)."""
    def f(self, dfnum: Any, dfden: Any, size: Any=None) -> ndarray:
        """Draws from the F distribution. Costs numel(output)."""
    def gamma(self, shape: Any, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the gamma distribution. Costs numel(output)."""
    def geometric(self, p: Any, size: Any=None) -> ndarray:
        """Draws from the geometric distribution. Costs numel(output)."""
    def gumbel(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Gumbel distribution. Costs numel(output)."""
    def hypergeometric(self, ngood: Any, nbad: Any, nsample: Any, size: Any=None) -> ndarray:
        """Draws from the hypergeometric distribution. Costs numel(output)."""
    def integers(self, low: Any, high: Any=None, size: Any=None, dtype: Any='int64', endpoint: Any=False) -> ndarray:
        """Draws from the discrete uniform distribution. Costs numel(output)."""
    def laplace(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Laplace distribution. Costs numel(output)."""
    def logistic(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the logistic distribution. Costs numel(output)."""
    def lognormal(self, mean: Any=0.0, sigma: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the log-normal distribution. Costs numel(output)."""
    def logseries(self, p: Any, size: Any=None) -> ndarray:
        """Draws from the logarithmic series distribution. Costs numel(output)."""
    def multinomial(self, n: Any, pvals: Any, size: Any=None) -> ndarray:
        """Draws from the multinomial distribution. Costs numel(output)."""
    def multivariate_hypergeometric(self, colors: Any, nsample: Any, size: Any=None, method: Any='marginals') -> ndarray:
        """Draws from the multivariate hypergeometric distribution. Costs numel(output)."""
    def multivariate_normal(self, mean: Any, cov: Any, size: Any=None, check_valid: Any='warn', tol: Any=1e-08, *, method: Any='svd') -> ndarray:
        """Draws from the multivariate normal distribution. Costs numel(output)."""
    def negative_binomial(self, n: Any, p: Any, size: Any=None) -> ndarray:
        """Draws from the negative binomial distribution. Costs numel(output)."""
    def noncentral_chisquare(self, df: Any, nonc: Any, size: Any=None) -> ndarray:
        """Draws from the noncentral chi-square distribution. Costs numel(output)."""
    def noncentral_f(self, dfnum: Any, dfden: Any, nonc: Any, size: Any=None) -> ndarray:
        """Draws from the noncentral F distribution. Costs numel(output)."""
    def normal(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the normal distribution. Costs numel(output)."""
    def pareto(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Pareto II (Lomax) distribution. Costs numel(output)."""
    def permutation(self, x: Any, axis: Any=0) -> ndarray:
        """A copy in random order, or the integers below one. Costs n*ceil(log2(n)), n = length along the axis."""
    def permuted(self, x: Any, *, axis: Any=None, out: Any=None) -> ndarray:
        """A copy with the elements along an axis in random order. Costs numel(input)."""
    def poisson(self, lam: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Poisson distribution. Costs numel(output)."""
    def power(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the power distribution. Costs numel(output)."""
    def random(self, size: Any=None, dtype: Any='float64', out: Any=None) -> ndarray:
        """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
    def rayleigh(self, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Rayleigh distribution. Costs numel(output)."""
    def shuffle(self, x: Any, axis: Any=0) -> None:
        """Puts a sequence in random order, in place. Costs n*ceil(log2(n)), n = length along the axis."""
    def spawn(self, n_children: Any) -> list[Generator]:
        """New generators with independent streams. Free."""
    def standard_cauchy(self, size: Any=None) -> ndarray:
        """Draws from the standard Cauchy distribution. Costs numel(output)."""
    def standard_exponential(self, size: Any=None, dtype: Any='float64', method: Any='zig', out: Any=None) -> ndarray:
        """Draws from the standard exponential distribution. Costs numel(output)."""
    def standard_gamma(self, shape: Any, size: Any=None, dtype: Any='float64', out: Any=None) -> ndarray:
        """Draws from the standard gamma distribution. Costs numel(output)."""
    def standard_normal(self, size: Any=None, dtype: Any='float64', out: Any=None) -> ndarray:
        """Draws from the standard normal distribution. Costs numel(output)."""
    def standard_t(self, df: Any, size: Any=None) -> ndarray:
        """Draws from the Student's t distribution. Costs numel(output)."""
    def triangular(self, left: Any, mode: Any, right: Any, size: Any=None) -> ndarray:
        """Draws from the triangular distribution. Costs numel(output)."""
    def uniform(self, low: Any=0.0, high: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the uniform distribution. Costs numel(output)."""
    def vonmises(self, mu: Any, kappa: Any, size: Any=None) -> ndarray:
        """Draws from the von Mises distribution. Costs numel(output)."""
    def wald(self, mean: Any, scale: Any, size: Any=None) -> ndarray:
        """Draws from the Wald (inverse Gaussian) distribution. Costs numel(output)."""
    def weibull(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Weibull distribution. Costs numel(output)."""
    def zipf(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Zipf distribution. Costs numel(output)."""


class RandomState:
    """Random numbers as older programs draw them."""

    def __init__(self, seed: Any = None) -> None: ...
    def beta(self, a: Any, b: Any, size: Any=None) -> ndarray:
        """Draws from the beta distribution. Costs numel(output)."""
    def binomial(self, n: Any, p: Any, size: Any=None) -> ndarray:
        """Draws from the binomial distribution. Costs numel(output)."""
    def bytes(self, length: Any) -> builtins.bytes:
        """Random bytes. Costs length."""
    def chisquare(self, df: Any, size: Any=None) -> ndarray:
        """Draws from the chi-square distribution. Costs numel(output)."""
    def choice(self, a: Any, size: Any=None, replace: Any=True, p: Any=None) -> ndarray:
        """Draws from a given population. Costs numel(output); without replacement n*ceil(log2(n)), n = population."""
    def dirichlet(self, alpha: Any, size: Any=None) -> ndarray:
        """Draws from the Dirichlet distribution. Costs numel(output)."""
    def exponential(self, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the exponential distribution. Costs numel(output)."""
    def f(self, dfnum: Any, dfden: Any, size: Any=None) -> ndarray:
        """Draws from the F distribution. Costs numel(output)."""
    def gamma(self, shape: Any, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the gamma distribution. Costs numel(output)."""
    def geometric(self, p: Any, size: Any=None) -> ndarray:
        """Draws from the geometric distribution. Costs numel(output)."""
    def get_state(self, legacy: Any=True) -> Any:
        """The state of the generator. Free."""
    def gumbel(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Gumbel distribution. Costs numel(output)."""
    def hypergeometric(self, ngood: Any, nbad: Any, nsample: Any, size: Any=None) -> ndarray:
        """Draws from the hypergeometric distribution. Costs numel(output)."""
    def laplace(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Laplace distribution. Costs numel(output)."""
    def logistic(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the logistic distribution. Costs numel(output)."""
    def lognormal(self, mean: Any=0.0, sigma: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the log-normal distribution. Costs numel(output)."""
    def logseries(self, p: Any, size: Any=None) -> ndarray:
        """Draws from the logarithmic series distribution. Costs numel(output)."""
    def multinomial(self, n: Any, pvals: Any, size: Any=None) -> ndarray:
        """Draws from the multinomial distribution. Costs numel(output)."""
    def multivariate_normal(self, mean: Any, cov: Any, size: Any=None, check_valid: Any='warn', tol: Any=1e-08) -> ndarray:
        """Draws from the multivariate normal distribution. Costs numel(output)."""
    def negative_binomial(self, n: Any, p: Any, size: Any=None) -> ndarray:
        """Draws from the negative binomial distribution. Costs numel(output)."""
    def noncentral_chisquare(self, df: Any, nonc: Any, size: Any=None) -> ndarray:
        """Draws from the noncentral chi-square distribution. Costs numel(output)."""
    def noncentral_f(self, dfnum: Any, dfden: Any, nonc: Any, size: Any=None) -> ndarray:
        """Draws from the noncentral F distribution. Costs numel(output)."""
    def normal(self, loc: Any=0.0, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the normal distribution. Costs numel(output)."""
    def pareto(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Pareto II (Lomax) distribution. Costs numel(output)."""
    def permutation(self, x: Any) -> ndarray:
        """A copy in random order, or the integers below one. Costs n*ceil(log2(n)), n = length along the axis."""
    def poisson(self, lam: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Poisson distribution. Costs numel(output)."""
    def power(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the power distribution. Costs numel(output)."""
    def rand(self, *args: Any) -> ndarray:
        """Draws from the uniform on [0, 1) distribution, in the given dimensions. Costs numel(output)."""
    def randint(self, low: Any, high: Any=None, size: Any=None, dtype: Any=int) -> ndarray:
        """Draws from the discrete uniform distribution. Costs numel(output)."""
    def randn(self, *args: Any) -> ndarray:
        """Draws from the standard normal distribution, in the given dimensions. Costs numel(output)."""
    def random(self, size: Any=None) -> ndarray:
        """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
    def random_integers(self, low: Any, high: Any=None, size: Any=None) -> ndarray:
        """Draws from the discrete uniform, both ends included distribution. Costs numel(output)."""
    def random_sample(self, size: Any=None) -> ndarray:
        """Draws from the uniform on [0, 1) distribution. Costs numel(output)."""
    def rayleigh(self, scale: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the Rayleigh distribution. Costs numel(output)."""
    def seed(self, seed: Any=None) -> None:
        """Restarts the generator from a seed. Free."""
    def set_state(self, state: Any) -> None:
        """Puts the generator back into a state. Free."""
    def shuffle(self, x: Any) -> None:
        """Puts a sequence in random order, in place. Costs n*ceil(log2(n)), n = length along the axis."""
    def standard_cauchy(self, size: Any=None) -> ndarray:
        """Draws from the standard Cauchy distribution. Costs numel(output)."""
    def standard_exponential(self, size: Any=None) -> ndarray:
        """Draws from the standard exponential distribution. Costs numel(output)."""
    def standard_gamma(self, shape: Any, size: Any=None) -> ndarray:
        """Draws from the standard gamma distribution. Costs numel(output)."""
    def standard_normal(self, size: Any=None) -> ndarray:
        """Draws from the standard normal distribution. Costs numel(output)."""
    def standard_t(self, df: Any, size: Any=None) -> ndarray:
        """Draws from the Student's t distribution. Costs numel(output)."""
    def tomaxint(self, size: Any=None) -> ndarray:
        """Draws from the discrete uniform distribution. Costs numel(output)."""
    def triangular(self, left: Any, mode: Any, right: Any, size: Any=None) -> ndarray:
        """Draws from the triangular distribution. Costs numel(output)."""
    def uniform(self, low: Any=0.0, high: Any=1.0, size: Any=None) -> ndarray:
        """Draws from the uniform distribution. Costs numel(output)."""
    def vonmises(self, mu: Any, kappa: Any, size: Any=None) -> ndarray:
        """Draws from the von Mises distribution. Costs numel(output)."""
    def wald(self, mean: Any, scale: Any, size: Any=None) -> ndarray:
        """Draws from the Wald (inverse Gaussian) distribution. Costs numel(output)."""
    def weibull(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Weibull distribution. Costs numel(output)."""
    def zipf(self, a: Any, size: Any=None) -> ndarray:
        """Draws from the Zipf distribution. Costs numel(output)."""
