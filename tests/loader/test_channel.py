"""Frames over a socket pair: objects, descriptors, ends."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from shm_echo.loader.channel import Channel, ChannelClosedError, wait_readable


@pytest.fixture
def ends() -> Any:
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_messages_arrive_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    for message in (1, {"a": [2]}, None, b"x" * 1000):
        ours.send(message)
    assert [other.receive() for _ in range(2)] == [(1, []), ({"a": [2]}, [])]
    assert other.receive_all() == [(None, []), (b"x" * 1000, [])]
    assert other.receive_all() == []


def test_descriptors_arrive_with_their_message(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    read, write = os.pipe()
    ours.send("none")
    ours.send("both", [read, write])
    ours.send("one", [write])
    (none, no_fds), (both, two), (one, last) = other.receive_all()
    assert (none, no_fds, both, one) == ("none", [], "both", "one")
    os.write(last[0], b"through")
    assert os.read(two[0], 7) == b"through"
    assert not any(os.get_inheritable(fd) for fd in (*two, *last))
    for fd in (read, write, *two, *last):
        os.close(fd)


def test_a_message_larger_than_the_socket_arrives(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    read, write = os.pipe()
    large = os.urandom(3_000_000)
    sender = threading.Thread(target=ours.send, args=(large, [read]))
    sender.start()
    message, fds = other.receive()
    sender.join()
    assert message == large
    assert len(fds) == 1
    for fd in (read, write, *fds):
        os.close(fd)


def test_what_was_sent_before_the_end_is_received(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    ours.send("last")
    ours.close()
    assert other.receive_all() == [("last", [])]
    with pytest.raises(ChannelClosedError):
        other.receive_all()
    with pytest.raises(ChannelClosedError):
        other.receive()


def test_sending_to_an_end_that_is_closed_raises(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    other.close()
    with pytest.raises(ChannelClosedError):
        ours.send("nobody")
    with pytest.raises(ChannelClosedError):
        other.send("closed here")


def test_an_object_that_cannot_be_pickled_sends_nothing(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    with pytest.raises(Exception, match="pickle"):
        ours.send(threading.Lock())
    ours.send("next")
    assert other.receive() == ("next", [])


def test_descriptors_that_nobody_received_are_closed() -> None:
    read, write = os.pipe()
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    ours.send("with", [write])
    ours.send("without")
    os.close(write)
    # Only the first part of a message has arrived when this end closes.
    other._read(0)
    other.close()
    ours.close()
    assert wait_readable([read], 10) == [read]  # the last writer is gone
    assert os.read(read, 1) == b""
    os.close(read)


def test_waiting_for_nothing_ends() -> None:
    assert wait_readable([], 0.001) == []
