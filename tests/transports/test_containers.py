"""A producer in the namespaces of a container of its own: the pid namespace alone is common."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shm_echo import Server, ShmTransport
from tests.support.folders import socket_folder
from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[2]

# Another /dev/shm, and no way to the network or to System V objects of the host.
OWN = ["unshare", "--mount", "--ipc", "--net", "--uts", "sh", "-c"]
SCRIPT = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'

PRODUCER = """
import os, sys
import numpy as np
from shm_echo import ShmClient
assert os.listdir("/dev/shm") == []
with ShmClient(sys.argv[1], np.zeros(1 << 16, np.uint8), connect_timeout=60) as client:
    for n in range(6):
        client.send(np.full(1 << 16, n, np.uint8))
"""


def test_a_producer_with_its_own_dev_shm_ipc_and_network_namespaces_attaches() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare program")
    allowed = subprocess.run([*OWN, SCRIPT, "sh", "true"], capture_output=True, text=True)
    if allowed.returncode != 0:
        pytest.skip(f"namespaces may not be made here: {allowed.stderr.strip()}")
    with socket_folder() as folder:
        address = f"ipc://{folder}/train.sock"
        with Server(np.zeros(1 << 16, np.uint8), 2, ShmTransport(address, "posix")) as server:
            producer = subprocess.Popen(
                [*OWN, SCRIPT, "sh", sys.executable, "-c", PRODUCER, address],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            taken = [
                int(row[0])
                for sample in server.dataset_iter(until="producers_closed")
                for row in sample.batch
            ]
            assert producer.wait(WATCHDOG) == 0
    assert taken == [0, 1, 2, 3, 4, 5]
