"""Price rules of `stats`: so many FLOPs for each point at which a distribution is asked.

The points are the elements of `x` (of `q`) broadcast with the parameters. What one point costs
is in `PER_POINT` of `shm_echo.mechestim.registry.stats`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shm_echo.mechestim.costs.operands import broadcast_operands, numel

Rule = Callable[..., int]

SHAPE_PARAMETERS: dict[str, tuple[str, ...]] = {"lognorm": ("s",), "truncnorm": ("a", "b")}
"""Parameters that a distribution takes beside ``loc`` and ``scale``."""

_FLOAT = 8

_TEMPORARIES = 16
"""Arrays as large as the result that the longest evaluation holds at once, generously."""


@dataclass(frozen=True)
class Points:
    """The points that a call of `stats.<distribution>.<function>` asks for.

    Attributes:
        names: The arguments in order; the last two, `loc` and `scale`, have defaults.
    """

    names: tuple[str, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        """Return the number of results; raise when the arguments do not fit together."""
        return numel(broadcast_operands(*self.bind(args, kwargs)))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments in order, without the defaults."""
        if len(args) > len(self.names) or not set(kwargs) <= set(self.names[len(args) :]):
            raise TypeError(f"takes {', '.join(self.names)}, each once")
        missing = [name for name in self.names[len(args) : -2] if name not in kwargs]
        if missing:
            raise TypeError(f"misses {', '.join(missing)}")
        return [*args, *kwargs.values()]


def points(distribution: str, function: str) -> Points:
    """The signature of `stats.<distribution>.<function>`."""
    first = "q" if function == "ppf" else "x"
    return Points((first, *SHAPE_PARAMETERS.get(distribution, ()), "loc", "scale"))


def price(distribution: str, function: str, each: int) -> Rule:
    """The price rule of `stats.<distribution>.<function>`: `each` FLOPs for every point."""
    asked = points(distribution, function)

    def rule(*args: Any, **kwargs: Any) -> int:
        return each * asked(*args, **kwargs)

    rule.__doc__ = f"``{each}*numel(output)``."
    return rule


def result_bytes(distribution: str, function: str) -> Rule:
    """The rule for the result: a float64 for each point."""
    asked = points(distribution, function)
    return lambda *args, **kwargs: _FLOAT * asked(*args, **kwargs)


def scratch_bytes(distribution: str, function: str) -> Rule:
    """The rule for the temporaries of the evaluation."""
    asked = points(distribution, function)
    return lambda *args, **kwargs: _TEMPORARIES * _FLOAT * asked(*args, **kwargs)
