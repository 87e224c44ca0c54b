"""The memory of a server does not grow with the number of arrays that have come and gone."""

from __future__ import annotations

from tests.support.folders import socket_folder
from tests.support.mechestim_server import dialled, serving

_MEGABYTE = 1 << 20


def test_the_memory_of_a_server_does_not_grow_with_the_number_of_temporaries() -> None:
    with (
        socket_folder() as folder,
        serving(folder) as server,
        dialled(server.url) as client,
    ):
        x = client.request("ones", (10_000,))
        y = x

        def loop(count: int) -> None:
            nonlocal y
            for _ in range(count):
                y = client.request("add", (y, x))  # 80 kB; the old y becomes a temporary

        loop(500)
        before = server.resident()
        loop(5000)  # 400 MB in all
        assert server.resident() - before < 16 * _MEGABYTE
        assert tuple(client.request("session.size")) == (2, 160_000)
