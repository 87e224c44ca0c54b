"""Builds what a release would publish, and tries each form in a fresh environment.

    python tools/release_check.py [--keep FOLDER]

The sdist is built from the checkout and the wheel from the sdist, as a release does it; twine
checks both. Then each is installed into an environment of its own, away from the checkout, which
runs the demo and the smoke tests. Needs the packages `build` and `twine`; `tox -e release-check`
brings them. The exit status is 0 when everything passed.
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


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command and show it.

    Raises:
        subprocess.CalledProcessError: its exit status is not 0.
    """
    print("+", *command, flush=True)
    # Nothing of the checkout may be imported by accident.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=True)


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist. Returns both paths."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(folder.iterdir()), cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def try_out(distribution: Path, folder: Path) -> None:
    """Install a distribution into a fresh environment and use it there."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{distribution}[demo,test]", cwd=folder)
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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave what was built here")
    keep = parser.parse_args(argv).keep
    with tempfile.TemporaryDirectory(prefix="shm-echo-release-") as scratch:
        built = Path(keep or Path(scratch) / "dist").resolve()
        built.mkdir(parents=True, exist_ok=True)
        try:
            for distribution in build(built):
                folder = Path(scratch) / distribution.suffix.strip(".")
                folder.mkdir()
                try_out(distribution, folder)
        except subprocess.CalledProcessError as error:
            print(f"release_check: {error.cmd[0]} ended with status {error.returncode}")
            return 1
    print("release_check: the sdist and the wheel are ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
