"""In which order an einsum contracts its operands.

A path is a tuple of steps; each step names the positions of the operands that it contracts, and its
result goes to the end of the list. opt_einsum finds the path of three operands and more; one or two
leave nothing to choose, so that the import is only paid by who needs it.
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

_MOST_OPERANDS = {"optimal": 8, "branch-all": 9, "branch-2": 16, "dp": 20}
"""How many operands an exhaustive search is given: one more may take it minutes."""


def normalize_optimize(optimize: Any) -> Hashable:
    """`optimize=` as a key: a name, `(name, memory_limit)`, a path, or `False`.

    Takes what NumPy takes (`True`, `False`, a name, `(name, memory_limit)` and
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
    """The path for `optimize` as `normalize_optimize` gives it.

    Args:
        search: finds it where there is something to choose; that of local or remote mode, whichever
            this process is in, if left out.
    """
    count = len(contraction.inputs)
    if isinstance(optimize, tuple) and not (optimize and isinstance(optimize[0], str)):
        return _checked(optimize, count)
    if count <= 2 or optimize is False:
        return (tuple(range(count)),)
    given = optimize if isinstance(optimize, tuple) else (optimize, None)
    name, limit = str(given[0]), given[1]
    most = _MOST_OPERANDS.get(name)
    if most is not None and count > most:
        raise ValueError(
            f"optimize={name!r} would search too long for {count} operands (at most {most}); "
            "'auto', 'auto-hq' and 'greedy' take any number"
        )
    return _checked(
        (search or backend_choice.backend().paths.search)(contraction, name, limit), count
    )


def _checked(path: Iterable[Iterable[int]], count: int) -> Path:
    """`path` with positions that exist, down to one operand."""
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
