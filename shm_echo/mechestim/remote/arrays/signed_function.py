"""Signatures of NumPy for functions that pass on any arguments."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.registry._signatures_generated import SIGNATURES
from shm_echo.mechestim.remote import client_session


class SignedFunction:
    """The `__wrapped__` of a function; `inspect` reads the signature from here.

    The signature is made when it is first read: `inspect` takes long to import.

    Example:
        >>> SignedFunction("sort").__signature__.parameters["axis"].default
        -1
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __signature__(self) -> Any:
        import inspect

        # The table is part of this package, and its entries are parameter lists of Python.
        function = eval(f"lambda {SIGNATURES[self._name][1:-1]}: None")
        return inspect.signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return client_session.call(self._name, *args, **kwargs)
