"""Two runs on one host: a client joins the server of its own run only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import RefusedError, RequestError
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start


def run_once(pipe: Any, name: str, run_id: str, number: int) -> None:
    """Send a sample from the actor of a run, and report the outcome."""
    try:
        with ShmClient(name, EXAMPLE, run_id=run_id) as client:
            client.send(numbered(number))
        pipe.send("sent")
    except RefusedError as error:
        pipe.send((error.code, error.fields, str(error)))


def test_an_actor_of_a_second_run_does_not_join_the_first(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name, run_id="monday")) as server:
        with start(run_once, name, "tuesday", 2, method="forkserver") as other:
            code, fields, message = other.hear()
        with start(run_once, name, "monday", 1, method="forkserver") as own:
            own.expect("sent")
        assert (code, fields) == ("run_id", {"run_id": "monday"})
        assert message == (
            f"{name} refused this client: it serves run 'monday', and this client belongs to run "
            "'tuesday'"
        )
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [1]
        assert server.info().store_size == 0


RUNS: list[tuple[str | None, str | None]] = [("a", None), (None, "a"), ("a", "b"), ("a", "A")]


@pytest.mark.parametrize(("server_run", "client_run"), RUNS)
def test_any_difference_is_refused_before_the_examples_are_compared(
    name: str, server_run: str | None, client_run: str | None
) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name, run_id=server_run)) as server:
        with pytest.raises(RefusedError) as caught:
            ShmClient(name, {"of another run": np.zeros(2)}, run_id=client_run)
        assert caught.value.code == "run_id"
        assert server.producers() == []


@pytest.mark.parametrize("args", [{"run_id": "b"}, {}], ids=["another", "none"])
def test_the_server_refuses_a_client_that_does_not_compare(name: str, args: dict[str, Any]) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name, run_id="a")) as server,
        connect(name, "ring") as connection,
    ):
        with pytest.raises(RequestError, match="it serves run 'a', and this client") as caught:
            connection.request("attach", args)
        assert (caught.value.code, caught.value.fields) == ("run_id", {"run_id": "a"})
        assert server.producers() == []
        connection.request("attach", {"run_id": "a", "added later": [1]})
        assert len(server.producers()) == 1


def test_an_ill_typed_field_is_refused_by_name(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name)) as server,
        connect(name, "ring") as connection,
    ):
        with pytest.raises(RequestError, match="^attach: run_id must be text") as caught:
            connection.request("attach", {"run_id": 7})
        assert caught.value.code == "bad_request"
        assert server.producers() == []


def send_in_the_child(pipe: Any, client: ShmClient) -> None:
    client.send(numbered(5))
    client.close()
    pipe.send("sent")


def test_the_run_is_named_again_after_a_fork(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name, run_id="a")) as server,
        server.connector().connect(EXAMPLE) as client,
    ):
        with start(send_in_the_child, client, method="fork") as child:
            child.expect("sent")
        assert server.sample(timeout=0) is not None


@pytest.mark.parametrize("make", [ShmTransport, lambda name, **run: ShmClient(name, **run)])
@pytest.mark.parametrize("run_id", [7, "", "x" * 65, "two\nlines"])
def test_a_wrong_run_is_refused_before_anything_is_connected(
    name: str, make: Any, run_id: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match="^run_id must "):
        make(name, run_id=run_id)
