"""A learner and its actors on two hosts: shared memory for those beside it, TCP for the others.

Every actor runs the same code: it gets the learner's connector, and `connect()` finds the way in.
Without arguments this makes two hosts out of one: two network namespaces with a cable (veth)
between them, which needs no root where the kernel lets users have namespaces. Otherwise it says so,
and both sides use the loopback interface.

    python examples/two_hosts.py --actors 1 --remote-actors 2 --steps 200

On two real machines the file with the connector goes from one to the other. It has no secret in it;
the token does not travel with it:

    export SHM_ECHO_TOKEN=...                            # on both, the same 16 characters or more
    python examples/two_hosts.py --learner way.pickle    # on the first
    scp way.pickle second-machine:
    python examples/two_hosts.py --actor way.pickle --number 1    # on the second
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import pickle
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shm_echo import ConnectionClosedError, Connector, Server, ShmTransport, TcpTransport
from shm_echo.errors import HandshakeError

EXAMPLE = {"x": np.zeros(8, np.float32), "y": np.float32(0), "version": np.int64(0)}
WEIGHTS = {"w": np.zeros(8)}
TRUE_WEIGHTS = np.linspace(-1, 1, 8)
LEARNER, ACTORS = "10.77.0.1", "10.77.0.2"  # the two ends of the cable
WAIT = 60.0  # seconds for the other side to come

# ---------------------------------------------------------------- the two sides


def learn(file: Path, actors: int, steps: int) -> None:
    """Train on the samples of all actors, near and far, and publish the weights to them."""
    try:
        # All addresses of this host: the default, 127.0.0.1, would let no other machine in.
        tcp = TcpTransport(port=0, host="0.0.0.0", token=os.environ["SHM_ECHO_TOKEN"])
    except (KeyError, ValueError):
        sys.exit("set SHM_ECHO_TOKEN to the same 16 characters or more, on both machines")
    transports = [ShmTransport(), tcp]
    weights = WEIGHTS["w"]
    with Server(EXAMPLE, 32, transports, publishes=WEIGHTS) as server:
        draft = file.with_suffix(".new")
        try:
            draft.write_bytes(pickle.dumps(server.connector()))
        except OSError as error:
            sys.exit(f"{draft}: {error.strerror}")
        draft.rename(file)  # so that nobody reads half of it
        print(f"learner: port {server.port}, connector in {file.name}", flush=True)
        deadline = time.monotonic() + WAIT
        while len(server.producers()) < actors:
            if time.monotonic() > deadline:
                sys.exit(f"{len(server.producers())} of {actors} actors came within {WAIT:g} s")
            time.sleep(0.01)
        server.publish({"w": weights})
        for step in range(1, steps + 1):
            sample = server.sample(timeout=WAIT)
            assert sample is not None
            x, y = sample.batch["x"], sample.batch["y"]
            weights = weights - 0.1 * 2 * x.T @ (x @ weights - y) / len(y)
            version = server.publish({"w": weights})
            if step % 100 == 0:
                age = version - sample.batch["version"].mean()
                print(f"step {step}: samples were made {age:.1f} versions ago", flush=True)
        for producer in server.producers():
            place = f"pid {producer.pid}" if producer.peer is None else producer.peer
            sent = f"{producer.samples} samples by {producer.transport}"
            print(f"{producer.producer_id}: {sent}, {place}")
    print(f"largest error of a weight: {np.abs(weights - TRUE_WEIGHTS).max():.3f}")


def act(file: Path, number: int) -> None:
    """Send samples until the learner has finished. This code is the same on every host."""
    # The way is printed below, and the learner may end with samples still on theirs.
    logging.getLogger("shm_echo").setLevel("ERROR")
    rng = np.random.default_rng(number)
    connector = read_connector(file)
    try:
        client = connector.connect(EXAMPLE, connect_timeout=WAIT, producer_id=f"actor {number}")
    except HandshakeError as error:  # no way leads there, or the token is another one
        sys.exit(f"actor {number}: {error}")
    with client:
        print(f"actor {number}: {client.way}", flush=True)
        try:
            client.wait_for(1)  # the first weights
            while True:
                version, _ = client.latest()
                x = rng.standard_normal(8).astype(np.float32)
                y = float(x @ TRUE_WEIGHTS + 0.1 * rng.standard_normal())
                client.send({"x": x, "y": y, "version": version})
        except ConnectionClosedError:
            pass  # the learner has finished


def read_connector(file: Path) -> Connector:
    """Return the connector in the learner's file. Unpickle only what your own learner wrote."""
    try:
        connector = pickle.loads(file.read_bytes())
    except OSError as error:
        sys.exit(f"{file}: {error.strerror}. Start the learner first, and copy its file to here")
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError):
        connector = None
    if not isinstance(connector, Connector):
        sys.exit(f"{file} is not the file of a learner (python examples/two_hosts.py --learner)")
    return connector


# ---------------------------------------------------------------- two hosts out of one


def run_both(args: argparse.Namespace, enter: list[str]) -> None:
    """Run the learner and the near actors here, and the others behind the command `enter`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "way.pickle")
        near = {**os.environ, "SHM_ECHO_TOKEN": secrets.token_hex(16)}
        # The other host has no Unix socket of this one.
        far = {**near, "SHM_ECHO_RUNTIME_DIR": str(Path(folder, "elsewhere"))}
        actors = args.actors + args.remote_actors
        this = [sys.executable, __file__]
        sizes = ["--steps", str(args.steps), "--wait-for", str(actors)]
        processes = [subprocess.Popen([*this, "--learner", str(file), *sizes], env=near)]
        try:
            while not file.exists() and processes[0].poll() is None:
                time.sleep(0.01)
            for number in range(actors if file.exists() else 0):
                command = [*this, "--actor", str(file), "--number", str(number)]
                if number < args.actors:
                    processes.append(subprocess.Popen(command, env=near))
                else:
                    processes.append(subprocess.Popen([*enter, *command], env=far))
            statuses = [process.wait() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    if any(statuses):
        sys.exit(f"a process has failed: exit statuses {statuses}")


@contextlib.contextmanager
def second_host() -> Iterator[list[str]]:
    """Make a second network namespace with a cable to this one; give a command that enters it."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
            time.sleep(0.01)
        enter = ["nsenter", "--target", str(holder.pid), "--net"]
        ip = ["ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns"]
        subprocess.run([*ip, str(holder.pid)], check=True)
        for prefix, end, address in (([], "cable0", LEARNER), (enter, "cable1", ACTORS)):
            subprocess.run([*prefix, "ip", "addr", "add", f"{address}/24", "dev", end], check=True)
            for device in ("lo", end):
                subprocess.run([*prefix, "ip", "link", "set", device, "up"], check=True)
        yield enter
    finally:
        holder.kill()
        holder.wait()


def why_no_namespaces() -> str | None:
    """Return why this process cannot have network namespaces of its own; None if it can."""
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        return f"there is no program {missing[0]!r}"
    script = "ip link add probe0 type veth peer name probe1"
    done = subprocess.run(["unshare", "-Urn", "sh", "-c", script], capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=1, help="actors beside the learner")
    parser.add_argument("--remote-actors", type=int, default=2, help="actors on the other host")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learner", type=Path, metavar="FILE", help="be the learner")
    parser.add_argument("--wait-for", type=int, default=1, help="actors that the learner waits for")
    parser.add_argument("--actor", type=Path, metavar="FILE", help="be an actor")
    parser.add_argument("--number", type=int, default=0, help="the actor's number")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.learner:
        learn(args.learner, args.wait_for, args.steps)
    elif args.actor:
        act(args.actor, args.number)
    elif args.inside:
        with second_host() as enter:
            print(f"two network namespaces: {LEARNER} and {ACTORS}", flush=True)
            run_both(args, enter)
    elif (reason := why_no_namespaces()) is not None:
        print(f"no network namespaces here ({reason}): over the loopback interface", flush=True)
        run_both(args, [])
    else:
        again = ["unshare", "-Urn", sys.executable, __file__, "--inside", *sys.argv[1:]]
        sys.exit(subprocess.run(again).returncode)


if __name__ == "__main__":
    main()
