"""Every handle answers copy.copy, copy.deepcopy and pickle with a sentence that says what to do.

Clients, which can be pickled, have tests of their own: tests/transports/test_pickled_clients.py.
"""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, TrajectoryAccumulator
from shm_echo.control import ControlServer
from shm_echo.control.client.client_connection import connect
from shm_echo.mechestim import BudgetContext
from shm_echo.mechestim.service import MechEstimService
from tests.support.manual_transport import ManualTransport
from tests.support.mechestim_server import dialled, serving
from tests.support.numbered import EXAMPLE, numbered

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "in a list": lambda handle: copy.deepcopy([handle]),
    **{
        f"pickle {protocol}": lambda handle, protocol=protocol: pickle.dumps(handle, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@contextmanager
def new_server(name: str) -> Iterator[Any]:
    yield Server(EXAMPLE, 1, ShmTransport(name))


@contextmanager
def running_server(name: str) -> Iterator[Any]:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        yield server
        with ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))
        assert server.sample(timeout=0) is not None


@contextmanager
def closed_server(name: str) -> Iterator[Any]:
    server = Server(EXAMPLE, 1)
    server.close()
    yield server


@contextmanager
def started_transport(name: str) -> Iterator[Any]:
    transport = ShmTransport(name)
    with Server(EXAMPLE, 1, transport):
        yield transport
        with ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))


@contextmanager
def ingress(name: str) -> Iterator[Any]:
    transport = ManualTransport()
    with Server(EXAMPLE, 1, transport):
        yield transport.ingress


@contextmanager
def inlet(name: str) -> Iterator[Any]:
    transport = ManualTransport()
    with Server(EXAMPLE, 1, transport) as server, transport.open() as opened:
        yield opened
        opened.send(numbered(1))
        assert server.sample(timeout=0) is not None


@contextmanager
def slot(name: str) -> Iterator[Any]:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        with client.reserve() as reserved:
            yield reserved
            assert reserved.is_open
        assert server.sample(timeout=0) is not None


@contextmanager
def attached_accumulator(name: str) -> Iterator[Any]:
    example = {"steps": {"x": np.zeros((2, 3), np.float32)}}
    with Server(example, 1, ShmTransport(name)), ShmClient(name, example) as client:
        with client.reserve() as reserved:
            accumulator = TrajectoryAccumulator(example)
            accumulator.attach(reserved)
            yield accumulator
            accumulator.build()


@contextmanager
def control_server(name: str) -> Iterator[Any]:
    with ControlServer(name, {}) as server:
        yield server


@contextmanager
def connection(name: str) -> Iterator[Any]:
    with Server(EXAMPLE, 1, ShmTransport(name)), connect(name, "ring") as opened:
        yield opened
        assert opened.request("attach", {})[0]["owner"] == 1


@contextmanager
def mechestim_service(name: str) -> Iterator[Any]:
    service = MechEstimService()
    yield service
    service.close()


@contextmanager
def budget(name: str) -> Iterator[Any]:
    with BudgetContext(100, quiet=True) as context:
        yield context


HANDLES: dict[str, tuple[Any, str]] = {
    "new server": (new_server, "a Server can be neither copied nor pickled: .*server.connector"),
    "running server": (
        running_server,
        "a Server can be neither copied nor pickled: .*server.connector",
    ),
    "closed server": (closed_server, "a Server can be neither copied nor pickled"),
    "transport": (started_transport, "a started ShmTransport can be neither .*address"),
    "ingress": (ingress, "an Ingress can be neither copied nor pickled"),
    "inlet": (inlet, "an Inlet can be neither copied nor pickled: .*open another"),
    "slot": (slot, "a Slot can be neither copied nor pickled: .*copy the arrays"),
    "accumulator": (attached_accumulator, "TrajectoryAccumulator with an attached slot can be"),
    "control server": (control_server, "a ControlServer can be neither copied .*connect to"),
    "connection": (connection, "a ClientConnection can be neither copied .*connect again"),
    "service": (mechestim_service, "a MechEstimService can be neither copied .*make another"),
    "budget": (budget, "a BudgetContext can be neither copied .*make another"),
}


@pytest.mark.parametrize("kind", HANDLES)
def test_a_handle_is_neither_copied_nor_pickled_and_stays_usable(name: str, kind: str) -> None:
    make, words = HANDLES[kind]
    with make(name) as handle:
        for copy_of in COPIES.values():
            with pytest.raises(TypeError, match=words):
                copy_of(handle)
            gc.collect()


def test_a_transport_that_was_not_started_is_a_description(name: str) -> None:
    transport = ShmTransport(name, max_producers=3)
    for other in (
        copy.copy(transport),
        copy.deepcopy(transport),
        pickle.loads(pickle.dumps(transport)),
    ):
        assert (other.address, other.max_producers) == (name, 3)
        with Server(EXAMPLE, 1, other), ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))


def test_a_transport_is_a_description_again_after_its_end(name: str) -> None:
    transport = ShmTransport(name)
    with Server(EXAMPLE, 1, transport):
        pass
    assert pickle.loads(pickle.dumps(transport)).address == name


def test_the_connector_that_the_advice_names_goes_through_a_pickle(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        connector = pickle.loads(pickle.dumps(server.connector()))
        with connector.connect(EXAMPLE) as client:
            client.send(numbered(1))
        assert server.sample(timeout=0) is not None


def test_an_iterator_over_a_server_is_not_pickled(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with pytest.raises(TypeError, match="a Server can be neither copied nor pickled"):
            pickle.dumps(server.dataset_iter())


def test_an_accumulator_without_a_slot_is_copied_deeply() -> None:
    accumulator = TrajectoryAccumulator({"steps": {"x": np.zeros((2, 3), np.float32)}})
    accumulator.add("steps", {"x": np.ones(3, np.float32)})
    copies = copy.copy(accumulator), copy.deepcopy(accumulator)
    for other in (*copies, pickle.loads(pickle.dumps(accumulator))):
        other.add("steps", {"x": np.ones(3, np.float32)})
        assert (accumulator.counts, other.counts) == ({"steps": 1}, {"steps": 2})


def test_the_session_of_a_mechestim_client_is_neither_copied_nor_pickled(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path))
        channel = stack.enter_context(dialled(server.url))
        for copy_of in COPIES.values():
            with pytest.raises(TypeError, match="a Channel can be neither copied nor pickled"):
                copy_of(channel)
        gc.collect()
        assert channel.why_closed is None
