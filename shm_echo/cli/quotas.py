"""The options that `serve` and `run` share, and the service that both make of them.

The options limit the resources of a session, choose where sessions run, and set the weights of
operations. The two commands differ in some defaults.
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

__all__ = ["add_options", "apply_environment", "apply_weights", "make_quotas", "make_service"]

# Read by BLAS libraries once, when NumPy is imported.
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")

# A worker process and its BLAS need this much before they compute anything.
_MIN_MEMORY = 64 << 20
_MIN_FRAME = 4096  # room for any message without array contents


def add_options(
    parser: argparse.ArgumentParser,
    isolation: str | None,
    isolation_text: str,
    blas_threads: int | None,
) -> None:
    """Add the options to a command's parser.

    Args:
        parser: the parser.
        isolation: the default of `--isolation`; None leaves the choice to the service.
        isolation_text: that default in words, for the help.
        blas_threads: the default of `--blas-threads`; None leaves the environment as it is.
    """
    _add_limits(parser)
    _add_hosting(parser, isolation, isolation_text, blas_threads)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-bytes",
        type=arguments.size,
        metavar="SIZE",
        help=(
            "most bytes of arrays that one session may hold, such as 512M or 4G; units are powers "
            "of 1024 (default: 4G)"
        ),
    )
    parser.add_argument(
        "--max-call-bytes",
        type=arguments.size,
        metavar="SIZE",
        help="most bytes that one operation may take, for its result and temporary arrays "
        "(default: 4G)",
    )
    parser.add_argument(
        "--max-frame",
        type=functools.partial(arguments.size, minimum=_MIN_FRAME),
        metavar="SIZE",
        help="most bytes of one message; at least 4K (default: 256M)",
    )
    parser.add_argument(
        "--max-handles",
        type=arguments.count,
        metavar="N",
        help="most arrays and generators that one session may hold (default: 1048576)",
    )
    parser.add_argument(
        "--wall-time",
        type=arguments.seconds,
        metavar="S",
        help="most seconds that one session may last, such as 90 or 0.5 (default: no limit)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="JSON file with factors for the FLOP costs of operations (default: 1 for each)",
    )


def _add_hosting(
    parser: argparse.ArgumentParser,
    isolation: str | None,
    isolation_text: str,
    blas_threads: int | None,
) -> None:
    parser.add_argument(
        "--isolation",
        choices=("threads", "process"),
        default=isolation,
        help=(
            "run sessions on threads of the server, or each in a process of its own "
            f"(default: {isolation_text})"
        ),
    )
    parser.add_argument(
        "--memory",
        type=functools.partial(arguments.size, minimum=_MIN_MEMORY),
        metavar="SIZE",
        help=(
            "most bytes of memory of a session in a process of its own, in addition to its "
            "interpreter; at least 64M (default: the sum of --max-bytes and --max-call-bytes)"
        ),
    )
    parser.add_argument(
        "--kernels",
        type=arguments.count,
        metavar="N",
        help=(
            "most long operations at once, over all sessions on threads (default: the number of "
            "CPUs)"
        ),
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


def make_service(
    args: argparse.Namespace,
    max_flops: int | None,
    max_sessions: int,
    max_sessions_per_user: int | None = None,
) -> MechEstimService:
    """Make the service that the options describe.

    Raises:
        ValueError: the weights file cannot be used.
    """
    from shm_echo.mechestim.service.server import MechEstimService

    apply_weights(args.weights)
    return MechEstimService(
        make_quotas(args, max_flops),
        max_sessions=max_sessions,
        max_sessions_per_user=max_sessions_per_user,
        isolation=args.isolation,
        kernels=args.kernels,
    )


def make_quotas(args: argparse.Namespace, max_flops: int | None = None) -> Quotas:
    """Make the quotas that the options describe."""
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
    # Without --memory a process gets max_bytes + max_call_bytes, which may be too little to start.
    if args.memory is None and quotas.max_bytes + quotas.max_call_bytes < _MIN_MEMORY:
        quotas = replace(quotas, memory=_MIN_MEMORY)
    return quotas


def apply_environment(blas_threads: int | None) -> None:
    """Set the environment of a server. Call it before NumPy is imported.

    Without MECHESTIM_SERVER_URL this process computes itself instead of asking another server.
    """
    os.environ.pop("MECHESTIM_SERVER_URL", None)
    if blas_threads is not None:
        for name in _BLAS_VARIABLES:
            os.environ[name] = str(blas_threads)


def apply_weights(path: str | None) -> None:
    """Use a weights file, if there is one.

    Raises:
        ValueError: the file cannot be read, or holds no weights.
    """
    if path is not None:
        from shm_echo.mechestim.accounting.settings import configure

        configure(weights=path)
