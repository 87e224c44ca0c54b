"""The order in which an einsum contracts its operands.

A path is a tuple of steps; each step names the positions of the operands that it contracts, and its
result goes to the end of the list. opt_einsum finds the path of three or more operands; one or two
leave no choice, so they do not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from operator import index
from typing import Any

from shm_echo.mechestim import backend_choice
from shm_echo.mechestim.costs.subscripts import Contraction

Step = tuple[int, ...]
Path = tuple[Step, ...]

OPTIMIZERS = (
    "auto",
    "auto-hq",
    "optimal",
    "branch-all",
    "branch-2",
    "greedy",
    "dp",
    "random-greedy",
    "random-greedy-128",
)

_MAX_OPERANDS = {"optimal": 8, "branch-all": 9, "branch-2": 16, "dp": 20}
"""The most operands of each exhaustive search: with one more it may take minutes."""


def normalize_optimize(optimize: Any) -> Hashable:
    """Return `optimize=` as a key: a name, `(name, memory_limit)`, a path, or `False`.

    Accepts the forms of NumPy (`True`, `False`, a name, `(name, memory_limit)` and
    `['einsum_path', (0, 1), ...]`), opt_einsum's names, and a plain list of steps.
    """
    if optimize is True or optimize is None:
        return "auto"
    if optimize is False:
        return False
    if isinstance(optimize, str):
        return _known(optimize)
    if not isinstance(optimize, (list, tuple)):
        raise TypeError(f"optimize must be a bool, a name or a path, not {optimize!r}")
    if optimize and isinstance(optimize[0], str):
        if optimize[0] == "einsum_path":
            return _steps(optimize[1:])
        if len(optimize) != 2 or not isinstance(optimize[1], (int, float)):
            raise TypeError(f"optimize must be (name, memory_limit) or a path, not {optimize!r}")
        return _known(optimize[0]), int(optimize[1])
    return _steps(optimize)


def _known(name: str) -> str:
    if name not in OPTIMIZERS:
        raise ValueError(f"optimize={name!r} is not one of {', '.join(OPTIMIZERS)}")
    return name


def _steps(path: Iterable[Any]) -> Path:
    try:
        return tuple(tuple(index(position) for position in step) for step in path)
    except TypeError:
        raise TypeError(f"an einsum path is a list of tuples of positions, not {path!r}") from None


def find_path(
    contraction: Contraction, optimize: Hashable, search: Callable[..., Any] | None = None
) -> Path:
    """Return the path of a contraction.

    Args:
        contraction: The contraction.
        optimize: A result of `normalize_optimize`.
        search: Finds the path if there is a choice; by default the search of the active backend.
    """
    count = len(contraction.inputs)
    if isinstance(optimize, tuple) and not (optimize and isinstance(optimize[0], str)):
        return _checked(optimize, count)
    if count <= 2 or optimize is False:
        return (tuple(range(count)),)
    given = optimize if isinstance(optimize, tuple) else (optimize, None)
    name, limit = str(given[0]), given[1]
    most = _MAX_OPERANDS.get(name)
    if most is not None and count > most:
        raise ValueError(
            f"optimize={name!r} would search too long for {count} operands (at most {most}); "
            "'auto', 'auto-hq' and 'greedy' take any number"
        )
    return _checked(
        (search or backend_choice.backend().paths.search)(contraction, name, limit), count
    )


def _checked(path: Iterable[Iterable[int]], count: int) -> Path:
    """Return `path` with positions counted from the front.

    Raises:
        ValueError: a step names an operand that does not exist.
        RuntimeError: the path leaves more than one operand.
    """
    left = count
    checked = []
    for step in path:
        positions = tuple(sorted({index(p) % left if -left <= p < left else -1 for p in step}))
        if not positions or positions[0] < 0 or len(positions) != len(tuple(step)):
            raise ValueError(
                f"einsum path step {tuple(step)} does not fit the {left} operands left"
            )
        checked.append(positions)
        left += 1 - len(positions)
    if left != 1:
        raise RuntimeError(
            f"the einsum path leaves {left} operands: {left - 1} more are to be contracted"
        )
    return tuple(checked)
