"""Labels for the operations inside a block, and decorators that enter a block around each call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from shm_echo.mechestim.accounting.account import AccountView
from shm_echo.mechestim.accounting.active_account import (
    active_view,
    current_view,
    labels,
    threads_inherit,
)

__all__ = ["decorate", "namespace"]

_F = TypeVar("_F", bound=Callable[..., Any])

# The views around the open blocks of this thread or task. The object does not hold them, because
# several threads may enter it at once.
_outer: ContextVar[tuple[AccountView, ...]] = ContextVar("mechestim_outer", default=())


class namespace:
    """Label the operations inside, as context manager or decorator; nests as `"outer.inner"`.

    A label changes how charges are booked, never how much is charged.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a namespace is a str that is not empty, got {name!r}")
        self._name = name

    def __enter__(self) -> namespace:
        threads_inherit()
        outer = current_view()
        label = self._name if outer.namespace is None else f"{outer.namespace}.{self._name}"
        _outer.set((*_outer.get(), outer))
        labels.set((*labels.get(), self._name))
        active_view.set(outer.account.view(label))
        return self

    def __exit__(self, *_: object) -> None:
        *before, outer = _outer.get()
        active_view.set(outer)
        labels.set(labels.get()[:-1])
        _outer.set(tuple(before))

    def __call__(self, function: _F) -> _F:
        return decorate(function, lambda: namespace(self._name))


def decorate(function: _F, make: Callable[[], Any]) -> _F:
    """Return `function`, plain or async, with each call inside a fresh `make()`.

    Raises:
        TypeError: `function` is a generator function.
    """
    import inspect  # takes longer to import than this whole package

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__name__} is a generator function: its body runs later, outside of the "
            "block that this decorator enters. Use a `with` block in it, or around the loop that "
            "runs it."
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            with make():
                return await function(*args, **kwargs)

        return cast(_F, run_async)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return cast(_F, run)
