"""The operations of `fft`."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom, free
from shm_echo.mechestim.registry.op import Op, Rule
from shm_echo.mechestim.registry.rules.flops import fft as cost
from shm_echo.mechestim.registry.rules.memory import bounds as shared
from shm_echo.mechestim.registry.rules.memory import fft as sizes

_SOURCE = (
    "radix-2 algorithm: J. W. Cooley and J. W. Tukey, Math. Comp. 19 (1965), "
    "doi:10.1090/S0025-5718-1965-0178586-1; its operation count: C. Van Loan, Computational "
    "Frameworks for the Fast Fourier Transform, SIAM, 1992, doi:10.1137/1.9781611970999"
)
_FULL = "5*n*ceil(log2(n)) per transform of length n"
_HALF = "5*(n//2)*ceil(log2(n)) per transform of length n"
_FULL_N = "5*N*ceil(log2(N)) per transform, N = product of its lengths"
_HALF_N = "5*(N//2)*ceil(log2(N)) per transform, N = product of its lengths"

_COMPLEX = sizes.one_axis()
_TO_REAL = sizes.one_axis(real=True, inverse_real=True)
_COMPLEX_N = sizes.several_axes()
_TO_REAL_N = sizes.several_axes(real=True, inverse_real=True)
_COMPLEX_2 = sizes.several_axes(default_axes=(-2, -1))
_TO_REAL_2 = sizes.several_axes(real=True, inverse_real=True, default_axes=(-2, -1))


def _op(name: str, formula: str, rule: Rule, memory: tuple[Rule, Rule], summary: str) -> Op:
    return custom(f"fft.{name}", formula, rule, summary, memory[0], memory[1], source=_SOURCE)


_ALONG_ONE_AXIS = (
    _op("fft", _FULL, cost.fft, _COMPLEX, "Discrete Fourier transform."),
    _op("ifft", _FULL, cost.fft, _COMPLEX, "Inverse discrete Fourier transform."),
    _op("rfft", _HALF, cost.rfft, _COMPLEX, "Fourier transform of real numbers."),
    _op("irfft", _HALF, cost.irfft, _TO_REAL, "Inverse of rfft; n is the length of the result."),
    _op("hfft", _FULL, cost.hfft, _TO_REAL, "Transform of half a Hermitian signal to a real one."),
    _op("ihfft", _FULL, cost.fft, _COMPLEX, "Inverse of hfft."),
)

_OVER_AXES = (
    _op("fft2", _FULL_N, cost.fft2, _COMPLEX_2, "Fourier transform over two axes."),
    _op("ifft2", _FULL_N, cost.fft2, _COMPLEX_2, "Inverse Fourier transform over two axes."),
    _op("rfft2", _HALF_N, cost.rfft2, _COMPLEX_2, "Real Fourier transform over two axes."),
    _op("irfft2", _HALF_N, cost.irfft2, _TO_REAL_2, "Inverse of rfft2."),
    _op("fftn", _FULL_N, cost.fftn, _COMPLEX_N, "Fourier transform over several axes."),
    _op("ifftn", _FULL_N, cost.fftn, _COMPLEX_N, "Inverse Fourier transform over several axes."),
    _op("rfftn", _HALF_N, cost.rfftn, _COMPLEX_N, "Real Fourier transform over several axes."),
    _op("irfftn", _HALF_N, cost.irfftn, _TO_REAL_N, "Inverse of rfftn."),
)

_HELPERS = (
    free("fft.fftfreq", "Frequencies of the bins of fft.", sizes.frequencies),
    free("fft.rfftfreq", "Frequencies of the bins of rfft.", sizes.frequencies),
    free("fft.fftshift", "The zero frequency moved to the middle.", shared.elements_copied),
    free("fft.ifftshift", "Inverse of fftshift.", shared.elements_copied),
)

OPS: tuple[Op, ...] = (*_ALONG_ONE_AXIS, *_OVER_AXES, *_HELPERS)
