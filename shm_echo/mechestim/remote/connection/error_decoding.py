"""Errors and warnings of the server as classes of this process.

NumPy's own classes have twins here, with the same names and bases, so that ``except
me.linalg.LinAlgError`` and ``except ValueError`` both work in a process that has no NumPy.
"""

from __future__ import annotations

import builtins
import os
import sys
import warnings
from typing import Any

from shm_echo.mechestim import errors
from shm_echo.mechestim.accounting.settings import settings

# The folder of shm_echo: frames of files below it are not the user's.
_PACKAGE = os.path.join(__file__.rpartition(os.path.join("mechestim", "remote"))[0], "")


class LinAlgError(ValueError):
    """A linear algebra routine found that its problem has no solution."""


class UFuncTypeError(TypeError):
    """A ufunc has no loop for these dtypes, or may not cast to them."""


class AxisError(ValueError, IndexError):
    """An axis is out of bounds for the number of dimensions."""


class DTypePromotionError(TypeError):
    """Several dtypes have no common one."""


class TooHardError(RuntimeError):
    """A problem is too hard for the effort that was allowed."""


class ComplexWarning(RuntimeWarning):
    """An imaginary part was discarded."""


class RankWarning(RuntimeWarning):
    """A fit is poorly conditioned."""


class VisibleDeprecationWarning(UserWarning):
    """A deprecation that end users should see."""


TWINS = (
    LinAlgError,
    UFuncTypeError,
    AxisError,
    DTypePromotionError,
    TooHardError,
    ComplexWarning,
    RankWarning,
    VisibleDeprecationWarning,
)
_CLASSES: dict[str, type[Exception]] = {cls.__name__: cls for cls in TWINS}
_CLASSES.update(
    {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
)


_NUMPYS: dict[str, type[Exception]] = {}


def _numpys_too(twin: type[Exception]) -> type[Exception]:
    """The twin, and the class of NumPy's: a process that has NumPy may catch either."""
    name = twin.__name__
    found = _NUMPYS.get(name)
    if found is None:
        numpy = sys.modules["numpy"]
        theirs = getattr(numpy.linalg if name == "LinAlgError" else numpy.exceptions, name, None)
        parts = {"__module__": twin.__module__, "__str__": BaseException.__str__}
        found = twin if theirs is None else type(name, (twin, theirs), parts)
        _NUMPYS[name] = found
    return found


def _class(name: Any) -> type[Exception]:
    found = _CLASSES.get(name)
    if found in TWINS and hasattr(sys.modules.get("numpy"), "exceptions"):
        return _numpys_too(found)
    if found is None:
        builtin = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(builtin, type) and issubclass(builtin, Exception):
            return builtin
        return errors.MechEstimServerError
    return found


def rebuilt(described: Any, own: BaseException | None = None) -> BaseException:
    """The exception that ``[class, message, fields]`` describes.

    Args:
        described: as the server sent it.
        own: what a function of ours raised during the operation: when it is the reason, it comes
            out as itself.
    """
    try:
        name, message, fields = described
    except (TypeError, ValueError):
        return errors.MechEstimServerError("the server sent an error that cannot be read")
    if name == "CallbackFailed":
        return own if own is not None else errors.MechEstimServerError("a callback failed")
    cls = _class(name)
    error = cls.__new__(cls, message)
    error.args = (message,)
    if isinstance(fields, dict):
        for key, value in fields.items():
            if isinstance(key, str) and key.isidentifier() and not key.startswith("_"):
                try:
                    setattr(error, key, tuple(value) if isinstance(value, list) else value)
                except AttributeError:
                    continue
    return error


def warn(described: Any) -> None:
    """Issue the warnings of an operation here, at the line of the user's code."""
    level = 1
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    for one in described:
        error = rebuilt(one)
        if isinstance(error, errors.SymmetryLossWarning) and not settings.symmetry_warnings:
            continue
        if isinstance(error, Warning):
            warnings.warn(error, stacklevel=level)
