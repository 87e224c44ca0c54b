"""Processes that publish, read and wait for versions of a value that shows when it is torn.

Apart from the tests that use them, so that a child need not import pytest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE

__all__ = ["VALUE", "number_of", "publish_on", "read_on", "report_versions", "serve", "value"]

WORDS = 1500  # enough for a copy to be overtaken by the writer now and then

# Odd numbers: a change of any one word changes the weighted sum.
WEIGHTS = np.arange(1, 2 * WORDS, 2, dtype=np.uint64)
VALUE: dict[str, Any] = {
    "head": np.uint64(0),
    "body": np.zeros(WORDS, np.uint64),
    "odd": np.zeros(13, np.uint8),
    "sum": np.uint64(0),
}


def value(i: int) -> dict[str, Any]:
    """Return a value in which every leaf depends on `i`."""
    body = np.uint64(i) * WEIGHTS
    return {
        "head": np.uint64(i),
        "body": body,
        "odd": np.full(13, i % 251, np.uint8),
        "sum": (body * WEIGHTS).sum(dtype=np.uint64),
    }


def number_of(tree: dict[str, Any]) -> int:
    """Return the number of a value, and fail if the value is torn."""
    i = int(tree["head"])
    assert (tree["body"] * WEIGHTS).sum(dtype=np.uint64) == tree["sum"], f"torn at {i}"
    assert tree["body"][-1] == np.uint64(i) * WEIGHTS[-1], f"torn at {i}"
    assert (tree["odd"] == i % 251).all(), f"torn at {i}"
    return i


# ---------------------------------------------------------------- programs of children


def publish_on(pipe: Any, address: str) -> None:
    """Publish at full speed until the stop; report the number of versions."""
    with Server(EXAMPLE, 2, ShmTransport(address), publishes=VALUE) as server:
        pipe.send("publishing")
        i = 0
        while not (i % 64 == 0 and pipe.poll()):
            i += 1
            assert server.publish(value(i)) == i
        pipe.send(i)
        pipe.recv(), pipe.recv()


def read_on(pipe: Any, address: str) -> None:
    """Read until the stop; report the number of versions seen and the last one."""
    with ShmClient(address, EXAMPLE, publishes=VALUE) as client:
        pipe.send("reading")
        seen, last = 0, 0
        while not (seen and pipe.poll()):
            version = client.wait_for(last + 1, timeout=60)
            found = client.latest(timeout=60)
            assert found is not None
            assert found[0] >= version > last
            assert number_of(found[1]) == found[0]
            last, seen = found[0], seen + 1
        pipe.send((seen, last))
        pipe.recv()


def report_versions(pipe: Any, address: str) -> None:
    """Wait for one version after the other, and report the end of the wait."""
    client = ShmClient(address, EXAMPLE, publishes=VALUE)
    version = 0
    try:
        while True:
            pipe.send(version)
            version = client.wait_for(version + 1)
            found = client.latest()
            assert found is not None
            assert number_of(found[1]) == found[0] >= version
    except ConnectionClosedError as error:
        found = client.latest()
        pipe.send((str(error), None if found is None else number_of(found[1])))
    client.close()
    pipe.recv()


def serve(pipe: Any, address: str) -> None:
    """Publish two versions and wait to be killed."""
    with Server(EXAMPLE, 2, ShmTransport(address), publishes=VALUE) as server:
        server.publish(value(1))
        server.publish(value(2))
        pipe.send("serving")
        pipe.recv()
