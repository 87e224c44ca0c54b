"""Batches of pytrees for a learner: from its host through shared memory, from others by TCP.

The public names load on first use, so that `import shm_echo` costs almost nothing: optree, NumPy
and the C core are imported when a name that needs them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from shm_echo.consumer import Sample
    from shm_echo.errors import (
        AddressInUseError,
        BatchesHeldError,
        ConnectionClosedError,
        ForkedHandleError,
        ProducerDiedError,
        RingCorruptedError,
        RingFullError,
        SendTimeoutError,
        ServerNotFoundError,
        ShmEchoError,
        ShmTooSmallError,
        SpecMismatchError,
    )
    from shm_echo.loader.data_loader import DataLoader
    from shm_echo.metrics import HeldBatch, HistSnapshot, ProducerInfo, ReaderInfo, SampleInfo
    from shm_echo.server import Server
    from shm_echo.spec.ragged import Ragged
    from shm_echo.spec.ragged_batch import PackedRows, RaggedBatch
    from shm_echo.spec.ragged_row import RaggedRow
    from shm_echo.trajectory import TrajectoryAccumulator
    from shm_echo.transports.base import Ingress, Inlet, Transport
    from shm_echo.transports.connector import Connector
    from shm_echo.transports.shm import ShmClient, ShmTransport
    from shm_echo.transports.slot import Slot
    from shm_echo.transports.tcp.client import TcpClient
    from shm_echo.transports.tcp.transport import TcpTransport

_HOMES = {
    "AddressInUseError": "shm_echo.errors",
    "BatchesHeldError": "shm_echo.errors",
    "ConnectionClosedError": "shm_echo.errors",
    "Connector": "shm_echo.transports.connector",
    "DataLoader": "shm_echo.loader.data_loader",
    "ForkedHandleError": "shm_echo.errors",
    "HeldBatch": "shm_echo.metrics",
    "HistSnapshot": "shm_echo.metrics",
    "Ingress": "shm_echo.transports.base",
    "Inlet": "shm_echo.transports.base",
    "ProducerDiedError": "shm_echo.errors",
    "ProducerInfo": "shm_echo.metrics",
    "PackedRows": "shm_echo.spec.ragged_batch",
    "Ragged": "shm_echo.spec.ragged",
    "RaggedBatch": "shm_echo.spec.ragged_batch",
    "RaggedRow": "shm_echo.spec.ragged_row",
    "ReaderInfo": "shm_echo.metrics",
    "RingCorruptedError": "shm_echo.errors",
    "RingFullError": "shm_echo.errors",
    "Sample": "shm_echo.consumer",
    "SampleInfo": "shm_echo.metrics",
    "SendTimeoutError": "shm_echo.errors",
    "Server": "shm_echo.server",
    "ServerNotFoundError": "shm_echo.errors",
    "ShmClient": "shm_echo.transports.shm",
    "ShmEchoError": "shm_echo.errors",
    "ShmTooSmallError": "shm_echo.errors",
    "ShmTransport": "shm_echo.transports.shm",
    "Slot": "shm_echo.transports.slot",
    "SpecMismatchError": "shm_echo.errors",
    "TcpClient": "shm_echo.transports.tcp.client",
    "TcpTransport": "shm_echo.transports.tcp.transport",
    "TrajectoryAccumulator": "shm_echo.trajectory",
    "Transport": "shm_echo.transports.base",
}

__all__ = [
    "AddressInUseError",
    "BatchesHeldError",
    "ConnectionClosedError",
    "Connector",
    "DataLoader",
    "ForkedHandleError",
    "HeldBatch",
    "HistSnapshot",
    "Ingress",
    "Inlet",
    "PackedRows",
    "ProducerDiedError",
    "ProducerInfo",
    "Ragged",
    "RaggedBatch",
    "RaggedRow",
    "ReaderInfo",
    "RingCorruptedError",
    "RingFullError",
    "Sample",
    "SampleInfo",
    "SendTimeoutError",
    "Server",
    "ServerNotFoundError",
    "ShmClient",
    "ShmEchoError",
    "ShmTooSmallError",
    "ShmTransport",
    "Slot",
    "SpecMismatchError",
    "TcpClient",
    "TcpTransport",
    "TrajectoryAccumulator",
    "Transport",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shm_echo' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        # A Python that lacks NumPy or optree usually lacks the build too, and building installs
        # all of them. A missing module of this package is another matter: mechestim's client wheel
        # has no ring.
        if error.name is not None and not error.name.startswith(f"{__name__}."):
            # By name, as in _HOMES: that wheel has this module, and not the one named here.
            importlib.import_module("shm_echo.ring.build_check").require_build()
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
