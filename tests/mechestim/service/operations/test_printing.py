"""A session has print options of its own, also while other sessions print."""

from __future__ import annotations

from contextvars import Context
from typing import Any

import numpy as np
import pytest

from shm_echo.mechestim import wire
from shm_echo.mechestim.local.array import Array
from shm_echo.mechestim.service.operations import printing
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of
from tests.support.threads import Worker

TEXT = "ndarray.__str__"


def third(client: RawClient) -> Any:
    """Return an array of a third, of a session."""
    return handle_of(client.result("divide", handle_of(client.result("ones", 1)), 3))


def test_print_options_of_one_session_do_not_affect_another(server: ServerProcess) -> None:
    with RawClient(server.path) as one, RawClient(server.path) as other:
        mine, its = third(one), third(other)
        before = other.result("session.print_options")
        one.result("session.print_options", k={"precision": 2})
        assert other.result("session.print_options") == before
        assert other.result(TEXT, its) == "[0.33333333]"
        other.result("session.print_options", k={"precision": 4, "sign": "+"})
        assert one.result(TEXT, mine) == "[0.33]"
        assert other.result(TEXT, its) == "[+0.3333]"
        assert one.result("session.print_options")["precision"] == 2


def test_a_session_begins_with_what_numpy_begins_with(server: ServerProcess) -> None:
    with RawClient(server.path) as one:
        one.result("session.print_options", k={"precision": 2, "legacy": "1.13"})
    with RawClient(server.path) as client:
        begins = client.result("session.print_options")
    assert (begins["precision"], begins["threshold"], begins["legacy"]) == (8, 1000, False)


@pytest.mark.parametrize("size", [3, 10_000], ids=["short", "long"])
def test_sessions_that_print_at_once_have_their_own_options(
    server: ServerProcess, size: int
) -> None:
    def texts(digits: int) -> set[str]:
        with RawClient(server.path) as client:
            client.result("session.print_options", k={"precision": digits, "threshold": size})
            many = handle_of(client.result("full", size, 1 / 3))
            return {client.result(TEXT, many) for _ in range(60_000 // (size + 600))}

    workers = {digits: Worker(texts, digits) for digits in (2, 3, 4)}
    for digits, worker in workers.items():
        (text,) = worker.result()
        assert text.split()[1] == f"0.{'3' * digits}"


def test_the_program_that_serves_keeps_its_own_options() -> None:
    before = np.get_printoptions()
    session = Context()
    session.run(printing.change, precision=2, nanstr="none")
    values = np.array([1 / 3, np.nan]).view(Array)
    assert session.run(printing.PRINTING_METHODS[TEXT], values) == "[0.33 none]"
    assert np.get_printoptions() == before
    assert str(values) == "[0.33333333        nan]"


@pytest.mark.parametrize(
    "options",
    [
        {"formatter": {"all": wire.callback_ext(1)}},
        {"override_repr": wire.callback_ext(1)},
        {"formatter": {}, "precision": 3},
    ],
    ids=lambda options: next(iter(options)),
)
def test_functions_are_refused(server: ServerProcess, options: dict[str, Any]) -> None:
    with RawClient(server.path) as client:
        array = third(client)
        name, message = client.error("session.print_options", k=options)
        assert (name, "cannot keep functions" in message) == ("ValueError", True)
        assert client.result(TEXT, array) == "[0.33333333]"
