"""The same calls in both modes: values to the last bit, dtypes, shapes, errors, warnings and
FLOPs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.mechestim.errors import NO_OBJECTS
from tests.mechestim.remote.client_script import ROOT, environment, run_client
from tests.mechestim.remote.server_process import RunningServer, run_server
from tests.support.watchdog import patient_watchdog

_RUN = "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"

# docs/how-to/client.md names this difference: a client gets this error for an object array.
_REFUSED = ["TypeError", NO_OBJECTS]

# NumPy 2.0 has another text for this error than later versions, whose text clients have.
_NUMPY_2_0 = ["AttributeError", "type object 'int' has no attribute '__dlpack__'"]


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Replace the watchdog: all cases are one test."""
    with patient_watchdog():
        yield


def outcomes(arguments: list[str], server: RunningServer | None) -> list[dict[str, Any]]:
    """Run the cases, locally or as a client of `server`, and return their outcomes."""
    module = "tests.mechestim.remote.parity_runner"
    if server is not None:
        done = run_client(server.url, f"sys.argv.pop(0); {_RUN}", module, *arguments, timeout=1000)
    else:
        variables = environment("")
        del variables["MECHESTIM_SERVER_URL"]
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=1000,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def makes_objects(outcome: dict[str, Any]) -> bool:
    """Return True if the result is an array of Python objects."""
    result = outcome.get("result") or [None]
    return result[0] == "array" and result[1] == "object"


def differences(per_op: int) -> list[str]:
    """Return the differences between the outcomes of the two modes."""
    with run_server() as server:
        local, remote = outcomes([str(per_op)], None), outcomes([str(per_op)], server)
    names = {outcome["case"].partition("(")[0] for outcome in local}
    remote = [outcome for outcome in remote if outcome["case"].partition("(")[0] in names]
    assert len(local) == len(remote) > 500
    found = []
    for here, there in zip(local, remote, strict=True):
        refused = there.get("error") == _REFUSED and makes_objects(here)
        if here != there and not refused and here.get("error") != _NUMPY_2_0:
            parts = [key for key in {*here, *there} if here.get(key) != there.get(key)]
            found += [f"{here['case']}: {k}: {here.get(k)} / {there.get(k)}" for k in parts]
    return found


def test_every_case_gives_the_same_in_both_modes() -> None:
    assert differences(10_000) == []
