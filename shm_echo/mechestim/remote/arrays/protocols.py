"""Where a client's process has NumPy all the same: its functions on arrays of the server.

``np.exp(x)`` and ``np.linalg.svd(x)`` ask the array what to do, as in local mode, and become
requests: computed and charged by the server. NumPy's own arrays may stand among the operands; what
an operation writes into one of them is fetched and written. Nothing here imports NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shm_echo.mechestim import registry
from shm_echo.mechestim.errors import NotSendableError, UnsupportedFunctionError
from shm_echo.mechestim.registry.op import Category
from shm_echo.mechestim.registry.operators import BINARY, COMPARISONS
from shm_echo.mechestim.remote import client_session

Function = Callable[..., Any]

_METHODS = frozenset({"reduce", "accumulate", "reduceat", "outer", "at"})
_TEXTS = frozenset({"array_repr", "array_str", "array2string"})
_UFUNCS = {**BINARY, **COMPARISONS}
_twins: dict[str, str] = {}


def array_ufunc(self: Any, ufunc: Any, method: str, /, *inputs: Any, **kwargs: Any) -> Any:
    """Answer for a ufunc of NumPy's, or one of its methods."""
    function = _twin(ufunc)
    if function is None:
        raise _unknown(ufunc)
    if method != "__call__":
        if method not in _METHODS:
            raise TypeError(f"__array_ufunc__ of {ufunc!r} knows no method {method!r}")
        out = kwargs.get("out")
        if type(out) is tuple and len(out) == 1:
            kwargs["out"] = out[0]
        function = getattr(function, method)
    return function(*inputs, **kwargs)


def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any, /) -> Any:
    """Answer for any other function of NumPy's."""
    name = getattr(function, "__name__", "")
    if name in _TEXTS and args:
        return function(args[0].__array__(), *args[1:], **kwargs)
    ours = _twin(function)
    if ours is None:
        raise _unknown(function)
    return ours(*args, **kwargs)


def _twin(function: Any) -> Function | None:
    """Our function that has the meaning of NumPy's; None when there is none."""
    if not _twins:
        for name, op in registry.OPS.items():
            known = op.numpy and op.category is not Category.UNSUPPORTED and name.count(".") < 2
            if known and (op.numpy not in _twins or name == op.book_name):
                _twins[op.numpy] = name
    module = getattr(function, "__module__", None) or "numpy"
    place = module.removeprefix("numpy").lstrip(".")
    short = getattr(function, "__name__", "")
    found = _twins.get(f"{place}.{short}" if place else short)
    if found is None:
        return None
    from shm_echo.mechestim.remote.api.namespace import member

    result: Function = member(found)
    return result


def _unknown(function: Any) -> UnsupportedFunctionError:
    name = getattr(function, "__name__", str(function))
    return UnsupportedFunctionError(
        name, f"{name} has no counted twin; numpy.asarray(x) gives it a copy, which is not counted."
    )


# Arrays of NumPy's that are written to


def is_plain(value: Any) -> bool:
    """Whether it is an array of NumPy's, which the server can't write to."""
    return hasattr(value, "__array_interface__")


def write_through(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], first: bool = False
) -> Any:
    """Call ``function``, whose ``out`` (or ``first`` argument) has arrays of NumPy's in it.

    The server writes to copies; what it has written is fetched. A result that is such a copy is
    given as the array that it stands for.
    """
    pairs: list[tuple[Any, Any]] = []

    def stands_for(plain: Any) -> Any:
        if not is_plain(plain):
            return plain
        pairs.append((plain, client_session.call("array", plain)))
        return pairs[-1][1]

    if first and args:
        args = (stands_for(args[0]), *args[1:])
    if "out" in kwargs:
        out = kwargs["out"]
        held = tuple(map(stands_for, out)) if isinstance(out, tuple) else stands_for(out)
        kwargs = {**kwargs, "out": held}
    result = function(*args, **kwargs)
    for plain, copy in pairs:
        plain[...] = copy.__array__()

    def given(part: Any) -> Any:
        return next((plain for plain, copy in pairs if copy is part), part)

    return tuple(map(given, result)) if type(result) is tuple else given(result)


def has_plain_out(out: Any) -> bool:
    """Whether ``out`` names an array of NumPy's."""
    return any(map(is_plain, out)) if isinstance(out, tuple) else is_plain(out)


# Objects that compute ufuncs themselves


def handed_over(
    error: NotSendableError,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    method: str = "__call__",
) -> Any:
    """Let an operand that can't be sent, and has ``__array_ufunc__``, compute ``function``.

    Raises:
        NotSendableError: none has.
    """
    out = kwargs.get("out")
    for one in (*args, *(out if isinstance(out, tuple) else (out,))):
        answer = getattr(type(one), "__array_ufunc__", None)
        if answer not in (None, array_ufunc) and not is_plain(one):
            wanted = kwargs if out is None or isinstance(out, tuple) else {**kwargs, "out": (out,)}
            if method == "__call__" and len(args) > function.nin:
                args, wanted = args[: function.nin], {**wanted, "out": args[function.nin :]}
            return answer(one, function, method, *args, **wanted)
    raise error


def deferred(error: NotSendableError, word: str, self: Any, other: Any) -> Any:
    """Let ``other``, which can't be sent, compute an operator by NumPy's rules.

    Args:
        word: of the operator's method: ``add``, ``radd``, ``iadd``.

    Returns:
        What it computes, or NotImplemented when Python should ask it.

    Raises:
        NotSendableError: it has nothing to say.
    """
    kind = type(other)
    if hasattr(kind, "__array_ufunc__"):
        from shm_echo.mechestim.remote.api.namespace import member

        reflected, in_place = word not in _UFUNCS and word[0] == "r", word not in _UFUNCS
        name = _UFUNCS.get(word) or _UFUNCS[word[1:]]
        operands = (other, self) if reflected else (self, other)
        out = {"out": (self,)} if in_place and not reflected else {}
        return kind.__array_ufunc__(other, member(name), "__call__", *operands, **out)
    if _priority(other) > _priority(self):
        return NotImplemented
    raise error


def _priority(value: Any) -> float:
    try:
        return float(value.__array_priority__)
    except Exception:  # has none, or none that is a number: NumPy does not care why
        return -1e6


def install(cls: Any) -> None:
    """Put the protocols on the class of arrays."""
    cls.__array_ufunc__ = array_ufunc
    cls.__array_function__ = array_function
