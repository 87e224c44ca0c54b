"""The build of the extension modules `_core_cffi` and `_core_cpython` of `shm_echo.ring`.

`_core_cffi` is the C core (csrc/*.c, csrc/ingress/*.c) through cffi in API mode; `_core_cpython` is
the CPython binding in this folder. pyproject.toml names both modules and this file's command, so
that every front end of setuptools runs it. The environment variable SHM_ECHO_WERROR=1 turns
compiler warnings into errors, as the project's own checks do.
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

BINDING = Path(__file__).resolve().parent
CORE = BINDING.parent
ROOT = CORE.parent
PREAMBLE = """
#include "shm_echo/api.h"
#include "shm_echo/broadcast.h"
#include "shm_echo/ingress.h"
#include "shm_echo/loader_ring.h"
"""


def make_ffi() -> FFI:
    """Return the cffi description of the C core."""
    ffi = FFI()
    ffi.cdef((BINDING / "core.cdef").read_text())
    ffi.set_source("shm_echo.ring._core_cffi", PREAMBLE)
    return ffi


def check_platform() -> None:
    """Reject the platforms for which no build works.

    Raises:
        PlatformError: the system is not Linux.
        PlatformError: the interpreter is a free-threaded one.
    """
    if not sys.platform.startswith("linux"):
        raise PlatformError("shm-echo runs on Linux only: it needs futexes, memfds and pidfds")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise PlatformError(
            "shm-echo does not support free-threaded Python: use the ordinary build of this version"
        )


def _paths(folder: Path, *patterns: str) -> list[str]:
    """Return the matching files, relative to the project, as setuptools requires."""
    return sorted(
        str(path.relative_to(ROOT)) for pattern in patterns for path in folder.glob(pattern)
    )


class BuildExt(build_ext):
    """Completes the extensions that pyproject.toml names, then builds them."""

    def finalize_options(self) -> None:
        check_platform()
        super().finalize_options()
        # A change of a file in `depends` rebuilds the module. The source distribution consists of
        # `sources` and `depends`, so this file and core.cdef get into it by being listed here.
        headers = _paths(CORE / "include", "shm_echo/*.h")
        for ext in self.extensions:
            if ext.name.endswith("._core_cffi"):
                ext.sources = [*_paths(CORE, "*.c"), *_paths(CORE / "ingress", "*.c")]
                headers += _paths(CORE / "ingress", "*.h")
                ext.depends = [*headers, *_paths(BINDING, "build.py", "core.cdef")]
            else:
                ext.sources = _paths(BINDING, "*.c")
                ext.depends = [*headers, *_paths(BINDING, "build.py", "*.h")]

    def build_extension(self, ext: Extension) -> None:
        import numpy

        flags = ["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"]
        if os.environ.get("SHM_ECHO_WERROR") == "1":
            flags.append("-Werror")
        ext.include_dirs = [str(CORE / "include")]
        if ext.name.endswith("._core_cffi"):
            generated = Path(self.build_temp) / "_core_cffi.c"
            generated.parent.mkdir(parents=True, exist_ok=True)
            make_ffi().emit_c_code(str(generated))
            ext.sources = [str(generated), *ext.sources]
            # Code that cffi generates casts between function types and leaves parameters unused.
            flags += ["-Wno-unused-parameter", "-Wno-cast-function-type"]
        else:
            ext.include_dirs += [str(BINDING), numpy.get_include()]
            # The macros of Python and NumPy leave out fields and parameters on purpose.
            flags += [
                "-Wno-missing-field-initializers",
                "-Wno-cast-function-type",
                "-Wno-unused-parameter",
            ]
        # For threads, and pthread_atfork, where they are not in the C library itself.
        ext.extra_link_args = ["-pthread"]
        ext.extra_compile_args = flags
        super().build_extension(ext)
