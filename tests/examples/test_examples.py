"""Each example runs as a user would run it, succeeds, and prints the promised results."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shm_echo import Server, TcpTransport
from tests.support.log_filters import (
    without_dropped_samples,
    without_no_producer_warnings,
    without_wait_hints,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *args],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = without_dropped_samples(without_no_producer_warnings(done.stderr))
    assert without_wait_hints(said) == ""
    return done.stdout


def test_the_in_process_learner_finds_the_weights() -> None:
    out = run("in_process.py")
    assert float(out.rsplit("largest error of a weight: ", 1)[1]) < 0.1


def test_the_actors_follow_the_learner_to_the_best_arm() -> None:
    out = run("rl_actors.py", "--steps", "200")
    assert len(re.findall(r"^actor \d+: \d+ samples$", out, re.MULTILINE)) == 2
    assert "best arm 9 of 9" in out


def test_the_loader_brings_every_image_once_with_a_short_last_batch() -> None:
    pytest.importorskip("PIL", reason="the example decodes images with Pillow")
    out = run("data_loader.py", "--images", "100", "--batch", "32", "--epochs", "2")
    lines = re.findall(
        r"^epoch \d+: 100 images once each, in 4 batches \(the last has 4\)", out, re.MULTILINE
    )
    assert len(lines) == 2
    assert re.search(r"^the loop waited for \d+% of its time$", out, re.M)


def test_the_network_in_jax_learns_and_does_not_depend_on_the_workers() -> None:
    pytest.importorskip("jax", reason="JAX is not installed: tox -e jax")
    outs = [
        run("train_jax.py", "--images", "1024", "--epochs", "2", "--workers", workers)
        for workers in ("0", "2")
    ]
    epochs = [
        re.findall(r"^epoch \d: loss ([\d.]+), ([\d.]+)% of new shapes right$", out, re.M)
        for out in outs
    ]
    assert len(epochs[0]) == 2
    assert epochs[0] == epochs[1]
    assert float(epochs[0][1][0]) < float(epochs[0][0][0])  # the loss falls


def test_the_metered_actors_stream_until_their_common_budget_is_spent() -> None:
    out = run("metered_actors.py", "--actors", "2", "--flop-budget", "300000")
    assert 3.0 < float(out.split("pi is about ", 1)[1].split()[0]) < 3.3
    spent = int(re.search(r"^([\d,]+) of 300,000 FLOPs spent$", out, re.M)[1].replace(",", ""))  # type: ignore[index]
    assert 298_000 < spent <= 300_000
    assert "random.uniform" in out


def test_each_rank_trains_on_its_own_actors_and_all_come_to_the_same_weights() -> None:
    out = run("data_parallel.py", "--ranks", "2", "--actors", "4", "--steps", "60")
    ranks = re.findall(
        r"^rank (\d): 60 batches of actors \[(.+)\], largest error (\S+)$", out, re.M
    )
    assert [(rank, actors) for rank, actors, _ in ranks] == [("0", "0, 2"), ("1", "1, 3")]
    assert max(float(error) for _, _, error in ranks) < 0.1
    assert out.endswith("the weights of all ranks are the same\n")


def test_every_reader_gets_whole_frames_and_the_camera_waits_for_none() -> None:
    out = run("newest_frame.py", "--frames", "60", "--fps", "200")
    readers = re.findall(r"^(\w+) reader: (\d+) frames, (\d+) skipped", out, re.M)
    seen = {reader: (int(frames), int(skipped)) for reader, frames, skipped in readers}
    assert set(seen) == {"fast", "slow"}
    assert all(frames > 0 and frames + skipped <= 60 for frames, skipped in seen.values())
    assert out.endswith("60 frames published\n")


def test_each_sample_goes_to_one_of_the_consumer_threads() -> None:
    out = run("consumer_threads.py", "--threads", "3", "--samples", "3000")
    counts = re.findall(r"^thread \d: \d+ batches, (\d+) samples$", out, re.M)
    assert len(counts) == 3
    assert sum(map(int, counts)) == 3000
    assert out.endswith("3000 of 3000 samples were seen exactly once\n")


def test_the_async_learner_answers_while_it_waits_and_finds_the_weights() -> None:
    out = run("async_learner.py", "--batches", "100")
    assert out.startswith("status before: 0 batches, ")
    assert re.search(r"^status meanwhile: \d+ batches, 2 actors, ", out, re.M)
    assert "status at the end: 100 batches, " in out
    assert float(out.rsplit("largest error of a weight: ", 1)[1]) < 0.1


def test_near_actors_take_shared_memory_and_far_ones_tcp() -> None:
    out = run("two_hosts.py", "--actors", "1", "--remote-actors", "2", "--steps", "100")
    where = r"two network namespaces: \S+ and \S+\n|no network namespaces here \(.+\): over .+\n"
    assert re.match(where, out)
    assert "actor 0: shm, since the socket of the server is on this host\n" in out
    for actor in (1, 2):
        assert f"actor {actor}: tcp, since there is no socket" in out
        assert re.search(rf"^actor {actor}: \d+ samples by tcp, [\d.]+:\d+$", out, re.M)
    assert float(out.rsplit("largest error of a weight: ", 1)[1]) < 0.1


def refusal(*args: str, token: str | None = None) -> str:
    """Return what two_hosts.py prints when it cannot do its part."""
    environment = {name: value for name, value in os.environ.items() if "SHM_ECHO" not in name}
    if token is not None:
        environment["SHM_ECHO_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "two_hosts.py"), *args],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_part_on_a_real_machine_says_in_a_sentence_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "way.pickle"
    assert "No such file or directory. Start the learner" in refusal("--actor", str(file))
    for text in (b"", b"no pickle", pickle.dumps(1)):
        file.write_bytes(text)
        assert "way.pickle is not the file of a learner" in refusal("--actor", str(file))
    assert "set SHM_ECHO_TOKEN" in refusal("--learner", str(file))
    assert "set SHM_ECHO_TOKEN" in refusal("--learner", str(file), token="too short")
    nowhere = str(tmp_path / "none" / "way.pickle")
    assert "No such file or directory" in refusal("--learner", nowhere, token="nEGmvUkSi8cqYfDd")


def test_an_actor_with_another_token_says_so(tmp_path: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import two_hosts
    finally:
        sys.path.remove(str(EXAMPLES))
    file = tmp_path / "way.pickle"
    transport = TcpTransport(port=0, token="nEGmvUkSi8cqYfDd")
    with Server(two_hosts.EXAMPLE, 32, transport, publishes=two_hosts.WEIGHTS) as server:
        file.write_bytes(pickle.dumps(server.connector()))
        text = refusal("--actor", str(file), token="rO2ksL9qPpYzVt4W")
    assert re.fullmatch(
        r"actor 0: .+ it does not know the token .+ \(from SHM_ECHO_TOKEN\)\n", text
    )


def test_every_example_is_run_by_a_test() -> None:
    # Those of PyTorch are run where it is installed.
    files = (Path(__file__), *Path(__file__).parents[1].glob("torch/test_face_examples.py"))
    source = "".join(file.read_text() for file in files)
    missing = [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source]
    assert missing == []
