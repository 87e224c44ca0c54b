"""Encodes errors of operations for the client, as class, message and fields.

A client raises its own class of the same name. A class that is not in the tables below is sent as
its nearest base class that is. Tracebacks never leave the server.
"""

from __future__ import annotations

import builtins
import logging
import traceback
from typing import Any

import numpy as np

from shm_echo.mechestim import errors

_log = logging.getLogger("shm_echo.mechestim")

# The name on the wire of an error that a client's own function raised.
CALLBACK_FAILED = "CallbackFailed"

_NUMPY_CLASSES = {
    "LinAlgError": np.linalg.LinAlgError,
    "AxisError": np.exceptions.AxisError,
    "ComplexWarning": np.exceptions.ComplexWarning,
    "DTypePromotionError": np.exceptions.DTypePromotionError,
    "VisibleDeprecationWarning": np.exceptions.VisibleDeprecationWarning,
    "RankWarning": np.exceptions.RankWarning,
    "TooHardError": np.exceptions.TooHardError,
}
# The base of the private exceptions that ufuncs raise for dtypes without a loop.
_UFUNC_TYPE_ERROR = "UFuncTypeError"
_BUILTIN_NAMES = (
    *("ArithmeticError", "AssertionError", "AttributeError", "BufferError", "DeprecationWarning"),
    *("Exception", "FloatingPointError", "FutureWarning", "IndexError", "KeyError", "LookupError"),
    *("MemoryError", "NameError", "NotImplementedError", "OverflowError"),
    *("PendingDeprecationWarning", "RecursionError", "RuntimeError", "RuntimeWarning"),
    *("StopIteration", "SyntaxError", "SystemError", "TypeError", "UnicodeError", "UserWarning"),
    *("ValueError", "Warning", "ZeroDivisionError"),
)
_MAX_MESSAGE_CHARS = 10_000  # characters: some messages quote a whole argument
CLASS_NAMES: dict[type, str] = {cls: name for name, cls in _NUMPY_CLASSES.items()}
CLASS_NAMES.update({getattr(builtins, name): name for name in _BUILTIN_NAMES})
CLASS_NAMES.update(
    {
        value: name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, (Exception, Warning))
    }
)

# Attributes that travel with an error, where it has them.
_FIELDS = (
    *("op_name", "flop_cost", "flops_remaining", "of_the_server", "elapsed_s", "limit_s"),
    *("reason", "axes", "max_deviation", "atol", "rtol", "limit", "allowed", "wanted", "axis"),
    *("ndim", "name"),
)


class CallbackError(Exception):
    """A function of the client has raised: the client has the error and raises it itself."""


def encode_error(error: BaseException) -> list[Any]:
    """Return `[class, message, fields]` of an error or a warning.

    Example:
        >>> encode_error(ZeroDivisionError("division by zero"))
        ['ZeroDivisionError', 'division by zero', {}]
    """
    if isinstance(error, CallbackError):
        return [CALLBACK_FAILED, "", {}]
    for cls in type(error).__mro__:
        name = _UFUNC_TYPE_ERROR if cls.__name__ == _UFUNC_TYPE_ERROR else CLASS_NAMES.get(cls)
        if name is not None:
            break
    else:
        name = "MechEstimServerError"
    if name in ("Exception", "MechEstimServerError") and type(error) not in CLASS_NAMES:
        log_failure("an operation failed in an unforeseen way", error)
        return ["MechEstimServerError", "the server failed; its log says why", {}]
    fields: dict[str, Any] = {}
    for field in _FIELDS:
        value = getattr(error, field, None)
        if value is None or isinstance(value, (str, int, float)):
            if value is not None:
                fields[field] = value
        elif isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            fields[field] = list(value)
    return [name, _message_text(error), fields]


def log_failure(what: str, error: BaseException) -> None:
    """Log an internal error: its class and its traceback, without its message.

    Messages of NumPy and Python quote the offending values, and no contents of a client's arrays
    may reach the log.
    """
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    _log.error("%s: %s\n%s", what, type(error).__qualname__, where)


def _message_text(error: BaseException) -> str:
    keyed = isinstance(error, KeyError) and len(error.args) == 1
    text = str(error.args[0] if keyed else error)[:_MAX_MESSAGE_CHARS]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
