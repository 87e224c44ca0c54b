"""Call an operation: price it, reserve the price, run it on plain arrays, commit the charge, wrap.

Every charging function of local mode ends in `call`, except the fast paths (`fast_path`, `matrix`,
`einsum`), which do the same for the commonest operands in fewer steps. A free operation ends in
`free`. NumPy computes on base-class arrays, so the calls that it makes inside are
not charged again.
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

# A global is looked up faster than an attribute of a module, and `_wrapped` runs in every call.
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


# `symmetric` sets it when it declares the first tensor, so that a process without one pays a single
# comparison with None. This module can't import the rules: they build on it.
symmetry_rules: SymmetryRules | None = None


def call(
    op: Op, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Charge for `op` and return `function(*args, **kwargs)`, computed by NumPy.

    Raises:
        BudgetExhaustedError: The price does not fit. Nothing has run and nothing is charged.
        TimeExhaustedError: The time of the context is over. Nothing has run, nothing is charged.
        ValueError: The rule found arguments that would crash NumPy.
        Exception: The error of NumPy, charged only if the kernel had started.
    """
    rule = op.cost
    if rule is None:
        return free(function, args, kwargs)
    try:
        # The rule sees the arguments before they are stripped: a SymmetricTensor has its own price.
        cost = rule(*args, **kwargs)
    except UnsafeCallError as error:  # NumPy must not get this call: it would crash
        raise ValueError(str(error)) from None
    except Exception as error:  # mostly a mistake, which NumPy reports better than a rule
        return _call_unpriced(op, function, args, kwargs, error)
    if cost < 1 and not op.zero_ok:  # a call on an empty array is a call: it costs one FLOP
        cost = 1
    view = peek_view()  # one look-up; current_view() also serves new threads and ended contexts
    if view is None or view.closed:
        view = current_view()
    name = op.charged_as or op.name
    # Reserved first, so that two threads can't both spend the last FLOPs.
    reserved = view.reserve(name, cost)
    if symmetry_rules is not None:
        _end_symmetries(symmetry_rules, view, (reserved, name, cost), op, function, args, kwargs)
    # A list, not a generator: `_wrapped` compares these very objects with the result.
    plain_args = [_stripped(value) for value in args]
    plain_kwargs = {key: _stripped(value) for key, value in kwargs.items()} if kwargs else kwargs
    try:
        result = function(*plain_args, **plain_kwargs)
    except BaseException as error:  # KeyboardInterrupt too: the reservation must not stay pending
        if kernel_started(function, tuple(plain_args), plain_kwargs, error):
            view.commit(name, reserved, args)
        else:
            view.release(reserved, name, cost)
        raise
    view.commit(name, reserved, args)
    if view.account.check_nan_inf:
        report_nan_inf(name, result)
    wrapped = _wrapped(function, result, args, plain_args, kwargs, plain_kwargs)
    if symmetry_rules is None:
        return wrapped
    return symmetry_rules.after_call(op.name, args, kwargs, wrapped)


def _end_symmetries(
    rules: SymmetryRules,
    view: AccountView,
    reservation: tuple[int, str, int],
    op: Op,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """End the symmetry of the tensors that a call writes to.

    Raises:
        Warning: The user's filters turn the warning of the loss into an error. The reservation is
            released: nothing has run.
    """
    try:
        rules.before_call(op, function, args, kwargs)
    except Warning:
        view.release(*reservation)
        raise


def free(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return `function(*args, **kwargs)` by NumPy, uncharged, its arrays as counted ones."""
    plain_args = [_stripped(value) for value in args]
    plain_kwargs = {key: _stripped(value) for key, value in kwargs.items()} if kwargs else kwargs
    result = function(*plain_args, **plain_kwargs)
    wrapped = _wrapped(function, result, args, plain_args, kwargs, plain_kwargs)
    if symmetry_rules is None:
        return wrapped
    return symmetry_rules.after_call(getattr(function, "__name__", ""), args, kwargs, wrapped)


def _stripped(value: Any) -> Any:
    """Return `plain(value)`, in fewer steps for arrays and numbers, which most arguments are."""
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
    """Return `result` as counted arrays; for an operand that comes back, the caller's own object.

    `x.sum(out=y)` and `me.asarray(x)` return `y` and `x` themselves in NumPy, so they do here. A
    plain operand comes back itself only where it was given as `out`; `me.asarray(plain)` returns a
    counted view of it, because an array that a counted function returns must count.
    """
    kind = type(result)
    if kind is _ndarray:
        if kwargs:
            for key, stripped in plain_kwargs.items():
                # ufuncs take `out` as an array or as a tuple of one.
                if stripped is result or (
                    type(stripped) is tuple and len(stripped) == 1 and stripped[0] is result
                ):
                    value = kwargs[key]
                    value = value[0] if type(value) is tuple else value
                    return value if value is not result or key == "out" else wrap(result)
        for value, stripped in zip(args, plain_args, strict=True):
            if stripped is result:
                # `value is result`: the operand was plain. As the first operand it is an input
                # (`asarray(plain)`); further back it is an `out` given by position.
                return value if value is not result or value is not args[0] else wrap(result)
    elif kind is tuple or kind is list:
        if any(value is result for value in args):  # the caller's own list or tuple
            return result
        originals: dict[int, Any] = {}
        _remember_operand(args, plain_args, originals)
        for key, stripped in plain_kwargs.items():
            _remember_operand(kwargs[key], stripped, originals)
        outs = kwargs.get("out") or ()
        if isinstance(function, np.ufunc):
            outs = outs or args[function.nin :]  # `np.divmod(x, y, q, r)`
        originals.update((id(out), out) for out in outs if type(out) is _ndarray)
        return _wrap_items(result, originals)
    return wrap(result)


def _remember_operand(value: Any, stripped: Any, originals: dict[int, Any]) -> None:
    """Note in `originals` the caller's object for each stripped operand, by `id`.

    The operands outlive the look-up, so no id is used again meanwhile.
    """
    if stripped is value:
        return
    if isinstance(stripped, (list, tuple)):
        for item, stripped_item in zip(value, stripped, strict=True):
            _remember_operand(item, stripped_item, originals)
    else:
        originals[id(stripped)] = value


def _wrap_items(result: Any, originals: dict[int, Any]) -> Any:
    """Wrap several results, some of which may be operands (`out`, `atleast_1d`)."""
    kind = type(result)
    if kind is tuple or kind is list:
        return kind([_wrap_items(item, originals) for item in result])
    original = originals.get(id(result))
    return wrap(result) if original is None else original


def _call_unpriced(
    op: Op,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
) -> Any:
    """Run a call that the price rule could not make sense of, for NumPy to report the mistake.

    If NumPy accepts the arguments, the result is charged by its size before it is returned: an
    imprecise price, but no way around the count.
    """
    result = free(function, args, kwargs)
    name = op.charged_as or op.name
    view: AccountView = current_view()
    cost = max(1, sum(int(item.size) for item in _arrays(result)))
    view.commit(name, view.reserve(name, cost), args)
    del error  # only for the plugin of NumPy's test suite, which wraps this function to report it
    return result


def _arrays(result: Any) -> list[Any]:
    """Return the arrays in `result`, in its tuples and lists too."""
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, (tuple, list)):
        return [array for item in result for array in _arrays(item)]
    return []


def report_nan_inf(name: str, result: Any) -> None:
    """Warn if `result` holds NaN or Inf; only with `configure(check_nan_inf=True)`."""
    # Imported here: a rare setting should not lengthen every start.
    import warnings

    from shm_echo.mechestim.errors import MechEstimWarning
    from shm_echo.mechestim.local.stacklevel import stacklevel

    for array in _arrays(result) if not isinstance(result, np.generic) else [np.asarray(result)]:
        values = np.asarray(array)
        if values.dtype.kind not in "fc":  # only floating and complex numbers have NaN and Inf
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
