"""Runs the fuzzers: ``python -m tests.fuzz.run [--seconds N] [TARGET ...]``, and atheris.

Each target has a process of its own. A fuzzer saves an input that fails in ``--folder`` as
``TARGET-crash-...`` (or ``-timeout-``, ``-oom-``); ``--replay TARGET FILE`` runs the target with it
again, without a fuzzer. The exit status is 1 if an input has failed. The target ``ingress`` is C:
``make fuzz`` of csrc/tests runs it under libFuzzer, if clang is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_SHARES = {"codec": 0.1, "values": 0.15, "handshakes": 0.1, "ingress": 0.1, "session": 0.55}
_NATIVE = Path(__file__).parents[2] / "csrc" / "tests"
_MAX_SECONDS = 10  # an input that takes longer counts as a failure
_MAX_MIB = 2048  # of memory: more is a failure, too


def start(target: str, seconds: float, folder: Path, seeds: Path | None) -> int:
    """Run one target for some seconds, print its last statistics, and return its exit status."""
    if target == "ingress":
        return start_native(seconds, folder)
    corpus = folder / f"{target}-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    if target == "handshakes":
        from tests.fuzz.tcp_handshakes import SEEDS

        for number, seed in enumerate(SEEDS):
            (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", target, str(corpus)]
    command += [str(seeds)] if seeds is not None else []
    command += [
        f"-max_total_time={max(1, int(seconds))}",
        f"-timeout={_MAX_SECONDS}",
        f"-rss_limit_mb={_MAX_MIB}",
        f"-artifact_prefix={folder}/{target}-",
        "-max_len=16384",
        "-print_final_stats=1",
    ]
    return run(target, command, seconds)


def start_native(seconds: float, folder: Path) -> int:
    """Build the parser of the ingress with libFuzzer and run it."""
    if shutil.which("make") is None or shutil.which("clang") is None:
        print("ingress: skipped, make and clang are not installed")
        return 0
    command = ["make", "-s", "-C", str(_NATIVE), "fuzz", f"SECONDS={max(1, int(seconds))}"]
    return run("ingress", [*command, f"FUZZ_FOLDER={folder.resolve()}"], seconds)


def run(target: str, command: list[str], seconds: float) -> int:
    """Run a fuzzer, print its last statistics, and return its exit status."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    shown = [line for line in lines if line.startswith(("stat::number_of", "INFO: Loaded"))]
    shown += [line for line in lines if " cov: " in line][-1:]
    print(f"{target}: {seconds:.0f} s, exit status {done.returncode}")
    print("\n".join(f"  {line}" for line in shown), flush=True)
    if done.returncode != 0:
        print("\n".join(lines[-60:]))
    return done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(_SHARES))
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--folder", type=Path, help="for the corpus and the inputs that fail")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"))
    args = parser.parse_args()
    if args.replay:
        from tests.fuzz.targets import TARGETS

        target, file = args.replay
        TARGETS[target](Path(file).read_bytes())
        return
    names = args.targets or list(_SHARES)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    seeds = None
    if "session" in names:
        from tests.fuzz.record import record

        seeds = folder / "seeds"
        print(f"{record(seeds)} seeds were recorded from the parity cases", flush=True)
    whole = sum(_SHARES[name] for name in names)
    found = [
        name
        for name in names
        if start(
            name,
            args.seconds * _SHARES[name] / whole,
            folder,
            seeds if name == "session" else None,
        )
    ]
    print(f"corpus and finds: {folder}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
