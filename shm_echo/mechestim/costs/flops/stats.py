"""Price rules of `stats`: a number of FLOPs for each point at which a distribution is evaluated.

The points are the elements of `x` (or of `q`), broadcast with the parameters. `PER_POINT` of
`shm_echo.mechestim.registry.stats` has the FLOPs of one point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shm_echo.mechestim.costs.operands import broadcast_operands, numel

Rule = Callable[..., int]

SHAPE_PARAMETERS: dict[str, tuple[str, ...]] = {"lognorm": ("s",), "truncnorm": ("a", "b")}
"""Parameters that a distribution takes besides `loc` and `scale`."""

_FLOAT = 8  # bytes of a float64

_TEMPORARIES = 16
"""A generous bound of the arrays, each as large as the result, that an evaluation holds at once."""


@dataclass(frozen=True)
class Points:
    """The points at which a call of `stats.<distribution>.<function>` evaluates.

    Attributes:
        names: The arguments in order; the last two, `loc` and `scale`, have defaults.
    """

    names: tuple[str, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> int:
        """Return the number of points.

        Raises:
            TypeError: an argument is unknown or missing.
            ValueError: the arguments do not broadcast.
        """
        return numel(broadcast_operands(*self.bind(args, kwargs)))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return the arguments without the defaults."""
        if len(args) > len(self.names) or not set(kwargs) <= set(self.names[len(args) :]):
            raise TypeError(f"takes {', '.join(self.names)}, each once")
        missing = [name for name in self.names[len(args) : -2] if name not in kwargs]
        if missing:
            raise TypeError(f"misses {', '.join(missing)}")
        return [*args, *kwargs.values()]


def points(distribution: str, function: str) -> Points:
    """Return the signature of `stats.<distribution>.<function>`."""
    first = "q" if function == "ppf" else "x"
    return Points((first, *SHAPE_PARAMETERS.get(distribution, ()), "loc", "scale"))


def price(distribution: str, function: str, each: int) -> Rule:
    """Return the price rule of `stats.<distribution>.<function>`: `each` FLOPs for every point."""
    evaluated = points(distribution, function)

    def rule(*args: Any, **kwargs: Any) -> int:
        return each * evaluated(*args, **kwargs)

    rule.__doc__ = f"`{each}*numel(output)`."
    return rule


def result_bytes(distribution: str, function: str) -> Rule:
    """Return the rule for the result: a float64 for each point."""
    evaluated = points(distribution, function)
    return lambda *args, **kwargs: _FLOAT * evaluated(*args, **kwargs)


def scratch_bytes(distribution: str, function: str) -> Rule:
    """Return the rule for the temporaries of the evaluation."""
    evaluated = points(distribution, function)
    return lambda *args, **kwargs: _TEMPORARIES * _FLOAT * evaluated(*args, **kwargs)
