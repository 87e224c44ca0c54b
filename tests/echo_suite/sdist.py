"""Fetches the sources of id-echo 0.2.1, which hold its tests, without building them.

pip downloads the sdist from the index that the user has configured, and then asks its build backend
for the name and version. The real backend needs a Rust compiler, so a module that knows the answer
stands in its place.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["SdistError", "fetch", "unpack"]

NAME, VERSION = "id-echo", "0.2.1"
FILE = f"id_echo-{VERSION}.tar.gz"
SHA256 = "44ae5848f1f531c08540fad27b60ef180afe1b1408982da347587a5c33c08da9"

_BACKEND = f"""
import os

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name = "id_echo-{VERSION}.dist-info"
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n")
    return name
"""


class SdistError(Exception):
    """The sources could not be had, or are not the expected ones."""


def fetch(folder: Path) -> Path:
    """Download the sdist into `folder`, and return its path.

    Raises:
        SdistError: pip failed; the message has its last lines.
    """
    backend = folder / "backend"
    backend.mkdir(parents=True)
    (backend / "maturin.py").write_text(_BACKEND)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", NAME]
    command += ["--no-deps", "--no-build-isolation", "--dest", str(folder), f"{NAME}=={VERSION}"]
    environment = {**os.environ, "PYTHONPATH": str(backend)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    path = folder / FILE
    if done.returncode != 0 or not path.exists():
        raise SdistError(f"pip could not download {FILE}:\n{(done.stdout + done.stderr)[-2000:]}")
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Unpack the sdist into `folder`, and return the folder of its sources.

    Raises:
        SdistError: the file is not the sdist of this version.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SdistError(f"{path} is not {FILE}: its SHA-256 is {digest}, not {SHA256}")
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:  # Python 3.10 and 3.11 before their backports; the digest was checked
            archive.extractall(folder)
    return folder / f"id_echo-{VERSION}"
