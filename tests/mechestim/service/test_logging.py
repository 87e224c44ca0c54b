"""The log of a server has events and tracebacks, and no contents of its clients' arrays."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import msgpack
import pytest

from shm_echo.mechestim import wire
from shm_echo.mechestim.service.session import error_encoding
from tests.support.mechestim_server import RawClient, handle_of, serving

SECRET = 3141592.6535
TEXT = "correct horse battery staple"


def test_the_log_has_no_contents_of_arrays_arguments_or_messages(folder: Path) -> None:
    with serving(folder, "-vv") as server:
        with RawClient(server.path) as client:
            content = msgpack.packb(["<f8", [2], struct.pack("<2d", SECRET, SECRET)])
            array = handle_of(
                client.result("session.array", msgpack.ExtType(wire.NDARRAY, content))
            )
            client.result("ndarray.__repr__", array)
            client.result("ndarray.tolist", array)
            for request in (
                ("reshape", array, [5]),
                ("array", [[SECRET], [SECRET, SECRET]]),
                ("array", [TEXT], "f8"),
                (TEXT, array),
                ("sum", array, TEXT),
                ("divide", array, [0.0, TEXT]),
            ):
                client.error(*request)
            client.frame(TEXT.encode())
            assert client.closed_reason() is not None
        server.close()
        log = server.log.read_text()
    assert "malformed" in log  # the event is logged
    for content in ("3141592", *TEXT.split()):
        assert content not in log


def test_an_unexpected_error_is_logged_with_its_class_and_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unforeseen(BaseException):
        pass

    try:
        raise Unforeseen(TEXT)
    except Unforeseen as error:
        with caplog.at_level(logging.ERROR):
            crossing = error_encoding.encode_error(error)
    assert crossing == ["MechEstimServerError", "the server failed; its log says why", {}]
    assert "Unforeseen" in caplog.text
    assert "test_logging.py" in caplog.text
    assert TEXT not in caplog.text.replace("raise Unforeseen(TEXT)", "")
