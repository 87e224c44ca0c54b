"""The short name of `shm_echo.mechestim`: importing it gives that very module.

`_finder.py` maps the names. The other files are for type checkers, which do not run `_finder.py`;
they are never executed.
"""

from typing import TYPE_CHECKING

from mechestim._finder import install

if TYPE_CHECKING:
    from shm_echo.mechestim import *
    from shm_echo.mechestim import __version__ as __version__

install()
