"""The order of an einsum's steps, for prices that are computed in this process.

A client needs no opt_einsum: its server, which would execute the path, finds it.
"""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs.subscripts import Contraction
from shm_echo.mechestim.remote import client_session


def search(contraction: Contraction, name: str, memory_limit: int | None) -> Any:
    """The steps, as lists of positions.

    Args:
        contraction: of three operands or more.
        name: of the way to search, such as ``"greedy"``.
        memory_limit: elements of the largest intermediate; None for no limit.
    """
    inputs = [list(term) for term in contraction.inputs]
    output = list(contraction.output)
    how = name if memory_limit is None else (name, memory_limit)
    return client_session.word("session.path", inputs, output, contraction.sizes, how)
