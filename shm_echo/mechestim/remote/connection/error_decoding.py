"""Errors and warnings of the server as classes of this process.

Each error class of NumPy has a namesake here, with the same bases, so that `except
me.linalg.LinAlgError` and `except ValueError` both work in a process without NumPy.
"""

from __future__ import annotations

import builtins
import os
import sys
import warnings
from typing import Any

from shm_echo.mechestim import errors
from shm_echo.mechestim.accounting.settings import settings

# The class of an error in a message whose cause is an exception of a callback.
CALLBACK_FAILED = "CallbackFailed"
# The folder of shm_echo: a stack frame of a file outside it is the user's.
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


NUMPY_NAMESAKES = (
    LinAlgError,
    UFuncTypeError,
    AxisError,
    DTypePromotionError,
    TooHardError,
    ComplexWarning,
    RankWarning,
    VisibleDeprecationWarning,
)
_CLASSES: dict[str, type[Exception]] = {cls.__name__: cls for cls in NUMPY_NAMESAKES}
_CLASSES.update(
    {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
)
# The classes that also derive from NumPy's, by name.
_numpy_subclasses: dict[str, type[Exception]] = {}


def _numpy_subclass(namesake: type[Exception]) -> type[Exception]:
    """Return a class of the namesake and of NumPy's: a process with NumPy may catch either."""
    name = namesake.__name__
    cls = _numpy_subclasses.get(name)
    if cls is None:
        numpy = sys.modules["numpy"]
        theirs = getattr(numpy.linalg if name == "LinAlgError" else numpy.exceptions, name, None)
        # Some of NumPy's classes compute their text from attributes that are not sent.
        members = {"__module__": namesake.__module__, "__str__": BaseException.__str__}
        cls = namesake if theirs is None else type(name, (namesake, theirs), members)
        _numpy_subclasses[name] = cls
    return cls


def _class_of_name(name: Any) -> type[Exception]:
    cls = _CLASSES.get(name)
    # hasattr: NumPy may be in the middle of its import, in this or another thread.
    if cls in NUMPY_NAMESAKES and hasattr(sys.modules.get("numpy"), "exceptions"):
        return _numpy_subclass(cls)
    if cls is None:
        builtin = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(builtin, type) and issubclass(builtin, Exception):
            return builtin
        return errors.MechEstimServerError
    return cls


def decode_error(description: Any, callback_error: BaseException | None = None) -> BaseException:
    """Return the exception that `[class, message, fields]` describes.

    Args:
        description: The error, as the server sent it.
        callback_error: The exception that a function of ours raised during the operation. It is
            returned itself if the server names it as the reason.
    """
    try:
        name, message, fields = description
    except (TypeError, ValueError):
        return errors.MechEstimServerError("the server sent an error that cannot be read")
    if name == CALLBACK_FAILED:
        if callback_error is not None:
            return callback_error
        return errors.MechEstimServerError("a callback failed")
    cls = _class_of_name(name)
    error = cls.__new__(cls, message)
    error.args = (message,)
    if isinstance(fields, dict):
        for key, value in fields.items():
            if isinstance(key, str) and key.isidentifier() and not key.startswith("_"):
                try:
                    setattr(error, key, tuple(value) if isinstance(value, list) else value)
                except AttributeError:  # the class computes this attribute
                    continue
    return error


def issue_warnings(descriptions: Any) -> None:
    """Issue the warnings of an operation, at the line of the user's code."""
    level = 1
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    for description in descriptions:
        warning = decode_error(description)
        if isinstance(warning, errors.SymmetryLossWarning) and not settings.symmetry_warnings:
            continue
        if isinstance(warning, Warning):
            warnings.warn(warning, stacklevel=level)
