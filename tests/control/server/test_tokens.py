"""Tokens: their form and their holders; no message, log or repr ever shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shm_echo.control.protocol.handshake import ClientHandshake, ServerHandshake
from shm_echo.control.protocol.messages import MAX_TOKEN, PROTOCOL, Hello, Refused, parse
from shm_echo.control.server.tokens import MIN_LENGTH, Tokens
from shm_echo.errors import (
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServiceUnavailableError,
)
from tests.control.harness import frame

SECRET = "correct-horse-battery"
OTHER = "staple-of-another-sort"


def written(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_token_belongs_to_its_holder_and_no_other_text_does() -> None:
    tokens = Tokens({"ann": SECRET, "bob": OTHER})
    assert tokens.holder_of(SECRET) == "ann"
    assert tokens.holder_of(OTHER) == "bob"
    for wrong in ("", SECRET[:-1], SECRET + "x", SECRET.upper(), "ann", "\ud800"):
        assert tokens.holder_of(wrong) is None


def test_every_known_token_is_compared_in_constant_time_whichever_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    tokens = Tokens({"ann": SECRET, "bob": OTHER})
    monkeypatch.setattr("shm_echo.control.server.tokens.hmac.compare_digest", compare)
    for shown in (SECRET, OTHER, "", "x" * MAX_TOKEN):
        compared.clear()
        tokens.holder_of(shown)
        assert len(compared) == 2
        assert {len(part) for pair in compared for part in pair} == {32}


def test_a_file_holds_one_token_a_line_with_names_comments_and_empty_lines(tmp_path: Path) -> None:
    tokens = Tokens.read(written(tmp_path, f"# of the lab\n\nann {SECRET}\n  {OTHER}  \n"))
    assert (tokens.holder_of(SECRET), tokens.holder_of(OTHER)) == ("ann", "token-4")
    assert len(tokens) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_have_access_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, SECRET, mode)
    with pytest.raises(ValueError, match=rf"{path}: other users have access .*{mode:04o}.*chmod"):
        Tokens.read(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs at least one token"),
        ("# nothing\n", "needs at least one token"),
        ("short-token\n", f"line 1: the token has 11 characters; it needs at least {MIN_LENGTH}"),
        ("x" * (MAX_TOKEN + 1), f"at most {MAX_TOKEN}"),
        (f"ann {SECRET} more-of-it", "line 1: expected a token, or a name and a token"),
        (f"a/b {SECRET}", "line 1: the name before the token may have letters"),
        (f"\nann {SECRET}\nann {OTHER}", "line 3: there is a token of 'ann' already"),
        (f"ann {SECRET}\nbob {SECRET}", "the token of 'bob' is another holder's, too"),
        (f"{SECRET}\x07", "printable ASCII"),
        (f"{SECRET}\N{LATIN SMALL LETTER U WITH DIAERESIS}", "not plain ASCII"),
    ],
)
def test_a_file_without_good_tokens_is_refused_and_none_is_shown(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Tokens.read(written(tmp_path, text))
    assert SECRET not in str(caught.value)
    assert OTHER not in str(caught.value)


def test_a_file_that_is_not_there_is_named_and_a_good_token_is_advised(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none: No such file or directory; .*token_urlsafe"):
        Tokens.read(f"{tmp_path}/none")


@pytest.mark.parametrize(
    "given", [{}, {"a b": SECRET}, {"": SECRET}, {"ann": 7}, {"ann": "x y" * 9}]
)
def test_malformed_tokens_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="token"):
        Tokens(given)


def test_a_token_is_in_no_text_about_it() -> None:
    tokens = Tokens({"ann": SECRET})
    assert repr(tokens) == "<tokens of ann>"
    assert SECRET not in str(vars(tokens))
    assert SECRET not in repr(Hello(1, "0", "test", SECRET))


# ---------------------------------------------------------------- in the handshake


def greet(client: ClientHandshake, tokens: Tokens | None) -> tuple[ServerHandshake, bytes]:
    """Return a server with these tokens, and its answer to the client's hello."""
    server = ServerHandshake(["test"], tokens=tokens)
    answer = server.receive(client.hello())
    if isinstance(answer, Refused):
        return server, server.refuse(answer)
    return server, server.welcome(1, {}, {})


def test_the_holder_of_a_token_is_known_by_name() -> None:
    client = ClientHandshake("there", "test", token=SECRET)
    server, answer = greet(client, Tokens({"ann": SECRET}))
    assert client.receive(answer) is not None
    assert server.holder == "ann"


@pytest.mark.parametrize("service", ["test", "no such service"])
@pytest.mark.parametrize(
    ("token", "said"),
    [("", "it wants a token, and none was given"), (OTHER, "it does not know the token")],
)
def test_without_a_valid_token_the_refusal_reveals_nothing_else(
    token: str, said: str, service: str
) -> None:
    client = ClientHandshake("there", service, token=token)
    server, answer = greet(client, Tokens({"ann": SECRET}))
    with pytest.raises(RefusedError, match=f"^there refused this client: {said}") as caught:
        client.receive(answer)
    assert (caught.value.code, caught.value.fields) == ("token", {})
    assert server.holder is None
    for shown in (SECRET, OTHER, "ann"):
        assert shown not in str(caught.value)
        assert shown.encode() not in answer


def test_with_a_good_token_a_service_that_is_not_offered_is_refused_by_name() -> None:
    client = ClientHandshake("there", "ring", token=SECRET)
    _, answer = greet(client, Tokens({"ann": SECRET}))
    with pytest.raises(ServiceUnavailableError, match="it offers 'test'"):
        client.receive(answer)


def test_another_protocol_is_refused_before_the_token_is_checked() -> None:
    client = ClientHandshake("there", "test", protocol=9, token=SECRET)
    _, answer = greet(client, Tokens({"ann": SECRET}))
    with pytest.raises(ProtocolVersionError):
        client.receive(answer)


def test_a_token_that_the_server_does_not_ask_for_is_ignored() -> None:
    client = ClientHandshake("there", "test", token=SECRET)
    server, answer = greet(client, None)
    assert client.receive(answer) is not None
    assert server.holder is None


def test_a_hello_without_a_token_has_no_field_for_it() -> None:
    assert ClientHandshake("there", "test", package="0").hello() == frame(
        type="hello", protocol=PROTOCOL, package="0", service="test"
    )


@pytest.mark.parametrize("token", [7, None, b"secret", ["list"], "x" * (MAX_TOKEN + 1)])
def test_a_token_of_the_wrong_kind_breaks_the_protocol_and_is_not_shown(token: Any) -> None:
    raw = {"type": "hello", "protocol": PROTOCOL, "package": "0", "service": "test", "token": token}
    with pytest.raises(ProtocolError, match=r"^hello\.token: expected text of 0 to 512") as caught:
        parse(raw)
    assert "xxx" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_hello_is_short() -> None:
    server = ServerHandshake(["test"], tokens=Tokens({"ann": SECRET}))
    with pytest.raises(ProtocolError, match=r"5,000 bytes was announced \(allowed: 1 to 4,096\)"):
        server.receive((5000).to_bytes(4, "little"))
    longest = ClientHandshake("there", "s" * 64, package="p" * 64, token="t" * MAX_TOKEN)
    assert len(longest.hello()) < 4096
