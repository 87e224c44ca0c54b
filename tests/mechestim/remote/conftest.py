"""One server for the clients of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mechestim.remote.serving import Serving


@pytest.fixture(scope="session")
def server() -> Iterator[Serving]:
    """A server on threads, with ordinary quotas."""
    from tests.mechestim.remote.serving import serving

    with serving() as found:
        yield found
