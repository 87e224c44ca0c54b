"""Distributions: norm, uniform, expon, ... each with pdf, cdf and ppf, counted."""

from shm_echo.mechestim import backend_choice as _choice

__getattr__, __dir__ = _choice.module_protocol("stats", globals())
