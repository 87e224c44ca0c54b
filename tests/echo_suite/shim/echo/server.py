"""`echo.server`."""

from typing import Any

import shm_echo
from shm_echo import Sample

__all__ = ["Sample", "Server"]


class Server(shm_echo.Server):
    """Has detailed metrics, as a build of echo with its diagnostics: a test skips without them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, detailed_metrics=True, **options)
