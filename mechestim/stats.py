"""Read by type checkers only: see `__init__.py`."""

from shm_echo.mechestim.stats import *
