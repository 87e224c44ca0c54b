"""The options that ``serve`` and ``run`` share, and the service that they make.

What a session may use, where it runs, what operations weigh. What differs are defaults, and who
the clients are.
"""

from __future__ import annotations

import argparse
import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from shm_echo.cli import arguments

if TYPE_CHECKING:
    from shm_echo.mechestim.service.metering.quotas import Quotas
    from shm_echo.mechestim.service.server import MechEstimService

__all__ = ["add_options", "apply_environment", "apply_weights", "quotas_of", "service_of"]

# Read by BLAS libraries once, when NumPy is imported.
_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")

# What a worker process and its BLAS take before they compute anything.
_LEAST_MEMORY = 64 << 20
_LEAST_FRAME = 4096  # of a message without contents


def add_options(
    parser: argparse.ArgumentParser,
    isolation: str | None,
    isolation_told: str,
    blas_threads: int | None,
) -> None:
    """Register them.

    Args:
        parser: of the command.
        isolation: its default.
        isolation_told: the same, as words.
        blas_threads: the default; None leaves them as they are.
    """
    parser.add_argument(
        "--max-bytes",
        type=arguments.size,
        metavar="SIZE",
        help=(
            "bytes of arrays that one session may hold, such as 512M or 4G, powers of 1024 "
            "(default: 4G)"
        ),
    )
    parser.add_argument(
        "--max-call-bytes",
        type=arguments.size,
        metavar="SIZE",
        help="bytes that one operation may take for its result and on the way to it (default: 4G)",
    )
    parser.add_argument(
        "--max-frame",
        type=functools.partial(arguments.size, least=_LEAST_FRAME),
        metavar="SIZE",
        help="bytes of the longest message; at least 4K (default: 256M)",
    )
    parser.add_argument(
        "--max-handles",
        type=arguments.count,
        metavar="N",
        help="number of arrays and generators that one session may hold (default: 1048576)",
    )
    parser.add_argument(
        "--wall-time",
        type=arguments.seconds,
        metavar="S",
        help="seconds that one session may last, such as 90 or 0.5 (default: any time)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="JSON file: what the prices of operations are multiplied by (default: 1 everywhere)",
    )
    parser.add_argument(
        "--isolation",
        choices=("threads", "process"),
        default=isolation,
        help=(
            "where sessions run: on threads of the server, or each in a process of its own "
            f"(default: {isolation_told})"
        ),
    )
    parser.add_argument(
        "--memory",
        type=functools.partial(arguments.size, least=_LEAST_MEMORY),
        metavar="SIZE",
        help=(
            "bytes of memory of a session that is a process of its own, beside what its "
            "interpreter takes; at least 64M (default: --max-bytes and --max-call-bytes together)"
        ),
    )
    parser.add_argument(
        "--kernels",
        type=arguments.count,
        metavar="N",
        help=(
            "number of long operations at once, of all sessions on threads (default: the number of "
            "CPUs)"
        ),
    )
    parser.add_argument(
        "--blas-threads",
        type=arguments.count,
        default=blas_threads,
        metavar="N",
        help=(
            "number of threads of one BLAS call, for sessions on threads "
            f"(default: {'as the environment says' if blas_threads is None else blas_threads})"
        ),
    )


def service_of(
    args: argparse.Namespace,
    max_flops: int | None,
    max_sessions: int,
    max_sessions_per_user: int | None = None,
) -> MechEstimService:
    """The service that was asked for.

    Raises:
        ValueError: the weights cannot be used.
    """
    from shm_echo.mechestim.service.server import MechEstimService

    apply_weights(args.weights)
    return MechEstimService(
        quotas_of(args, max_flops),
        max_sessions=max_sessions,
        max_sessions_per_user=max_sessions_per_user,
        isolation=args.isolation,
        kernels=args.kernels,
    )


def quotas_of(args: argparse.Namespace, max_flops: int | None = None) -> Quotas:
    """The limits that were asked for."""
    from shm_echo.mechestim.service.metering.quotas import Quotas

    given = {
        "max_flops": max_flops,
        "memory": args.memory,
        "max_bytes": args.max_bytes,
        "max_call_bytes": args.max_call_bytes,
        "max_frame": args.max_frame,
        "max_handles": args.max_handles,
        "wall_time_s": args.wall_time,
    }
    quotas = replace(
        Quotas(), **{name: value for name, value in given.items() if value is not None}
    )
    if args.memory is None and quotas.max_bytes + quotas.max_call_bytes < _LEAST_MEMORY:
        quotas = replace(quotas, memory=_LEAST_MEMORY)
    return quotas


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
