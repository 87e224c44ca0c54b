"""The order of an einsum's steps, for prices that are computed in this process.

A client needs no opt_einsum: its server, which would execute the path, finds it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from shm_echo.mechestim.costs.subscripts import Contraction
from shm_echo.mechestim.remote import session


def find(contraction: Contraction, optimize: Hashable) -> Any:
    """The steps, as lists of positions."""
    inputs = [list(term) for term in contraction.inputs]
    output = list(contraction.output)
    return session.word("session.path", inputs, output, contraction.sizes, optimize)
