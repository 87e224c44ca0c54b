"""The order of an einsum's steps, found by opt_einsum."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs.subscripts import Contraction


def search(contraction: Contraction, name: str, memory_limit: int | None) -> Any:
    """The steps, as tuples of positions.

    Args:
        contraction: of three operands or more.
        name: of the way to search, such as `"greedy"`.
        memory_limit: elements of the largest intermediate; None or a negative number for no limit.
    """
    from opt_einsum.paths import get_path_fn  # not paid by those who never come here

    return get_path_fn(name)(
        [frozenset(term) for term in contraction.inputs],
        frozenset(contraction.output),
        dict(contraction.sizes),
        memory_limit if memory_limit is None or memory_limit >= 0 else None,
    )
