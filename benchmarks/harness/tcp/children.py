"""The programs of the child processes: a server with its learner, clients, the sender in C."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from harness.loads import Load
from harness.tcp import sockets
from harness.tcp.ends import ClientEnd, ServerEnd
from harness.tcp.sockets import set_at_connect, set_at_listeners

__all__ = ["MOST_PROCESSES", "State", "become_sender", "connect_and_send", "serve"]

MOST_PROCESSES = 64
CHUNK = 2000  # iterations of the learner's loop between two looks at the clocks


class State(ctypes.Structure):
    """The words by which the processes of a pairing tell the benchmark, in shared memory.

    Attributes:
        port: of the server while it listens; 0 before and after.
        batches: taken by the learner.
        at_ns: the monotonic clock at the last batch.
        connected: client processes whose connections are open.
        server_pid: of the server.
        client_pids: of the clients, by their index.
        iterations: of the learner's loop.
        loop_ns: processor time of the learner's loop.
    """

    _fields_ = (
        ("port", ctypes.c_uint64),
        ("batches", ctypes.c_uint64),
        ("at_ns", ctypes.c_uint64),
        ("connected", ctypes.c_uint64 * MOST_PROCESSES),
        ("server_pid", ctypes.c_uint64),
        ("client_pids", ctypes.c_uint64 * MOST_PROCESSES),
        ("iterations", ctypes.c_uint64),
        ("loop_ns", ctypes.c_uint64),
    )


def serve(
    stop: Any,
    _index: int,
    end: ServerEnd,
    load: Load,
    congestion: str,
    state: Any,
    closing: Any,
    computes: bool,
) -> None:
    """Run a server and take its batches; with `computes`, in a thread beside a Python loop.

    `closing` is a semaphore that announces the stop: unlike an event's, its release never waits for
    a process that has been killed.
    """
    sockets.raise_descriptor_limit(4096)
    server = end.open(load)
    set_at_listeners(congestion)
    state.server_pid = os.getpid()
    state.port = server.port

    def close() -> None:
        closing.acquire()
        server.hush()
        state.port = 0
        while not stop.value:
            time.sleep(0.001)
        server.close()

    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    if computes:
        threading.Thread(target=_take, args=(server, load, state), daemon=True).start()
        _compute(stop, state)
    else:
        _take(server, load, state)
    closer.join()


def _take(server: Any, load: Load, state: Any) -> None:
    clock = time.monotonic_ns
    while True:
        batch = server.batch()
        if batch is None:
            return
        load.touch(batch)
        state.at_ns = clock()
        state.batches += 1


def _compute(stop: Any, state: Any) -> None:
    clock = time.thread_time_ns
    total = 0
    while not stop.value:
        start = clock()
        for i in range(CHUNK):
            total += i * i & 7
        state.loop_ns += clock() - start
        state.iterations += CHUNK


def connect_and_send(
    stop: Any, index: int, end: ClientEnd, load: Load, count: int, congestion: str, state: Any
) -> None:
    """Open `count` connections and send on them in turn until the stop."""
    set_at_connect(congestion)
    port = _await_port(stop, state)
    state.client_pids[index] = os.getpid()
    try:
        opened = [end.connect(port, load) for _ in range(count)]
        state.connected[index] = 1
        burst = range(load.burst)
        while not stop.value:
            for send, _ in opened:
                for _ in burst:
                    send()
    except OSError:  # a connection that is closed at the end of a round
        if not stop.value:
            raise
    for _, close in opened:
        with contextlib.suppress(OSError):
            close()


def become_sender(stop: Any, _index: int, command: Sequence[str], state: Any) -> None:
    """Turn this process into the sender in C; `PORT` in the command stands for the port."""
    port = _await_port(stop, state)
    state.client_pids[0] = os.getpid()
    state.connected[0] = 1  # it sends only after it has opened all connections
    words = [str(port) if word == "PORT" else word for word in command]
    os.execv(words[0], words)


def _await_port(stop: Any, state: Any) -> int:
    while not state.port:
        if stop.value:
            raise SystemExit
        time.sleep(0.001)
    return int(state.port)
