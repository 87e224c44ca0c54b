"""Builds what a release would publish, and tries each form in a fresh environment.

    python tools/release_check.py [--keep FOLDER]

The sdist is built from the checkout and the wheel from the sdist, as a release does it, and the
client's wheel from `packaging/client`; twine checks all three. Then each is installed into an
environment of its own, away from the checkout. The sdist and the wheel run the demo and the smoke
tests there; the client, without NumPy, runs the first example against a server that the wheel
starts. Needs the packages `build` and `twine`; `tox -e release-check` brings them. The exit status
is 0 when everything passed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    """Run a command and show it.

    Args:
        command: the program and its arguments.
        cwd: the folder to run it in.
        variables: of its environment, beside those of this process.

    Raises:
        subprocess.CalledProcessError: its exit status is not 0.
    """
    print("+", *command, flush=True)
    # Nothing of the checkout may be imported by accident.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(part) for part in command], cwd=cwd, env=env | variables, check=True)


def build(folder: Path) -> tuple[Path, Path, Path]:
    """Build the sdist, the wheel from the sdist, and the client's wheel. Returns their paths."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    client = ROOT / "packaging" / "client"
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, client, cwd=folder)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(folder.iterdir()), cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("shm_echo-*.whl")
    (client_wheel,) = folder.glob("mechestim_client-*.whl")
    return sdist, wheel, client_wheel


def install(requirement: str, folder: Path) -> Path:
    """Install a distribution into a fresh environment. Returns its interpreter."""
    folder.mkdir()
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", requirement, cwd=folder)
    return python


def try_out(distribution: Path, folder: Path) -> Path:
    """Use a fresh installation of a distribution. Returns its interpreter."""
    python = install(f"{distribution}[demo,test]", folder)
    run(python, "-c", "import shm_echo.ring.core; import mechestim; mechestim.ones(3)", cwd=folder)
    run(folder / "venv" / "bin" / "shm-echo", "demo", "--seconds", "20", cwd=folder)
    # The tests come from the checkout, and the package from the environment.
    for name in ("conftest.py", "smoke", "support"):
        source = ROOT / "tests" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (folder / "tests").mkdir(exist_ok=True)
        copy(source, folder / "tests" / name)
    (folder / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n"
    )
    run(python, "-m", "pytest", "-q", "tests/smoke", cwd=folder)
    return python


def try_client(wheel: Path, folder: Path, server: Path) -> None:
    """Run a program with the client alone, whose server another installation starts.

    Args:
        wheel: the client's wheel.
        folder: where its environment is made.
        server: the interpreter of an environment with shm-echo.
    """
    python = install(str(wheel), folder)
    without_numpy = "import importlib.util as u; assert u.find_spec('numpy') is None"
    run(python, "-c", without_numpy, cwd=folder)
    url = f"ipc://{folder}/server.sock"
    serve = [str(server.with_name("shm-echo")), "serve", "--url", url]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            print("+", *serve, "\n" + serving.stdout.readline(), end="")  # it is ready now
            program = ROOT / "examples" / "metered" / "seed.py"
            run(python, program, cwd=folder, MECHESTIM_SERVER_URL=url)
        finally:
            serving.terminate()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave what was built here")
    keep = parser.parse_args(argv).keep
    with tempfile.TemporaryDirectory(prefix="shm-echo-release-") as scratch:
        built = Path(keep or Path(scratch) / "dist").resolve()
        built.mkdir(parents=True, exist_ok=True)
        try:
            sdist, wheel, client_wheel = build(built)
            try_out(sdist, Path(scratch) / "sdist")
            python = try_out(wheel, Path(scratch) / "wheel")
            try_client(client_wheel, Path(scratch) / "client", python)
        except subprocess.CalledProcessError as error:
            print(f"release_check: {error.cmd[0]} ended with status {error.returncode}")
            return 1
    print("release_check: the sdist and both wheels are ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
