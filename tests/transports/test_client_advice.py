"""Messages of a client that was given the address of the other transport."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from shm_echo import Server, ShmClient, TcpClient, TcpTransport
from shm_echo.errors import AddressError, ServerNotFoundError
from tests.support.numbered import EXAMPLE, numbered, numbers_of


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "gpu1.example", "gpu1"])
@pytest.mark.parametrize("role", ["producer", "reader"])
def test_a_host_given_to_a_shm_client_leads_to_the_tcp_client(address: str, role: Any) -> None:
    with pytest.raises(ServerNotFoundError, match="TcpClient") as caught:
        ShmClient(address, EXAMPLE, role=role)
    assert caught.value.address.endswith(f"/{address}.sock")


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "gpu1:5000", "[::1]:5000", "tcp://gpu1:1"])
def test_a_host_and_a_port_given_to_a_shm_client_lead_to_the_tcp_client(address: str) -> None:
    with pytest.raises(AddressError, match="TcpClient"):
        ShmClient(address, EXAMPLE)


def test_a_port_given_to_a_shm_client_leads_to_the_tcp_client() -> None:
    with pytest.raises(TypeError, match=r"TcpClient\('gpu1', 5000, example\)"):
        ShmClient("gpu1", 5000, EXAMPLE)  # type: ignore[arg-type]


def test_a_socket_path_has_no_advice_on_hosts() -> None:
    with pytest.raises(ServerNotFoundError) as caught:
        ShmClient(f"ipc:///tmp/none-{uuid.uuid4().hex}.sock", EXAMPLE)
    assert "TcpClient" not in str(caught.value)


@pytest.mark.parametrize("host", ["ipc:///run/learner.sock", "/run/learner.sock"])
def test_a_socket_given_to_a_tcp_client_leads_to_the_shm_client(host: str) -> None:
    with pytest.raises(ValueError, match="ShmClient"):
        TcpClient(host, 5000, EXAMPLE)


def test_a_name_given_to_a_tcp_client_leads_to_the_shm_client() -> None:
    with pytest.raises(TypeError, match="ShmClient"):
        TcpClient("learner", EXAMPLE)  # type: ignore[arg-type]
    with pytest.raises(ServerNotFoundError, match="ShmClient"):
        TcpClient(f"learner-{uuid.uuid4().hex}", 5000, EXAMPLE)


@pytest.mark.parametrize(
    ("host", "better"),
    [
        ("gpu1:5000", r"TcpClient\('gpu1', 5000, example\)"),
        ("tcp://gpu1:5000", r"TcpClient\('gpu1', 5000, example\)"),
        ("[::1]:5000", r"TcpClient\('::1', 5000, example\)"),
        ("tcp://gpu1", "write 'gpu1'"),
    ],
)
def test_a_port_in_a_host_is_named(host: str, better: str) -> None:
    with pytest.raises(ValueError, match=better):
        TcpClient(host, 5000, EXAMPLE)


def test_an_ipv6_address_may_have_brackets() -> None:
    with Server(EXAMPLE, 1, TcpTransport(port=0, host="[::1]")) as server:
        with TcpClient("[::1]", server.port, EXAMPLE) as client:
            client.send(numbered(3))
        sample = server.sample(timeout=10)
        assert sample is not None
        assert numbers_of(sample.batch) == [3]
