"""One server for the clients of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mechestim.remote.apart import Apart, server_apart


@pytest.fixture(scope="session")
def server() -> Iterator[Apart]:
    """A server with ordinary quotas, in a process of its own: pytest's filters are not its."""
    with server_apart() as found:
        yield found
