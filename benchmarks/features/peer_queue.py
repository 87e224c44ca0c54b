"""multiprocessing.Queue: the trials behind the cells of its column."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import time
from typing import Any

import numpy as np
from trial import NO, SPAWN, YES, ends_within, killing, main, start

PATIENCE = 60.0


def send(samples: Any, size: int, count: int, value: float) -> None:
    for _ in range(count):
        samples.put(np.full(size, value, np.float32))


def view() -> str:
    samples = SPAWN.Queue()
    samples.put(np.zeros(4))
    first = samples.get()
    return NO if first.flags.owndata else YES


def join() -> str:
    """Show that a process reaches only the queues that its parent hands to it at its start."""
    try:
        pickle.dumps(SPAWN.Queue())
        return YES
    except RuntimeError:
        return NO


def misfit() -> str:
    samples = SPAWN.Queue()
    samples.put(np.zeros(4, np.float32))
    samples.put(np.zeros(7, np.int32))
    return NO if samples.get().dtype != samples.get().dtype else YES


def full() -> str:
    samples = SPAWN.Queue(maxsize=2)
    try:
        for _ in range(3):
            samples.put(0, timeout=0.5)
    except queue.Full:
        return YES
    return NO


def killed_inside() -> str:
    samples = SPAWN.Queue(maxsize=8)
    start(send, samples, 1 << 20, 1 << 30, 0.0)
    deaths = killing(lambda n: start(send, samples, 1 << 20, 1 << 30, n + 1.0), 10)
    whole: list[bool] = []

    def drain() -> None:
        while deaths.is_alive():
            sample = samples.get(timeout=30)
            assert (sample == sample[0]).all()
        whole.append(True)

    ends_within(120, drain)
    return YES if whole else NO


def death() -> str:
    samples = SPAWN.Queue()
    producer = start(send, samples, 4, 1, 0.0)
    samples.get(timeout=PATIENCE)
    producer.kill()
    try:
        samples.get(timeout=10)
    except queue.Empty:
        return NO
    return "look again"


def learn(samples: Any) -> None:
    samples.get()
    time.sleep(600)


def learner_dies() -> str:
    samples = SPAWN.Queue(maxsize=2)
    learner = start(learn, samples)
    errors: list[Exception] = []

    def fill() -> None:
        try:
            while True:
                samples.put(0)
        except Exception as error:
            errors.append(error)

    assert not ends_within(5, fill)
    os.kill(learner.pid, signal.SIGKILL)
    time.sleep(15)
    return YES if errors else NO


if __name__ == "__main__":
    main(
        {
            "view": view,
            "join": join,
            "misfit": misfit,
            "full": full,
            "killed_inside": killed_inside,
            "death": death,
            "learner_dies": learner_dies,
        }
    )
