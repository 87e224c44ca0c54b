"""How an operation is called: price it, reserve the price, run it on plain arrays, book it, wrap
the result.

Every charging function of local mode ends here, except the fast paths of `operators`, which
do the same for the commonest operands in fewer steps. The nested calls that NumPy makes while it
computes see plain arrays, so nothing is charged twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from shm_echo.mechestim.accounting.account import AccountView
from shm_echo.mechestim.accounting.active_account import current_view, peek_view
from shm_echo.mechestim.costs.operands import UnsafeCallError
from shm_echo.mechestim.local.array import Array, Scalar, base_view, number, plain, wrap
from shm_echo.mechestim.local.kernel_started import kernel_started
from shm_echo.mechestim.registry.op import Op

_ndarray = np.ndarray


class SymmetryRules(Protocol):
    """The part of the module `symmetry_rules` that the dispatcher calls."""

    def before_call(
        self, op: Op, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /
    ) -> None:
        """End the symmetry of the tensors that `function` is about to write to."""

    def after_call(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, /
    ) -> Any:
        """Return `result` with the symmetry that operation `name` keeps of its operands'."""


# `symmetric` sets it when it declares the first tensor, so that processes without one pay a single
# comparison with None.
symmetry_rules: SymmetryRules | None = None


def call(
    op: Op, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Charge for `op` and return `function(*args, **kwargs)`, computed by NumPy.

    Args:
        op: What is charged: its rule is called with `args` and `kwargs` as they are.
        function: What computes it: called with base-class arrays.
        args: The caller's positional arguments.
        kwargs: The caller's keyword arguments.

    Raises:
        BudgetExhaustedError: It does not fit into the budget. Nothing has run, nothing is charged.
        TimeExhaustedError: The time of the context is over. The same holds.
        Exception: Whatever NumPy raises. Nothing is charged if it refused the arguments; the price
            stays charged if it had started.
    """
    rule = op.cost
    if rule is None:
        return free(function, args, kwargs)
    try:
        cost = rule(*args, **kwargs)
    except UnsafeCallError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        return _call_unpriced(op, function, args, kwargs, error)
    if cost < 1 and not op.zero_ok:
        cost = 1
    view = peek_view()
    if view is None or view.closed:
        view = current_view()
    name = op.charged_as or op.name
    reserved = view.reserve(name, cost)
    if symmetry_rules is not None:
        try:
            symmetry_rules.before_call(op, function, args, kwargs)
        except Warning:  # that is an error, by the caller's filters
            view.cancel(reserved, name, cost)
            raise
    plain_args = [_stripped(value) for value in args]
    plain_kwargs = {key: _stripped(value) for key, value in kwargs.items()} if kwargs else kwargs
    try:
        result = function(*plain_args, **plain_kwargs)
    except BaseException as error:
        if kernel_started(function, tuple(plain_args), plain_kwargs, error):
            view.commit(name, reserved, args)
        else:
            view.cancel(reserved, name, cost)
        raise
    view.commit(name, reserved, args)
    if view.account.careful:
        report_nan_inf(name, result)
    wrapped = _wrapped(function, result, args, plain_args, kwargs, plain_kwargs)
    if symmetry_rules is None:
        return wrapped
    return symmetry_rules.after_call(op.name, args, kwargs, wrapped)


def free(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`function(*args, **kwargs)` by NumPy, uncharged, with counted arrays in the result."""
    plain_args = [_stripped(value) for value in args]
    plain_kwargs = {key: _stripped(value) for key, value in kwargs.items()} if kwargs else kwargs
    result = function(*plain_args, **plain_kwargs)
    wrapped = _wrapped(function, result, args, plain_args, kwargs, plain_kwargs)
    if symmetry_rules is None:
        return wrapped
    return symmetry_rules.after_call(getattr(function, "__name__", ""), args, kwargs, wrapped)


def _stripped(value: Any) -> Any:
    if isinstance(value, Array):
        return number(value) if type(value) is Scalar else base_view(value)
    kind = type(value)
    return plain(value) if kind is list or kind is tuple else value


def _wrapped(
    function: Callable[..., Any],
    result: Any,
    args: tuple[Any, ...],
    plain_args: list[Any],
    kwargs: dict[str, Any],
    plain_kwargs: dict[str, Any],
) -> Any:
    """`result` as counted arrays; an operand that comes back is the caller's own object.

    Of the plain ones, only those given as `out`: `asarray(plain)` is a counted view.
    """
    kind = type(result)
    if kind is _ndarray:
        if kwargs:
            for key, stripped in plain_kwargs.items():
                if stripped is result or (
                    type(stripped) is tuple and len(stripped) == 1 and stripped[0] is result
                ):
                    value = kwargs[key]
                    value = value[0] if type(value) is tuple else value
                    return value if value is not result or key == "out" else wrap(result)
        for value, stripped in zip(args, plain_args, strict=True):
            if stripped is result:
                return value if value is not result or value is not args[0] else wrap(result)
    elif kind is tuple or kind is list:
        if any(value is result for value in args):
            return result
        known: dict[int, Any] = {}
        _remember_operand(args, plain_args, known)
        for key, stripped in plain_kwargs.items():
            _remember_operand(kwargs[key], stripped, known)
        outs = kwargs.get("out") or ()
        if isinstance(function, np.ufunc):
            outs = outs or args[function.nin :]
        known.update((id(out), out) for out in outs if type(out) is _ndarray)
        return _wrap_items(result, known)
    return wrap(result)


def _remember_operand(value: Any, stripped: Any, known: dict[int, Any]) -> None:
    """Note for every stripped operand whose it is."""
    if stripped is value:
        return
    if isinstance(stripped, (list, tuple)):
        for one, plain_args in zip(value, stripped, strict=True):
            _remember_operand(one, plain_args, known)
    else:
        known[id(stripped)] = value


def _wrap_items(result: Any, known: dict[int, Any]) -> Any:
    """`wrap` for several results, some of which may be operands (`out`, `atleast_1d`)."""
    kind = type(result)
    if kind is tuple or kind is list:
        return kind([_wrap_items(item, known) for item in result])
    found = known.get(id(result))
    return wrap(result) if found is None else found


def _call_unpriced(
    op: Op,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
) -> Any:
    """The rule could not make sense of the arguments: let NumPy refuse them, in its own words.

    Should NumPy accept them all the same, the result is paid for by its size before it is handed
    out.
    """
    result = free(function, args, kwargs)
    name = op.charged_as or op.name
    view: AccountView = current_view()
    cost = max(1, sum(int(item.size) for item in _arrays(result)))
    view.commit(name, view.reserve(name, cost), args)
    del error
    return result


def _arrays(result: Any) -> list[Any]:
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, (tuple, list)):
        return [array for item in result for array in _arrays(item)]
    return []


def report_nan_inf(name: str, result: Any) -> None:
    """Warn if `result` holds NaN or Inf; only with `configure(check_nan_inf=True)`."""
    import warnings

    from shm_echo.mechestim.errors import MechEstimWarning
    from shm_echo.mechestim.local.stacklevel import stacklevel

    for array in _arrays(result) if not isinstance(result, np.generic) else [np.asarray(result)]:
        values = np.asarray(array)
        if values.dtype.kind not in "fc":
            continue
        nans = int(np.isnan(values).sum())
        infs = int(np.isinf(values).sum())
        if nans or infs:
            warnings.warn(
                MechEstimWarning(
                    f"{name} produced {nans} NaN and {infs} Inf values in output of shape "
                    f"{values.shape}"
                ),
                stacklevel=stacklevel(),
            )
