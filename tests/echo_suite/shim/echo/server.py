"""`echo.server`."""

from shm_echo import Sample, Server

__all__ = ["Sample", "Server"]
