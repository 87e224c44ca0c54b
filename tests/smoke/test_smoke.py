"""Attach, send, kill, with real processes: enough to see that a build for one Python works."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from shm_echo import ProducerDiedError, Server, ShmTransport

EXAMPLE = {"x": np.zeros(3, np.float32), "n": np.int64(0)}

PRODUCER = """
import os, signal, sys
import numpy as np
from shm_echo import ShmClient

example = {"x": np.zeros(3, np.float32), "n": np.int64(0)}
client = ShmClient(sys.argv[1], example, connect_timeout=30)
for n in range(8):
    client.send({"x": np.full(3, n, np.float32), "n": n})
client.send_batch({"x": np.ones((4, 3), np.float32), "n": np.arange(8, 12)})
with client.reserve() as slot:
    slot["x"][:] = 12
    slot["n"][...] = 12
if sys.argv[2] == "die":
    client.reserve()
    os.kill(os.getpid(), signal.SIGKILL)
client.close()
"""


def produce(name: str, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(PRODUCER), name, how])


def test_a_producer_in_another_process_is_received_in_order(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        with produce(name, "close") as child:
            seen = [
                np.concatenate([sample.batch["n"]])
                for sample in server.dataset_iter(until="producers_closed")
            ]
        assert child.returncode == 0
        assert np.concatenate(seen).tolist() == list(range(13))
        assert [len(batch) for batch in seen] == [4, 4, 4, 1]


def test_a_killed_producer_is_noticed_and_loses_nothing_it_sent(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name), on_producer_death="raise") as server:
        numbers: list[int] = []
        with produce(name, "die") as child:
            with pytest.raises(ProducerDiedError) as death:
                while True:
                    sample = server.sample()
                    assert sample is not None
                    numbers += sample.batch["n"].tolist()
            assert death.value.pid == child.pid
            assert death.value.signal == signal.SIGKILL
        while len(rest := server.sample(timeout=10, partial=True).batch["n"]):  # type: ignore[union-attr]
            numbers += rest.tolist()
        assert numbers == list(range(13))
        assert server.producers() == []
