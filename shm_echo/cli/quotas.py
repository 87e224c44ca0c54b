"""The options that ``serve`` and ``run`` share: what a session may use, what operations weigh."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from shm_echo.cli import arguments

if TYPE_CHECKING:
    from shm_echo.mechestim.service.limits import Quotas

__all__ = ["add_options", "apply_environment", "apply_weights", "quotas_of"]

# Read by BLAS libraries once, when NumPy is imported.
_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Register them."""
    parser.add_argument(
        "--max-bytes",
        type=arguments.size,
        metavar="SIZE",
        help="arrays that one session may hold (default: 4G)",
    )
    parser.add_argument(
        "--max-call-bytes",
        type=arguments.size,
        metavar="SIZE",
        help="what one operation may take for its result and on the way to it (default: 4G)",
    )
    parser.add_argument(
        "--max-frame",
        type=arguments.size,
        metavar="SIZE",
        help="the longest message (default: 256M)",
    )
    parser.add_argument(
        "--max-handles",
        type=arguments.count,
        metavar="N",
        help="arrays and generators that one session may hold (default: 1048576)",
    )
    parser.add_argument(
        "--wall-time",
        type=arguments.seconds,
        metavar="S",
        help="seconds that one session may last (default: any time)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="JSON file: what the prices of operations are multiplied by (default: 1 everywhere)",
    )


def quotas_of(args: argparse.Namespace) -> Quotas:
    """The limits that were asked for."""
    from shm_echo.mechestim.service.limits import Quotas

    given = {
        "max_bytes": args.max_bytes,
        "max_call_bytes": args.max_call_bytes,
        "max_frame": args.max_frame,
        "max_handles": args.max_handles,
        "wall_time_s": args.wall_time,
    }
    return replace(Quotas(), **{name: value for name, value in given.items() if value is not None})


def apply_environment(blas_threads: int | None) -> None:
    """Before NumPy is imported: this process computes, and does not ask another server to."""
    os.environ.pop("MECHESTIM_SERVER_URL", None)
    if blas_threads is not None:
        for name in _BLAS:
            os.environ[name] = str(blas_threads)


def apply_weights(path: str | None) -> None:
    """Use a weights file.

    Raises:
        ValueError: it is none.
    """
    if path is not None:
        from shm_echo.mechestim.accounting.settings import configure

        configure(weights=path)
