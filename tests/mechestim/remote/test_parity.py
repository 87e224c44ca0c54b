"""The same calls in both modes: values to the last bit, dtypes, shapes, errors, warnings and
FLOPs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mechestim.remote.serving import Serving, serving

ROOT = Path(__file__).resolve().parents[3]

# A client must not need what it is said not to need.
_WITHOUT = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "optree", "cffi", "posix_ipc"):
            raise ModuleNotFoundError(f"{name} is not for clients", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

# Calls that differ for a reason, which docs/mechestim/client.md gives.
_KNOWN = ("fromregex(", "random.Generator.bit_generator(")


def played(arguments: list[str], server: Serving | None) -> list[dict[str, Any]]:
    """What the player writes, run locally or as a client of ``server``."""
    module = "tests.mechestim.remote.player"
    environment = {k: v for k, v in os.environ.items() if k != "MECHESTIM_SERVER_URL"}
    command = [sys.executable, "-m", module]
    if server is not None:
        environment["MECHESTIM_SERVER_URL"] = server.url
        command = [sys.executable, "-c", _WITHOUT, module]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def differences(per_op: int) -> list[str]:
    """Every way in which a case went differently."""
    with serving() as server:
        local, remote = played([str(per_op)], None), played([str(per_op)], server)
    names = {outcome["case"].partition("(")[0] for outcome in local}
    remote = [outcome for outcome in remote if outcome["case"].partition("(")[0] in names]
    assert len(local) == len(remote) > 500
    found = []
    for here, there in zip(local, remote, strict=True):
        if here != there and not here["case"].startswith(_KNOWN):
            parts = [key for key in {*here, *there} if here.get(key) != there.get(key)]
            found += [f"{here['case']}: {k}: {here.get(k)} / {there.get(k)}" for k in parts]
    return found


def test_every_operation_gives_the_same_in_both_modes() -> None:
    assert differences(2) == []


@pytest.mark.nightly
def test_every_case_gives_the_same_in_both_modes() -> None:
    assert differences(10_000) == []
