"""The access rules, and other users as real processes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.control.client.client_connection import connect
from shm_echo.control.peer import Peer
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import AddressError, PeerRefusedError
from tests.control.harness import SERVER, Program, Recorder
from tests.control.server.test_refused_peers import AS_NOBODY, NOBODY, PRINTS_ERRORS, needs_root

OURS = os.geteuid()
OTHER = OURS + 1
STRANGER = OURS + 2
TOKENS = Tokens({"ann": "correct-horse-battery"})


class Guest(Recorder):
    allows_unwatched_peers = True


SERVICES: dict[str, Any] = {"guest": Guest(), "status": Recorder(), "ring": Recorder()}


# ---------------------------------------------------------------- the rules


def test_this_user_may_open_every_service_and_others_those_that_were_allowed() -> None:
    access = AccessPolicy(SERVICES, {OTHER: ["guest", "ring"], STRANGER: ["status"]})
    assert access.services_for(Peer(7, OURS)) == ("guest", "status", "ring")
    assert access.services_for(Peer(7, OTHER)) == ("guest", "ring")
    assert access.services_for(Peer(7, STRANGER)) == ("status",)
    with pytest.raises(PeerRefusedError, match=f"user {OURS + 3}, who was not allowed"):
        access.services_for(Peer(7, OURS + 3))


def test_allowing_this_user_one_service_takes_no_other_from_it() -> None:
    access = AccessPolicy(SERVICES, {OURS: ["guest"]})
    assert access.services_for(Peer(7, OURS)) == ("guest", "status", "ring")


def test_by_default_only_this_user_may_connect() -> None:
    access = AccessPolicy(SERVICES)
    assert not access.allows_other_users
    with pytest.raises(PeerRefusedError, match="both must be the same user"):
        access.services_for(Peer(7, OTHER))


def test_a_process_that_is_not_visible_gets_the_services_that_need_no_watching() -> None:
    access = AccessPolicy(SERVICES, {OTHER: ["guest", "ring"], STRANGER: ["ring"]})
    assert access.services_for(Peer(0, OURS)) == ("guest",)
    assert access.services_for(Peer(0, OTHER)) == ("guest",)
    with pytest.raises(PeerRefusedError, match="another pid namespace"):
        access.services_for(Peer(0, STRANGER))
    with pytest.raises(PeerRefusedError, match="runs as user"):
        AccessPolicy(SERVICES).services_for(Peer(0, OTHER))


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        ({1001: ["shutdown"]}, "user 1001 cannot be offered 'shutdown'.*offers 'guest', 'status'"),
        ({1001: []}, "user 1001 needs a collection of names"),
        ({1001: "guest"}, "user 1001 needs a collection of names"),
        ({-1: ["guest"]}, "-1 is no user id"),
        ({2**32 - 1: ["guest"]}, "is no user id"),
        ({"root": ["guest"]}, "'root' is no user id"),
        ({True: ["guest"]}, "True is no user id"),
    ],
)
def test_invalid_rules_are_refused(allowed: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AccessPolicy(SERVICES, allowed)


def test_allow_uids_and_tokens_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="a TCP connection does not tell the user"):
        AccessPolicy({"guest": Guest()}, {1001: ["guest"]}, TOKENS)


def test_a_private_folder_cannot_be_opened_to_others() -> None:
    with pytest.raises(AddressError, match=r"no other user can enter .*ipc:///path\.sock"):
        ControlServer("some-name", SERVICES, allow_uids={OTHER: ["guest"]})


def test_the_socket_is_open_to_others_only_if_some_are_allowed(address: str, path: str) -> None:
    for allowed, mode in ((None, 0o600), ({OTHER: ["guest"]}, 0o666)):
        with ControlServer(address, SERVICES, allow_uids=allowed):
            assert stat.S_IMODE(os.stat(path).st_mode) == mode


# ---------------------------------------------------------------- other users

ASKS = """
from shm_echo.control.client.client_connection import connect
for wanted in ("guest", "status", "ring", "shutdown"):
    try:
        with connect(sys.argv[1], wanted, server_uid=0) as connection:
            print(wanted, connection.request("echo", {})[0]["op"], flush=True)
    except Exception as error:
        print(wanted, type(error).__name__, error, flush=True)
"""


@pytest.fixture
def offered(address: str, folder: str) -> Iterator[dict[str, Recorder]]:
    os.chmod(folder, 0o755)
    services: dict[str, Any] = {"guest": Guest(), "status": Recorder(), "ring": Recorder()}
    with ControlServer(address, services, allow_uids={NOBODY: ["guest", "status"]}):
        yield services


@needs_root
def test_another_user_gets_the_services_that_it_was_allowed_and_no_other(
    offered: dict[str, Recorder], address: str, path: str
) -> None:
    with Program(AS_NOBODY + ASKS, address) as client:
        client.expect("guest echo")
        client.expect("status echo")
        for wanted in ("ring", "shutdown"):
            client.expect(
                f"{wanted} ServiceUnavailableError {path} offers no service '{wanted}' (it offers "
                "'guest', 'status')"
            )
        assert client.wait() == 0
    assert offered["guest"].sessions[0].peer.uid == NOBODY
    assert not offered["ring"].calls_of("open")


@needs_root
def test_a_user_that_was_not_allowed_gets_an_error_that_says_so(
    offered: dict[str, Recorder], address: str, path: str
) -> None:
    as_another = AS_NOBODY.replace("setresuid(65534, 65534, 65534)", "setresuid(4321, 4321, 4321)")
    with Program(as_another + ASKS, address) as client:
        for wanted in ("guest", "status", "ring", "shutdown"):
            client.expect(
                f"{wanted} PeerRefusedError {path} refused this process: the client runs as user "
                "4321, who was not allowed (--allow-uid, allow_uids)"
            )
        assert client.wait() == 0
    assert not any(service.calls_of("open") for service in offered.values())


@needs_root
@pytest.mark.parametrize(
    ("uid", "said"),
    [
        ("None", "both must be the same user"),
        ("4321", "only that user and user 4321 are welcome"),
    ],
)
def test_an_allowed_client_still_checks_the_user_of_the_server(
    offered: dict[str, Recorder], address: str, path: str, uid: str, said: str
) -> None:
    call = f"connect(sys.argv[1], 'guest', server_uid={uid})"
    with Program(
        AS_NOBODY
        + "from shm_echo.control.client.client_connection import connect\n"
        + PRINTS_ERRORS,
        address,
        call,
    ) as client:
        client.expect(
            f"PeerRefusedError the server at {path} runs as user 0 and this process as user "
            f"{NOBODY}: {said}"
        )
    assert not offered["guest"].calls_of("open")


@needs_root
def test_a_server_of_another_user_is_talked_to_when_it_is_trusted(
    address: str, folder: str
) -> None:
    os.chmod(folder, 0o777)
    serving = SERVER.replace('{"test": service})', '{"test": service}, allow_uids={0: ["test"]})')
    with Program(AS_NOBODY + serving + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        with pytest.raises(PeerRefusedError, match="both must be the same user"):
            connect(address, "test")
        with connect(address, "test", server_uid=NOBODY) as connection:
            assert connection.request("echo", {})[0]["op"] == "echo"
            assert connection.peer.uid == NOBODY
