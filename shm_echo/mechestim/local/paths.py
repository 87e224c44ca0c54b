"""The order of an einsum's steps, found by opt_einsum."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs.subscripts import Contraction


def search(contraction: Contraction, name: str, memory_limit: int | None) -> Any:
    """Return the steps, as tuples of positions.

    Args:
        contraction: A contraction of three operands or more.
        name: The search method, such as `"greedy"`.
        memory_limit: The most elements of an intermediate; None or a negative number for no limit.
    """
    from opt_einsum.paths import get_path_fn  # slow to import, and rarely needed

    return get_path_fn(name)(
        [frozenset(term) for term in contraction.inputs],
        frozenset(contraction.output),
        dict(contraction.sizes),
        memory_limit if memory_limit is None or memory_limit >= 0 else None,
    )
