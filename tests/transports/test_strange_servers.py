"""Servers that speak the control protocol and offer another service, or an invalid ring.

A client checks sizes, specs and memory before it uses them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError
from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.service import ServiceRefusalError, Session
from shm_echo.errors import ProtocolError, RefusedError, ServiceUnavailableError
from shm_echo.spec import TreeSpec

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")

EXAMPLE = {"x": np.zeros(4, np.float32)}


def honest() -> dict[str, Any]:
    """Return the welcome of a correct server of this example."""
    return {
        "spec": TreeSpec.from_example(EXAMPLE).to_wire(),
        "config": {"batch_size": 2, "num_buffers": 2, "max_producers": 4, "detailed": False},
        "publishes": None,
    }


def memory(size: int) -> int:
    descriptor = os.memfd_create("not a ring")
    os.ftruncate(descriptor, size)
    return descriptor


class Strange:
    """A service whose answers the test sets."""

    def __init__(self, name: str = "ring") -> None:
        self.name = name
        self.info = honest()
        self.reply: dict[str, Any] | ServiceRefusalError = {"owner": 1}
        self.descriptors = [memory(1 << 20)]
        self.passed_with_the_owner: Sequence[int] = ()

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []

    def open(self, session: Session) -> dict[str, Any]:
        session.watch = False
        return self.info

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        if isinstance(self.reply, ServiceRefusalError):
            raise self.reply
        if op == "memory":
            return {}, self.descriptors
        return self.reply, self.passed_with_the_owner

    def goodbye(self, session: Session) -> None: ...

    def hangup(self, session: Session) -> None: ...

    def died(self, session: Session, pid: int, signal: int | None) -> None: ...

    def tick(self, now: float) -> None: ...


@pytest.fixture
def strange(name: str) -> Iterator[Strange]:
    service = Strange()
    with ControlServer(name, {"ring": service}):
        yield service
    service.close()


def test_a_server_without_a_ring_reports_its_services(name: str) -> None:
    services = {offer: Strange(offer) for offer in ("status", "mechestim")}
    with ControlServer(name, services):
        with pytest.raises(ServiceUnavailableError, match="offers no service 'ring'") as refused:
            ShmClient(name, EXAMPLE)
    assert refused.value.service == "ring"
    assert sorted(refused.value.offered) == ["mechestim", "status"]
    assert "'mechestim', 'status'" in str(refused.value)
    for service in services.values():
        service.close()


@pytest.mark.parametrize(
    "change",
    [
        {"config": None},
        {"config": {}},
        {"config": {"batch_size": 2, "num_buffers": 2, "max_producers": 4}},
        {"config": {"batch_size": 0, "num_buffers": 2, "max_producers": 4, "detailed": False}},
        {"config": {"batch_size": -1, "num_buffers": 2, "max_producers": 4, "detailed": False}},
        {"config": {"batch_size": "2", "num_buffers": 2, "max_producers": 4, "detailed": False}},
        {"config": {"batch_size": 2, "num_buffers": 2, "max_producers": -4, "detailed": False}},
        {"config": {"batch_size": 2, "num_buffers": 2, "max_producers": "x", "detailed": False}},
        {
            "config": {
                "batch_size": 2**62,
                "num_buffers": 2**62,
                "max_producers": 4,
                "detailed": False,
            }
        },
        {"spec": None},
        {"spec": {}},
        {"spec": "a spec"},
        {"publishes": 7},
    ],
    ids=str,
)
def test_a_description_that_makes_no_ring_is_a_protocol_error(
    name: str, strange: Strange, change: dict[str, Any]
) -> None:
    strange.info = honest() | change
    with pytest.raises(ProtocolError):
        ShmClient(name, EXAMPLE)


def test_an_empty_description_is_a_protocol_error(name: str, strange: Strange) -> None:
    strange.info = {}
    with pytest.raises(ProtocolError, match="described no ring"):
        ShmClient(name, EXAMPLE)


def test_the_spec_is_compared_before_the_first_request(name: str, strange: Strange) -> None:
    strange.info = honest() | {"spec": TreeSpec.from_example({"y": np.float32(0)}).to_wire()}
    strange.reply = ServiceRefusalError("never", "asked for")
    with pytest.raises(SpecMismatchError, match=r"\['y'\]"):
        ShmClient(name, EXAMPLE)


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_wrong_number_of_descriptors_is_rejected_and_they_are_closed(
    name: str, strange: Strange, count: int
) -> None:
    strange.close()
    strange.descriptors = [memory(64) for _ in range(count)]
    with pytest.raises(ProtocolError, match="sent no ring"):
        ShmClient(name, EXAMPLE)


@pytest.mark.parametrize("size", [0, 64, 1 << 20])
def test_memory_without_a_ring_is_rejected(name: str, strange: Strange, size: int) -> None:
    strange.close()
    strange.descriptors = [memory(size)]
    with pytest.raises(ProtocolError, match=r"cannot hold|holds no ring"):
        ShmClient(name, EXAMPLE)


def test_a_descriptor_other_than_memory_is_rejected(name: str, strange: Strange) -> None:
    strange.close()
    strange.descriptors = [os.open("/dev/null", os.O_RDWR)]
    with pytest.raises(ProtocolError, match="sent no usable ring"):
        ShmClient(name, EXAMPLE)


@pytest.mark.parametrize(
    ("batch_size", "example", "words"),
    [
        (3, EXAMPLE, "made for another example or another size|cannot hold"),
        (2, {"x": np.zeros(4, np.int32)}, "made for another example"),
    ],
)
def test_a_ring_of_another_kind_is_rejected(
    name: str, strange: Strange, batch_size: int, example: Any, words: str
) -> None:
    with Server(example, batch_size, ShmTransport(f"{name}-real", max_producers=4)) as real:
        strange.close()
        strange.descriptors = [os.dup(real._parts.ring.segment.fileno())]
        strange.info["config"]["num_buffers"] = 3
        with pytest.raises(ProtocolError, match=words):
            ShmClient(name, EXAMPLE)


@pytest.fixture
def nearly_honest(name: str, strange: Strange) -> Iterator[Strange]:
    """A service that hands out a real ring."""
    with Server(EXAMPLE, 2, ShmTransport(f"{name}-real", max_producers=4), num_buffers=2) as real:
        strange.close()
        strange.descriptors = [os.dup(real._parts.ring.segment.fileno())]
        yield strange


@pytest.mark.parametrize(
    "reply",
    [{}, *({"owner": owner} for owner in (None, "1", True, -1, 0, 5, 2**16, 2**32 + 1))],
    ids=str,
)
def test_an_answer_without_a_valid_owner_id_is_a_protocol_error(
    name: str, nearly_honest: Strange, reply: dict[str, Any]
) -> None:
    nearly_honest.reply = reply
    with pytest.raises(ProtocolError, match="sent no owner id that its ring has"):
        ShmClient(name, EXAMPLE)


def test_an_owner_id_with_descriptors_is_rejected_and_they_are_closed(
    name: str, nearly_honest: Strange
) -> None:
    nearly_honest.passed_with_the_owner = nearly_honest.descriptors
    with pytest.raises(ProtocolError, match="sent no owner id"):
        ShmClient(name, EXAMPLE)


def test_the_message_of_a_refusal_is_passed_on(name: str, strange: Strange) -> None:
    strange.reply = ServiceRefusalError("closed_today", "come back tomorrow", {"hours": 24})
    with pytest.raises(RefusedError, match="refused this client: come back tomorrow") as refused:
        ShmClient(name, EXAMPLE)
    assert (refused.value.code, refused.value.fields) == ("closed_today", {"hours": 24})
