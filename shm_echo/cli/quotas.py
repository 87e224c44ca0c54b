"""The options that ``serve`` and ``run`` share, and the service that they make.

What a session may use, where it runs, what operations weigh. What differs are defaults, and who
the clients are.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from shm_echo.cli import arguments

if TYPE_CHECKING:
    from shm_echo.mechestim.service.limits import Quotas
    from shm_echo.mechestim.service.service import MechestimService

__all__ = ["add_options", "apply_environment", "apply_weights", "quotas_of", "service_of"]

# Read by BLAS libraries once, when NumPy is imported.
_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


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
        type=arguments.size,
        metavar="SIZE",
        help="memory of a session that is a process of its own (default: what it may hold)",
    )
    parser.add_argument(
        "--kernels",
        type=arguments.count,
        metavar="N",
        help="long operations at once, of all sessions on threads (default: the number of CPUs)",
    )
    parser.add_argument(
        "--blas-threads",
        type=arguments.count,
        default=blas_threads,
        metavar="N",
        help=(
            "threads of one BLAS call, for sessions on threads "
            f"(default: {'as the environment says' if blas_threads is None else blas_threads})"
        ),
    )


def service_of(
    args: argparse.Namespace,
    max_flops: int | None,
    max_sessions: int,
    max_sessions_per_user: int | None = None,
) -> MechestimService:
    """The service that was asked for.

    Raises:
        ValueError: the weights cannot be used.
    """
    from shm_echo.mechestim.service.service import MechestimService

    apply_weights(args.weights)
    return MechestimService(
        quotas_of(args, max_flops),
        max_sessions=max_sessions,
        max_sessions_per_user=max_sessions_per_user,
        isolation=args.isolation,
        kernels=args.kernels,
    )


def quotas_of(args: argparse.Namespace, max_flops: int | None = None) -> Quotas:
    """The limits that were asked for."""
    from shm_echo.mechestim.service.limits import Quotas

    given = {
        "max_flops": max_flops,
        "memory": args.memory,
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
