"""Discrete Fourier transforms, as in numpy.fft, counted.

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from shm_echo.mechestim import ndarray

_bool = builtins.bool


def fft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Discrete Fourier transform. Costs 5*n*ceil(log2(n)) per transform of length n."""
def fft2(a: Any, s: Any=None, axes: Any=(-2, -1), norm: Any=None, out: Any=None) -> ndarray:
    """Fourier transform over two axes. Costs 5*N*ceil(log2(N)) per transform, N = product of its lengths."""
def fftfreq(n: Any, d: Any=1.0, device: Any=None) -> ndarray:
    """Frequencies of the bins of fft. Free."""
def fftn(a: Any, s: Any=None, axes: Any=None, norm: Any=None, out: Any=None) -> ndarray:
    """Fourier transform over several axes. Costs 5*N*ceil(log2(N)) per transform, N = product of its lengths."""
def fftshift(x: Any, axes: Any=None) -> ndarray:
    """The zero frequency moved to the middle. Free."""
def hfft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Transform of half a Hermitian signal to a real one. Costs 5*n*ceil(log2(n)) per transform of length n."""
def ifft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Inverse discrete Fourier transform. Costs 5*n*ceil(log2(n)) per transform of length n."""
def ifft2(a: Any, s: Any=None, axes: Any=(-2, -1), norm: Any=None, out: Any=None) -> ndarray:
    """Inverse Fourier transform over two axes. Costs 5*N*ceil(log2(N)) per transform, N = product of its lengths."""
def ifftn(a: Any, s: Any=None, axes: Any=None, norm: Any=None, out: Any=None) -> ndarray:
    """Inverse Fourier transform over several axes. Costs 5*N*ceil(log2(N)) per transform, N = product of its lengths."""
def ifftshift(x: Any, axes: Any=None) -> ndarray:
    """Inverse of fftshift. Free."""
def ihfft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Inverse of hfft. Costs 5*n*ceil(log2(n)) per transform of length n."""
def irfft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Inverse of rfft; n is the length of the result. Costs 5*(n//2)*ceil(log2(n)) per transform of length n."""
def irfft2(a: Any, s: Any=None, axes: Any=(-2, -1), norm: Any=None, out: Any=None) -> ndarray:
    """Inverse of rfft2. Costs 5*(N//2)*ceil(log2(N)) per transform, N = product of its lengths."""
def irfftn(a: Any, s: Any=None, axes: Any=None, norm: Any=None, out: Any=None) -> ndarray:
    """Inverse of rfftn. Costs 5*(N//2)*ceil(log2(N)) per transform, N = product of its lengths."""
def rfft(a: Any, n: Any=None, axis: Any=-1, norm: Any=None, out: Any=None) -> ndarray:
    """Fourier transform of real numbers. Costs 5*(n//2)*ceil(log2(n)) per transform of length n."""
def rfft2(a: Any, s: Any=None, axes: Any=(-2, -1), norm: Any=None, out: Any=None) -> ndarray:
    """Real Fourier transform over two axes. Costs 5*(N//2)*ceil(log2(N)) per transform, N = product of its lengths."""
def rfftfreq(n: Any, d: Any=1.0, device: Any=None) -> ndarray:
    """Frequencies of the bins of rfft. Free."""
def rfftn(a: Any, s: Any=None, axes: Any=None, norm: Any=None, out: Any=None) -> ndarray:
    """Real Fourier transform over several axes. Costs 5*(N//2)*ceil(log2(N)) per transform, N = product of its lengths."""
