"""The distributions of `mechestim.stats`, such as `norm`: objects whose methods are operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Distribution"]


class Distribution:
    """A distribution of `mechestim.stats`: its methods are operations.

    Args:
        name: `"norm"`.
        member: finds the function of an operation by its dotted name, or raises KeyError.
    """

    def __init__(self, name: str, member: Callable[[str], Any]) -> None:
        self._name = name
        self._member = member

    def __getattr__(self, method: str) -> Any:
        try:
            return self._member(f"stats.{self._name}.{method}")
        except KeyError:
            raise AttributeError(
                f"mechestim.stats.{self._name} has pdf, cdf and ppf, not {method!r}", name=method
            ) from None

    def __dir__(self) -> list[str]:
        return ["cdf", "pdf", "ppf"]

    def __repr__(self) -> str:
        return f"<mechestim.stats.{self._name}>"
