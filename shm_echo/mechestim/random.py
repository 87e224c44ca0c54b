"""Random numbers, as in numpy.random, counted: functions, RandomState and default_rng."""

from shm_echo.mechestim import backend_choice as _choice

__getattr__, __dir__ = _choice.module_protocol("random", globals())
