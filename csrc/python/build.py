"""Builds the extension modules `_core` (csrc through cffi, API mode) and `_fast` (binding/).

pyproject.toml names them and this module's command; nothing else needs to be run. The environment
variable SHM_ECHO_WERROR=1 turns compiler warnings into errors, as the project's own checks do.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from cffi import FFI
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

ROOT = Path(__file__).resolve().parents[2]
RING = Path(__file__).resolve().parent
PREAMBLE = """
#include "shm_echo/api.h"
#include "shm_echo/broadcast.h"
"""


def make_ffi() -> FFI:
    """The cffi description of the C core."""
    ffi = FFI()
    ffi.cdef((RING / "core.cdef").read_text())
    ffi.set_source("shm_echo.ring._core", PREAMBLE)
    return ffi


def check_platform() -> None:
    """Refuse the builds that cannot work, with a sentence each.

    Raises:
        PlatformError: not Linux, or a free-threaded interpreter.
    """
    if not sys.platform.startswith("linux"):
        raise PlatformError("shm-echo runs on Linux only: it needs futexes, memfds and pidfds")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise PlatformError(
            "shm-echo does not support free-threaded Python: use the ordinary build of this version"
        )


def _paths(folder: Path, pattern: str) -> list[str]:
    """Relative to the project, as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in folder.glob(pattern))


class BuildExt(build_ext):
    """Completes the extensions that pyproject.toml names, then builds them."""

    def finalize_options(self) -> None:
        check_platform()
        super().finalize_options()
        headers = _paths(ROOT / "csrc" / "include", "shm_echo/*.h")
        for ext in self.extensions:
            if ext.name.endswith("._core"):
                ext.sources = _paths(ROOT / "csrc", "*.c")
                ext.depends = [*headers, *_paths(RING, "core.cdef")]
            else:
                ext.sources = _paths(RING / "binding", "*.c")
                ext.depends = [*headers, *_paths(RING / "binding", "*.h")]

    def build_extension(self, ext: Extension) -> None:
        import numpy

        flags = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"]
        if os.environ.get("SHM_ECHO_WERROR") == "1":
            flags.append("-Werror")
        ext.include_dirs = [str(ROOT / "csrc" / "include")]
        if ext.name.endswith("._core"):
            generated = Path(self.build_temp) / "_core.c"
            generated.parent.mkdir(parents=True, exist_ok=True)
            make_ffi().emit_c_code(str(generated))
            ext.sources = [str(generated), *ext.sources]
            # cffi's own code casts between function types, and leaves parameters unused.
            flags += ["-Wno-unused-parameter", "-Wno-cast-function-type"]
        else:
            ext.include_dirs += [str(RING / "binding"), numpy.get_include()]
            # Python's and NumPy's macros leave out fields and parameters on purpose.
            flags += [
                "-Wno-missing-field-initializers",
                "-Wno-cast-function-type",
                "-Wno-unused-parameter",
            ]
        ext.extra_compile_args = flags
        super().build_extension(ext)
