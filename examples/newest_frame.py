"""A camera whose readers get the newest frame, each at its own speed.

`publish` overwrites the frame before, so the camera never waits: a slow reader skips frames, and
its next one is always the newest. Frames are whole, never a mixture of two. The processes attach as
readers, which are no producers: the ring of this server stays empty, and any number of them may
come and go.

    python examples/newest_frame.py --frames 200 --fps 100
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport

FRAME = {"pixels": np.zeros((240, 320), np.uint8), "taken_at": np.float64(0)}
NOTHING = np.uint8(0)
READERS = {"fast": 0.0, "slow": 0.05}  # seconds of work on each frame


def watch(name: str, reader: str, report: Connection) -> None:
    """Look at the newest frame until the camera stops, in a reader process."""
    version = seen = 0
    oldest = 0.0
    with ShmClient(name, role="reader", connect_timeout=10) as camera:
        try:
            while True:
                camera.wait_for(version + 1)  # sleeps until there is a frame newer than the last
                latest = camera.latest()
                assert latest is not None
                version, frame = latest
                assert (frame["pixels"] == version % 256).all(), "a mixture of two frames"
                oldest = max(oldest, time.time() - frame["taken_at"])
                seen += 1
                time.sleep(READERS[reader])  # your work on the frame
        except ConnectionClosedError:
            pass  # the camera has stopped
    report.send((reader, seen, version - seen, oldest))


def take_picture(number: int) -> dict[str, np.ndarray | float]:
    """Return the frame with this number: your camera's driver."""
    return {"pixels": np.full((240, 320), number % 256, np.uint8), "taken_at": time.time()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--fps", type=float, default=100.0)
    args = parser.parse_args()

    name = f"newest-frame-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    reports, report = context.Pipe(duplex=False)
    with Server(NOTHING, 1, ShmTransport(name), publishes=FRAME) as server:
        readers = [
            context.Process(target=watch, args=(name, reader, report), daemon=True)
            for reader in READERS
        ]
        for process in readers:
            process.start()
        report.close()  # the readers have their own: without them, recv() raises EOFError
        while len(server.readers()) < len(readers) and all(r.is_alive() for r in readers):
            time.sleep(0.01)
        for number in range(1, args.frames + 1):
            version = server.publish(take_picture(number))
            assert version == number
            time.sleep(1 / args.fps)
    for _ in readers:
        reader, seen, skipped, oldest = reports.recv()
        print(f"{reader} reader: {seen} frames, {skipped} skipped, none older than {oldest:.3f} s")
    for process in readers:
        process.join()
    print(f"{args.frames} frames published")


if __name__ == "__main__":
    main()
