"""The order of an einsum's steps, for prices that are computed in this process.

A client needs no opt_einsum: the server, which would execute the path, searches for it.
"""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs.subscripts import Contraction
from shm_echo.mechestim.remote import client_session


def search(contraction: Contraction, name: str, memory_limit: int | None) -> Any:
    """Return the steps, as lists of positions.

    Args:
        contraction: A contraction of three operands or more.
        name: The name of the search, such as `"greedy"`.
        memory_limit: The elements of the largest intermediate; None for no limit.
    """
    inputs = [list(term) for term in contraction.inputs]
    output = list(contraction.output)
    optimize = name if memory_limit is None else (name, memory_limit)
    return client_session.session_call("session.path", inputs, output, contraction.sizes, optimize)
