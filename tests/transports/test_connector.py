"""Connectors: a small value that leads to one server, from any process."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shm_echo
from shm_echo import Connector, Server, ShmClient, ShmTransport, SpecMismatchError
from shm_echo.errors import AddressError
from tests.support.manual_transport import ManualTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import METHODS, start
from tests.support.scripts import run_script

Pair = namedtuple("Pair", ["a", "b"])


def send_by(pipe: Any, connector: Connector, number: int) -> None:
    with connector.connect(EXAMPLE) as client:
        client.send(numbered(number))
        client.wait()
        pipe.send("stored")


@pytest.mark.parametrize("method", METHODS)
def test_a_connector_made_before_the_start_leads_another_process_to_the_server(method: str) -> None:
    server = Server(EXAMPLE, 1, ShmTransport())
    connector = server.connector()
    with server:
        with start(send_by, connector, 7, method=method) as child:
            child.expect("stored")
            assert child.wait() == 0
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [7]


def test_two_transports_without_a_name_are_two_addresses() -> None:
    servers = [Server(EXAMPLE, 1, ShmTransport()) for _ in range(3)]
    assert len({server.address for server in servers}) == 3
    with servers[0], servers[1]:
        for number, server in enumerate(servers[:2]):
            with ShmClient(server.address, EXAMPLE) as client:
                client.send(numbered(number))
        for number, server in enumerate(servers[:2]):
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == [number]


def choose_a_name(pipe: Any) -> None:
    pipe.send(ShmTransport().address)


def test_forked_processes_choose_different_names() -> None:
    names = {ShmTransport().address}
    for _ in range(2):
        with start(choose_a_name, method="fork") as child:
            names.add(child.hear())
    assert len(names) == 3


@pytest.mark.parametrize("run_id", [None, "tuesday"])
def test_a_connector_is_a_small_frozen_value(folder: Path, run_id: str | None) -> None:
    transport = ShmTransport(f"ipc://{folder}/s", run_id=run_id)
    with Server(EXAMPLE, 1, transport) as server:
        connector = server.connector()
        assert connector == server.connector()
        assert (connector.address, connector.run_id) == (f"ipc://{folder}/s", run_id)
        assert connector.tcp == ()
        for same in (pickle.loads(pickle.dumps(connector)), copy.deepcopy(connector)):
            assert same == connector
            assert hash(same) == hash(connector)
            with same.connect(EXAMPLE) as client:
                client.send(numbered(1))
            assert server.sample(timeout=0) is not None
        assert len(pickle.dumps(connector)) < 500
        assert run_id is None or run_id in repr(connector)
        with pytest.raises(dataclasses.FrozenInstanceError):
            connector.address = "other"  # type: ignore[misc]


def test_the_address_outlives_the_server(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        assert server.address == name
        connector = server.connector()
    assert server.address == name
    assert server.connector() == connector


def test_a_server_without_a_transport_has_no_address() -> None:
    server = Server(EXAMPLE, 1)
    for call in (lambda: server.address, server.connector):
        with pytest.raises(RuntimeError, match="this server has no transport, so it has no "):
            call()


def test_a_transport_of_another_kind_may_have_no_address() -> None:
    server = Server(EXAMPLE, 1, ManualTransport())
    for call, member in ((lambda: server.address, "address"), (server.connector, "connector")):
        with pytest.raises(RuntimeError, match=f"ManualTransport.* has no {member}"):
            call()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("two words",), AddressError, "not a name"),
        (("a", 7), TypeError, "run_id must be text"),
        (("a", ""), ValueError, "run_id must have 1 to 64 characters"),
    ],
)
def test_a_wrong_connector_cannot_be_made(
    arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Connector(*arguments)


def test_options_of_the_client_are_passed_on(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name), publishes={"w": np.zeros(2)}) as server:
        with pytest.raises(SpecMismatchError, match=r"\['w'\]"):
            server.connector().connect(EXAMPLE, publishes={"w": np.zeros(3)})
        with pytest.raises(TypeError, match="no_such_option"):
            server.connector().connect(EXAMPLE, no_such_option=1)
        for option in ("address", "run_id"):
            with pytest.raises(TypeError, match=f"{option}.*the connector has"):
                server.connector().connect(EXAMPLE, **{option: "x"})


def test_importing_a_connector_loads_neither_numpy_nor_the_ring() -> None:
    printed = run_script(
        """
        import sys
        from shm_echo import Connector
        Connector("somewhere")
        print([name for name in ("numpy", "optree", "shm_echo.ring") if name in sys.modules])
        """
    )
    assert printed == "[]\n"


# ---------------------------------------------------------------- without an example


PLAIN: dict[str, Any] = {
    "obs": {"pos": np.zeros((2, 3), np.float32), 5: [np.int64(0), None]},
    "flags": (np.zeros(0, bool), np.zeros(2, ">i2"), np.datetime64(0, "us")),
}


def test_the_example_comes_from_the_server_if_it_consists_of_plain_containers(name: str) -> None:
    with Server(PLAIN, 1, ShmTransport(name)) as server:
        for make in (server.connector().connect, lambda: ShmClient(name)):
            with make() as client:
                client.send(PLAIN)
                with client.reserve(timeout=0) as slot:
                    slot["obs"]["pos"][:] = 1
                with pytest.raises(SpecMismatchError, match=r"\['flags'\]"):
                    client.send({"obs": PLAIN["obs"]})
            for _ in range(2):
                assert server.sample(timeout=0) is not None


@pytest.mark.parametrize(
    "example",
    [Pair(np.zeros(2), np.zeros(2)), {"x": np.zeros(2, [("a", "<i4")])}],
    ids=["named tuple", "record"],
)
def test_an_example_that_needs_a_type_of_the_program_has_to_be_given(
    name: str, example: Any
) -> None:
    with Server(example, 1, ShmTransport(name)) as server:
        with pytest.raises(ValueError, match=f"give the client an example to send to {name}"):
            server.connector().connect()
        assert server.producers() == []
        with server.connector().connect(example) as client:
            client.send(example)


def send_in_the_child(pipe: Any, client: ShmClient) -> None:
    client.send(numbered(2))
    client.close()
    pipe.send("sent")


def test_a_client_without_an_example_attaches_again_after_a_fork(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name) as client:
        with start(send_in_the_child, client, method="fork") as child:
            child.expect("sent")
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [2]


def test_the_class_is_public() -> None:
    assert shm_echo.Connector is Connector


def work_with_what_was_pickled(pipe: Any, client: ShmClient) -> None:
    with client:
        client.send(numbered(4))
        client.wait()
        pipe.send("stored")
        pipe.recv()


def test_a_pickled_client_of_a_connector_keeps_its_options(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name, run_id="a")) as server:
        with server.connector().connect(producer_id=7) as client:
            with start(work_with_what_was_pickled, client, method="spawn") as child:
                child.expect("stored")
                assert [info.producer_id for info in server.producers()] == ["7", "7"]
                child.say("leave")
                assert child.wait() == 0


@pytest.mark.parametrize("number", [7, np.int64(7), np.uint8(7)])
def test_a_producer_may_be_named_by_any_integer(number: Any, name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE, producer_id=number):
            assert [info.producer_id for info in server.producers()] == ["7"]


@pytest.mark.parametrize("until", ["taken", "stored"])
def test_an_unpickled_client_that_waits_first_attaches_and_has_nothing_to_wait_for(
    name: str, until: Any
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(1))
        with pickle.loads(pickle.dumps(client)) as again:
            again.wait(until=until)
            assert len(server.producers()) == 2
