"""`wait(until=)`: until the ring has the samples, or until the learner has taken them."""

from __future__ import annotations

from typing import Any

import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.waiting import wait_until


def test_one_thread_sends_waits_and_samples(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        for number in range(5):
            client.send(numbered(number))
            client.wait(until="stored")
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == [number]


def test_a_client_of_a_connector_waits_until_its_samples_are_stored(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with server.connector().connect(EXAMPLE) as client:
            client.send(numbered(1))
            client.wait()
            with pytest.raises(TimeoutError, match="not every sample was handed to the learner"):
                client.wait(0, until="taken")
        with server.connector().connect(EXAMPLE, wait_until="taken") as client:
            client.send(numbered(2))
            with pytest.raises(ConnectionClosedError):
                client.close()
                client.wait()


def test_a_client_waits_until_its_samples_are_taken_unless_it_is_told(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))
            client.wait(until="stored")
            with pytest.raises(TimeoutError):
                client.wait(0)
            server.flush()
            client.wait(0)
        with ShmClient(name, EXAMPLE, wait_until="stored") as client:
            client.send(numbered(1))
            client.wait()
            client.wait(0)


def test_waiting_for_the_store_fails_once_the_store_is_gone(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)):
        client = ShmClient(name, EXAMPLE)
        client.send(numbered(1))
    wait_until(lambda: client._connection.loss_reason(), "the end of the server is known")
    with pytest.raises(ConnectionClosedError, match=f"the connection to {name} is closed: "):
        client.wait(until="stored")
    client.close()
    with pytest.raises(ConnectionClosedError, match=f"the client of {name} is closed"):
        client.wait(until="stored")


def wait_in_the_child(pipe: Any, client: ShmClient) -> None:
    client.wait(until="stored")
    client.send(numbered(3))
    client.wait(until="stored")
    client.close()
    pipe.send("stored")


def test_an_inherited_client_attaches_again_to_wait(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        with start(wait_in_the_child, client, method="fork") as child:
            child.expect("stored")
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [3]


@pytest.mark.parametrize("value", ["sent", "", True, 1])
def test_an_unknown_end_of_the_wait_is_refused(name: str, value: Any) -> None:
    words = "must be 'taken' or 'stored', not "
    with pytest.raises(ValueError, match=f"^wait_until {words}"):
        ShmClient(name, EXAMPLE, wait_until=value)
    with Server(EXAMPLE, 1, ShmTransport(name)), ShmClient(name, EXAMPLE) as client:
        with pytest.raises(ValueError, match=f"^until {words}"):
            client.wait(until=value)
        with pytest.raises(TypeError, match="timeout"):
            client.wait("soon", until="stored")  # type: ignore[arg-type]
