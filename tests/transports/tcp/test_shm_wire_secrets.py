"""Tokens of clients, proofs, and the sessions of producers, without sockets."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from shm_echo import TcpTransport
from shm_echo.control.server.tokens import Tokens
from shm_echo.transports.tcp import sessions as sessions_module
from shm_echo.transports.tcp.client_token import ClientToken, find_token
from shm_echo.transports.tcp.proofs import is_proof, proof, token_key
from shm_echo.transports.tcp.sessions import Sessions
from shm_echo.transports.tcp.shm_handshake import ClientIdentity
from tests.support.shm_wire import RecordingIngress

TOKEN, OTHER = "correct-horse-battery", "another-token-of-someone"


# ---------------------------------------------------------------- where a token comes from


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHM_ECHO_TOKEN", raising=False)
    monkeypatch.delenv("SHM_ECHO_TOKEN_FILE", raising=False)


def key_of(token: ClientToken | None) -> bytes | None:
    return None if token is None else token.key()


def test_without_one_there_is_none() -> None:
    assert find_token() is None


def test_the_argument_comes_before_the_variable_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(f"{'f' * 16}\n")
    monkeypatch.setenv("SHM_ECHO_TOKEN_FILE", str(path))
    assert key_of(find_token()) == token_key("f" * 16)
    monkeypatch.setenv("SHM_ECHO_TOKEN", OTHER)
    assert key_of(find_token()) == token_key(OTHER)
    assert key_of(find_token(TOKEN)) == token_key(TOKEN)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "one token and nothing else"),
        (b"one-token-of-many two-tokens-of-many", "one token and nothing else"),
        (b"\xff\xfe" * 10, "not plain ASCII"),
        (b"short", "has 5 characters"),
    ],
    ids=["empty", "two", "no text", "short"],
)
def test_a_file_without_a_token_is_named(
    content: bytes, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    monkeypatch.setenv("SHM_ECHO_TOKEN_FILE", str(path))
    with pytest.raises(ValueError, match=rf"SHM_ECHO_TOKEN_FILE {path}.*{text}"):
        find_token()


def test_the_argument_may_be_the_path_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert key_of(find_token(path)) == token_key(TOKEN)
    assert repr(find_token(path)) == f"<token from token={path}>"
    with pytest.raises(ValueError, match=f"token={tmp_path}/no: No such file"):
        find_token(tmp_path / "no")


@pytest.mark.parametrize("text", ["/etc/{}", "./{}", "../{}", "~/{}"])
def test_the_path_of_a_file_as_text_is_no_token(text: str) -> None:
    path = text.format("token-of-the-cluster")
    with pytest.raises(ValueError, match="looks like the path of a file") as error:
        find_token(path)
    assert path not in str(error.value)
    with pytest.raises(ValueError, match="token= looks like the path of a file"):
        TcpTransport(0, token=path)


def test_a_token_may_begin_with_a_slash() -> None:
    for token in ("/wEPDwUKLTQ1NjY4ODk2", "/no-such-folder/wEPDwUKLTQ"):
        assert key_of(find_token(token)) == token_key(token)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHM_ECHO_TOKEN_FILE", "/does/not/exist")
    with pytest.raises(ValueError, match="/does/not/exist: No such file"):
        find_token()


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 600, "with a space in it", "ümlaut" * 4])
def test_what_is_no_token_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ValueError, match="token=") as error:
        find_token(token)
    assert not token or token not in str(error.value)


def test_a_token_is_neither_shown_nor_pickled() -> None:
    token = ClientToken(TOKEN, "token=")
    identity = ClientIdentity(bytes(16), token=token)
    assert TOKEN not in repr(token) + str(token) + repr(identity)
    for holder in (token, identity):
        with pytest.raises(TypeError, match="SHM_ECHO_TOKEN"):
            pickle.dumps(holder)


# ---------------------------------------------------------------- proofs


def test_a_proof_is_of_its_side_its_key_and_both_hellos() -> None:
    key = token_key(TOKEN)
    mac = proof(key, "client", b"server's hello", b"client's hello")
    assert is_proof(mac, key, "client", b"server's hello", b"client's hello")
    assert not is_proof(mac, key, "server", b"server's hello", b"client's hello")
    assert not is_proof(mac, token_key(OTHER), "client", b"server's hello", b"client's hello")
    assert not is_proof(mac, key, "client", b"another hello", b"client's hello")
    assert not is_proof(mac, key, "client", b"server's hello", b"another hello")
    assert not is_proof(b"", key, "client", b"server's hello", b"client's hello")


def test_a_holder_is_found_by_a_proof() -> None:
    tokens = Tokens({"ann": OTHER, "bob": TOKEN})
    tried: list[bytes] = []

    def knows(key: bytes) -> bool:
        tried.append(key)
        return key == token_key(OTHER)

    assert tokens.holder_who(knows) == ("ann", token_key(OTHER))
    assert tried == [token_key(OTHER), token_key(TOKEN)], "all keys, whichever fits"
    assert tokens.holder_who(lambda key: False) is None


# ---------------------------------------------------------------- sessions

KEY = (None, bytes(16))


def test_a_session_is_new_open_and_ended() -> None:
    sessions = Sessions(RecordingIngress())
    assert sessions.find(KEY).connection is None
    sessions.begin(KEY, 1)
    assert (sessions.find(KEY).connection, sessions.find(KEY).is_open) == (1, True)
    sessions.end(KEY, 1, 5, 50)
    assert sessions.find(KEY).is_open is False
    assert (sessions.find(KEY).queued, sessions.find(KEY).position) == (5, 50)
    sessions.begin(KEY, 2)
    assert (sessions.find(KEY).connection, sessions.find(KEY).queued) == (2, 5)


def test_the_end_of_another_connection_changes_nothing() -> None:
    sessions = Sessions(RecordingIngress())
    sessions.begin(KEY, 2)
    sessions.end(KEY, 1, 5, 50)
    assert sessions.find(KEY).is_open
    assert sessions.find(KEY).queued == 0


def test_the_oldest_ended_sessions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_ENDED", 3)
    sessions = Sessions(RecordingIngress())
    keys = [(None, bytes([number]) * 16) for number in range(5)]
    for number, key in enumerate(keys):
        sessions.begin(key, number)
        sessions.end(key, number, 1, 1)
    assert [sessions.find(key).queued for key in keys] == [0, 0, 1, 1, 1]


def test_sessions_without_samples_push_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_ENDED", 1)
    sessions = Sessions(RecordingIngress())
    sessions.begin(KEY, 1)
    sessions.end(KEY, 1, 5, 50)
    for number in range(2, 10):
        stranger = (None, bytes([number]) * 16)
        sessions.begin(stranger, number)
        sessions.end(stranger, number, 0, 0)
    assert sessions.find(KEY).queued == 5


def test_taken_counts_no_more_than_what_the_server_has() -> None:
    ingress = RecordingIngress()
    sessions = Sessions(ingress)
    assert sessions.taken(KEY, 0)
    assert not sessions.taken(KEY, 1)
    sessions.begin(KEY, 1)
    sessions.end(KEY, 1, 2, 2)
    assert not sessions.taken(KEY, 2)
    ingress.take(10)
    assert sessions.taken(KEY, 2)
    assert not sessions.taken(KEY, 3)
