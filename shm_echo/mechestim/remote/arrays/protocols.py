"""NumPy's functions on arrays of the server, in a client's process that has NumPy.

NumPy passes `np.exp(x)` and `np.linalg.svd(x)` to the array, as in local mode; they become
requests, which the server computes and charges. NumPy's own arrays may be among the operands; the
result for an `out` of NumPy is fetched and copied into it. Nothing here imports NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.errors import NotSendableError, UnsupportedFunctionError
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.registry.operators import BINARY, COMPARISONS
from shm_echo.mechestim.remote import client_session, upcalls

Function = Callable[..., Any]

_METHODS = frozenset({"reduce", "accumulate", "reduceat", "outer", "at"})
_TEXTS = frozenset({"array_repr", "array_str", "array2string"})
_UFUNCS = {**BINARY, **COMPARISONS}
_op_of_numpy_name: dict[str, str] = {}


def array_ufunc(self: Any, ufunc: Any, method: str, /, *inputs: Any, **kwargs: Any) -> Any:
    """Compute a ufunc of NumPy, or one of its methods (`__array_ufunc__`)."""
    function = _counterpart(ufunc)
    if function is None:
        raise _unsupported(ufunc)
    if method != "__call__":
        if method not in _METHODS:
            raise TypeError(f"__array_ufunc__ of {ufunc!r} knows no method {method!r}")
        out = kwargs.get("out")
        if type(out) is tuple and len(out) == 1:
            kwargs["out"] = out[0]
        function = getattr(function, method)
    return function(*inputs, **kwargs)


def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any, /) -> Any:
    """Compute any other function of NumPy (`__array_function__`)."""
    name = getattr(function, "__name__", "")
    if name in _TEXTS and args:
        return function(args[0].__array__(), *args[1:], **kwargs)
    ours = _counterpart(function)
    if ours is None:
        raise _unsupported(function)
    return ours(*args, **kwargs)


def _counterpart(function: Any) -> Function | None:
    """Return the public function with the meaning of NumPy's; None if there is none."""
    if not _op_of_numpy_name:
        for name, op in registry.OPS.items():
            known = op.numpy and op.category is not Category.UNSUPPORTED and name.count(".") < 2
            if known and (op.numpy not in _op_of_numpy_name or name == op.book_name):
                _op_of_numpy_name[op.numpy] = name
    module = getattr(function, "__module__", None) or "numpy"
    submodule = module.removeprefix("numpy").lstrip(".")
    short = getattr(function, "__name__", "")
    op_name = _op_of_numpy_name.get(f"{submodule}.{short}" if submodule else short)
    if op_name is None:
        return None
    counterpart: Function = upcalls.operation(op_name)
    return counterpart


def _unsupported(function: Any) -> UnsupportedFunctionError:
    name = getattr(function, "__name__", str(function))
    return UnsupportedFunctionError(
        name, f"{name} has no counted twin; numpy.asarray(x) gives it a copy, which is not counted."
    )


# Arrays of NumPy that an operation writes to


def is_numpy_array(value: Any) -> bool:
    """Return True if `value` is an array of NumPy, which the server cannot write to."""
    return hasattr(value, "__array_interface__")


def write_through(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], first: bool = False
) -> Any:
    """Call `function`, whose `out` holds arrays of NumPy.

    The server writes to copies, which are fetched and copied into the arrays. Where the result is
    such a copy, the array of NumPy is returned.

    Args:
        function: The function of mechestim.
        args, kwargs: Its arguments.
        first: It writes to its first argument, too.
    """
    pairs: list[tuple[Any, Any]] = []

    def copy_of(value: Any) -> Any:
        if not is_numpy_array(value):
            return value
        pairs.append((value, client_session.call("array", value)))
        return pairs[-1][1]

    if first and args:
        args = (copy_of(args[0]), *args[1:])
    if "out" in kwargs:
        out = kwargs["out"]
        copies = tuple(map(copy_of, out)) if isinstance(out, tuple) else copy_of(out)
        kwargs = {**kwargs, "out": copies}
    result = function(*args, **kwargs)
    for original, copy in pairs:
        original[...] = copy.__array__()

    def original_of(part: Any) -> Any:
        return next((original for original, copy in pairs if copy is part), part)

    return tuple(map(original_of, result)) if type(result) is tuple else original_of(result)


def has_numpy_out(out: Any) -> bool:
    """Return True if `out` is, or contains, an array of NumPy."""
    return any(map(is_numpy_array, out)) if isinstance(out, tuple) else is_numpy_array(out)


# Operands of other libraries, which compute ufuncs themselves


def defer_ufunc(
    error: NotSendableError,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    method: str = "__call__",
) -> Any:
    """Let an operand that cannot be sent compute a ufunc, by its `__array_ufunc__`.

    Args:
        error: The error of packing the operand.
        function: The ufunc of mechestim.
        args, kwargs: Its arguments.
        method: The method of the ufunc, such as `"reduce"`.

    Raises:
        NotSendableError: `error`, if no operand has `__array_ufunc__`.
    """
    out = kwargs.get("out")
    for one in (*args, *(out if isinstance(out, tuple) else (out,))):
        array_ufunc_of_other = getattr(type(one), "__array_ufunc__", None)
        if array_ufunc_of_other not in (None, array_ufunc) and not is_numpy_array(one):
            # NumPy's protocol has `out` as a tuple, among the keyword arguments.
            options = kwargs if out is None or isinstance(out, tuple) else {**kwargs, "out": (out,)}
            if method == "__call__" and len(args) > function.nin:
                args, options = args[: function.nin], {**options, "out": args[function.nin :]}
            return array_ufunc_of_other(one, function, method, *args, **options)
    raise error


def defer_operator(error: NotSendableError, name: str, self: Any, other: Any) -> Any:
    """Let `other`, which cannot be sent, compute an operator by NumPy's rules.

    Args:
        error: The error of packing `other`.
        name: The name of the operator's method: `add`, `radd`, `iadd`.
        self: The array of the server.
        other: The other operand.

    Returns:
        The result, or NotImplemented if Python is to ask `other`.

    Raises:
        NotSendableError: `error`, if `other` does not claim the operator.
    """
    kind = type(other)
    if hasattr(kind, "__array_ufunc__"):
        reflected, in_place = name not in _UFUNCS and name[0] == "r", name not in _UFUNCS
        ufunc = _UFUNCS.get(name) or _UFUNCS[name[1:]]
        operands = (other, self) if reflected else (self, other)
        out = {"out": (self,)} if in_place and not reflected else {}
        return kind.__array_ufunc__(other, upcalls.operation(ufunc), "__call__", *operands, **out)
    if _priority(other) > _priority(self):
        return NotImplemented
    raise error


def _priority(value: Any) -> float:
    try:
        return float(value.__array_priority__)
    except Exception:  # NumPy, too, ignores every error of the attribute
        return -1e6  # NumPy's priority of an object without one


def install(cls: Any) -> None:
    """Give the class of arrays the two protocols."""
    cls.__array_ufunc__ = array_ufunc
    cls.__array_function__ = array_function
