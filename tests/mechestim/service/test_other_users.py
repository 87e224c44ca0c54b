"""Real processes of other users and in other pid namespaces as clients of a mechestim server."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shm_echo import Server, ShmTransport
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import ServiceUnavailableError
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.control.harness import Program
from tests.control.server.test_refused_peers import needs_root, unshare_reason
from tests.support.mechestim_server import ServerProcess, dialled, serving
from tests.support.waiting import WATCHDOG

OTHER, ANOTHER = 65534, 4321

COMPUTES = """
import os, sys
# Imported first: another user may not be able to read this installation.
import shm_echo.control.address, shm_echo.control.client.client_connection
import shm_echo.control.client.socket_connect
import encodings.idna, shm_echo.transports.shm_client, numpy
from shm_echo.mechestim.remote.session_opening import open_session
from shm_echo.mechestim.remote.arrays import array
from shm_echo.mechestim.remote.connection import arena, error_decoding
from shm_echo.errors import ShmEchoError
uid = int(sys.argv[2])
if uid:
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
try:
    channel = open_session(sys.argv[1])
    print(channel.request("add", (1.0, 2.0)).item(), flush=True)
    big = channel.request("zeros", (10**5,))
    print(channel.request("sum", (big,)).item(), flush=True)
    sys.stdin.readline()
    channel.close()
except (ShmEchoError, ValueError) as error:
    print(type(error).__name__, error, flush=True)
"""


# Sends to a server of its own before it becomes another user, to load all modules.
SENDS_BEFORE = """
import sys, numpy
from shm_echo import Server, ShmClient, ShmTransport
sample, url = {"x": numpy.zeros(2)}, sys.argv[1] + sys.argv[2]
with Server(sample, batch_size=1, transport=ShmTransport(url)), ShmClient(url, sample) as ring:
    ring.send(sample)
"""

# Run once before it becomes another user, to load all modules.
ASKS_STATUS = """
import contextlib, io
from shm_echo.cli.main import main
with contextlib.redirect_stderr(io.StringIO()):
    main(["status", "ipc:///nowhere/at-all.sock"])
""" + COMPUTES.replace(
    "channel = open_session(sys.argv[1])",
    "sys.stderr = sys.stdout; sys.exit(main(['status', sys.argv[1]]))",
)


@pytest.fixture
def open_folder(folder: Path) -> Path:
    """Return a folder that other users can enter."""
    folder.chmod(0o755)
    for closed in folder.parents:
        if not closed.stat().st_mode & stat.S_IXOTH:
            pytest.skip(f"other users cannot enter {closed}")
    return folder


@pytest.fixture
def server(open_folder: Path) -> Iterator[ServerProcess]:
    options = ("--allow-uid", f"{OTHER}", "--max-flop-budget", "1e9")
    with serving(open_folder, *options) as running:
        yield running


@needs_root
def test_an_allowed_user_computes_in_a_process_of_its_own(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", "0")
    with Program(COMPUTES, server.url, str(OTHER)) as client:
        client.expect("3.0")
        client.expect("0.0")
        (row,) = server.state()["rows"]
        assert (row["principal"], row["isolation"]) == (f"user {OTHER}", "process")
        client.say()
        assert client.wait() == 0
    (principal,) = server.state()["principals"]
    assert (principal["label"], principal["flops"]) == (f"user {OTHER}", 100_001)


@needs_root
def test_another_user_is_refused_with_the_reason(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", "0")
    with Program(COMPUTES, server.url, str(ANOTHER)) as client:
        client.expect(
            f"PeerRefusedError {server.url} refused this process: the client runs as user "
            f"{ANOTHER}, who was not allowed (--allow-uid, allow_uids)"
        )
    assert server.state()["sessions"] == 0


@needs_root
@pytest.mark.parametrize(
    ("uid", "said"),
    [
        (
            "",
            f"PeerRefusedError the server at {{path}} runs as user 0 and this process as user "
            f"{OTHER}: both must be the same user, or this process must trust that one "
            "(MECHESTIM_SERVER_UID)",
        ),
        (
            str(ANOTHER),
            f"PeerRefusedError the server at {{path}} runs as user 0 and this process as user "
            f"{OTHER}: only that user and user {ANOTHER} are welcome",
        ),
        ("root", "ValueError MECHESTIM_SERVER_UID='root': expected the number of a user"),
        ("-1", "ValueError MECHESTIM_SERVER_UID='-1': expected the number of a user"),
    ],
)
def test_the_client_trusts_another_users_server_only_with_the_option(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, uid: str, said: str
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", uid)
    with Program(COMPUTES, server.url, str(OTHER)) as client:
        client.expect(said.format(path=server.path))
    assert server.state()["sessions"] == 0


@needs_root
def test_a_user_who_may_compute_may_not_read_the_status(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", "0")
    with Program(ASKS_STATUS, server.url, str(OTHER)) as client:
        client.expect(
            f"shm-echo status: {server.path} offers no service 'status' (it offers 'mechestim')"
        )
        assert client.wait() == 1


@needs_root
def test_a_service_can_be_allowed_by_name(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", "0")
    options = ("--allow-uid", f"{OTHER}:status", "--allow-uid", f"{ANOTHER}:mechestim,status")
    with serving(open_folder, *options) as server:
        for uid in (OTHER, ANOTHER):
            with Program(ASKS_STATUS, server.url, str(uid)) as client:
                assert client.hear().startswith("mechestim server ")
                assert client.wait() == 0
        with Program(COMPUTES, server.url, str(OTHER)) as client:
            client.expect(
                f"ServiceUnavailableError {server.url} offers no service 'mechestim' (it offers "
                "'status')"
            )


@needs_root
def test_other_users_get_the_ring_only_where_it_is_allowed(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_UID", "0")
    url = f"ipc://{open_folder}/both.sock"
    sample = {"x": np.zeros(2)}
    metering = MechEstimService(Quotas(max_flops=10**6))
    transport = ShmTransport(
        url,
        services={"mechestim": metering},
        allow_uids={OTHER: ["mechestim"], ANOTHER: ["ring"]},
    )
    sends = """
    from shm_echo import ShmClient
    with ShmClient(sys.argv[1], {"x": numpy.zeros(2)}, server_uid=0) as ring:
        ring.send({"x": numpy.ones(2)})
    print("sent", flush=True)
    sys.exit()
"""
    script = SENDS_BEFORE + COMPUTES.replace("    channel = open_session(sys.argv[1])\n", sends)
    with Server(sample, batch_size=1, transport=transport) as server:
        with Program(script, url, str(OTHER)) as client:
            assert client.hear().startswith("ServiceUnavailableError ")
        with Program(script, url, str(ANOTHER)) as client:
            client.expect("sent")
            assert client.wait() == 0
        got = server.sample(timeout=WATCHDOG)
        assert got is not None
        assert got.batch["x"].tolist() == [[1.0, 1.0]]
        with Program(COMPUTES, url, str(OTHER)) as client:
            client.expect("3.0")
        with Program(COMPUTES, url, str(ANOTHER)) as client:
            assert client.hear().startswith("ServiceUnavailableError ")
    metering.close()


@pytest.fixture
def elsewhere() -> list[str]:
    """Return a command prefix that runs a program in a pid namespace of its own."""
    reason = unshare_reason()
    if reason is not None:
        pytest.skip(f"a pid namespace cannot be made here: {reason}")
    return ["unshare", "--pid", "--fork", "--kill-child"]


def test_a_client_that_cannot_see_the_servers_process_computes(
    folder: Path, elsewhere: list[str]
) -> None:
    with serving(folder) as server:
        with Program(COMPUTES, server.url, "0", prefix=elsewhere) as client:
            client.expect("3.0")
            client.expect("0.0")
            assert server.state()["sessions"] == 1
            client.say()
            assert client.wait() == 0


def test_a_server_that_cannot_see_its_clients_offers_them_mechestim_only(
    folder: Path, elsewhere: list[str]
) -> None:
    script = "import sys; from shm_echo.cli.main import main; sys.exit(main(sys.argv[1:]))"
    url = f"ipc://{folder}/s.sock"
    with Program(script, "serve", "--url", url, prefix=elsewhere) as server:
        assert server.hear().startswith("serving mechestim at ")
        for _ in range(2):
            with dialled(url) as client:
                assert client.request("add", (1.0, 2.0)).item() == 3.0
                assert client.arena is not None
        with Program(
            COMPUTES, url, "0", prefix=elsewhere
        ) as client:  # neither process sees the other
            client.expect("3.0")
        with pytest.raises(ServiceUnavailableError, match=r"\(it offers 'mechestim'\)"):
            connect(url, "status")
