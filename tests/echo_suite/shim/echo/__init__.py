"""The names of the package `echo`, bound to shm-echo: what a program finds that changes no import.

`tests.echo_suite.run` puts this folder in front of the installed packages, so that echo's own tests
and the interpreters that they start import it.
"""

from shm_echo import (
    ConnectionClosedError,
    HistSnapshot,
    Sample,
    SampleInfo,
    TcpClient,
    TcpTransport,
    TrajectoryAccumulator,
    __version__,
)

from .server import Server

__all__ = [
    "ConnectionClosedError",
    "HistSnapshot",
    "Sample",
    "SampleInfo",
    "Server",
    "TcpClient",
    "TcpTransport",
    "TrajectoryAccumulator",
    "__version__",
]
