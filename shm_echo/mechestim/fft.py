"""Discrete Fourier transforms, as in numpy.fft, counted."""

from shm_echo.mechestim import backend_choice as _choice

__getattr__, __dir__ = _choice.module_protocol("fft", globals())
