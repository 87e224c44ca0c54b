"""References to the rules of `costs`; a rule's module is imported when the rule is first needed.

A client needs the names of operations and never a price, and a program uses a few operations out
of several hundred. `flops.sorting.sort` is therefore a `LazyRule`: it holds the module and the
name, and `resolved` imports it. Calling a `LazyRule` records the arguments, for rules that a
factory makes: `memory.bounds.copies(2)`. Type checkers see the real functions, so a wrong name or
argument is found before anything runs; a test resolves every rule.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["LazyModule", "LazyRule", "resolved"]


class LazyRule:
    """A rule that is imported when it is first needed.

    Three forms: a name in a module; the result of calling another `LazyRule`; an item of one.

    Args:
        origin: the module's name, or the `LazyRule` that is called or indexed.
        selector: the name in the module, the positional arguments or, without `options`, the index.
        options: the keyword arguments of the call.
    """

    __slots__ = ("_found", "_options", "_origin", "_selector")
    _found: Any

    def __init__(
        self, origin: str | LazyRule, selector: Any, options: dict[str, Any] | None = None
    ) -> None:
        self._origin = origin
        self._selector = selector
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> LazyRule:
        return LazyRule(self, args, kwargs)

    def __getitem__(self, index: int) -> LazyRule:
        return LazyRule(self, index)

    def resolve(self) -> Any:
        """Return the rule that this stands for; the same object every time."""
        try:
            return self._found
        except AttributeError:
            self._found = self._find()
            return self._found

    def _find(self) -> Any:
        if isinstance(self._origin, str):
            return getattr(importlib.import_module(self._origin), self._selector)
        found = self._origin.resolve()
        if self._options is None:
            return found[self._selector]
        options = {name: resolved(value) for name, value in self._options.items()}
        return found(*map(resolved, self._selector), **options)


class LazyModule:
    """A module of `costs` that has not been imported yet."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> LazyRule:
        if name.startswith("__"):
            raise AttributeError(name)
        found = LazyRule(self._name, name)
        setattr(self, name, found)  # the next entry that names this rule gets the same object
        return found


def resolved(rule: Any) -> Any:
    """Return the rule itself, also where `rule` is a `LazyRule`."""
    return rule.resolve() if isinstance(rule, LazyRule) else rule
