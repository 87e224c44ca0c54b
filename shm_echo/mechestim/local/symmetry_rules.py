"""The effect of each operation on the symmetry of its operands, by the name of the operation.

Once the first symmetric tensor exists, the dispatcher calls `before_call`, which ends the symmetry
of tensors that an operation writes to, and `after_call`, which gives a result the symmetry that the
operation keeps. An operation that is not listed keeps none.

A loss is worth a warning where a reader of the code may not see it: an operand without symmetry in
an element-by-element operation, a slice, a reshape. Products and factorisations warn of nothing:
they promise no symmetry.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.local.array import Array
from shm_echo.mechestim.local.symmetric_tensor import IN_PLACE, SymmetricTensor, with_symmetry
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.op import Category, Op
from shm_echo.mechestim.symmetry import propagate
from shm_echo.mechestim.symmetry.info import SymmetryInfo, symmetry_of
from shm_echo.mechestim.symmetry.propagate import NOTHING, Outcome

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Rule = Callable[[Arguments, Keywords, Any], Outcome]

_nd = np.ndarray

# Functions that write to their first operand; the operation that prices them may be another.
_IN_PLACE_FUNCTIONS = frozenset(
    {
        *IN_PLACE.values(),
        operator.imatmul,
        _nd.sort,
        _nd.partition,
        _nd.put,
        _nd.fill,
        _nd.resize,
        _nd.__setitem__,
    }
)
_WRITING_OPS = frozenset({"ndarray.__setitem__", "ndarray.fill"})
# Booked as unary, but not element by element.
_NOT_ELEMENTWISE = frozenset({"sort_complex", "iscomplexobj", "isrealobj"})
_FREE_ELEMENTWISE = ("isfinite", "isinf", "isnan", "copy", "astype")
# Element-by-element operations, and the number of leading arguments that are arrays.
_LEADING_ARRAYS = {"where": 3, "clip": 3, "isclose": 2}
_REDUCTIONS = (
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "median",
    "min", "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmedian", "nanmin", "nanprod",
    "nanstd", "nansum", "nanvar", "prod", "ptp", "std", "sum", "var",
)  # fmt: skip
# Keyword arguments with which a reduction keeps its symmetry; `where` and `out` are not among them.
_KNOWN_KEYWORDS = frozenset({"axis", "keepdims", "dtype", "ddof", "correction"})


def before_call(op: Op, function: Any, args: Arguments, kwargs: Keywords) -> None:
    """End the symmetry of the tensors that `function` is about to write to."""
    if "out" in kwargs:
        outs = kwargs["out"]
        for target in outs if type(outs) is tuple else (outs,):
            _release(target)
    named = op.writes or op.name in _WRITING_OPS or op.name.endswith(".at")
    if args and (named or function in _IN_PLACE_FUNCTIONS):
        _release(args[0])
    for name in op.writes:
        _release(kwargs.get(name))
    inputs = function.nin if isinstance(function, np.ufunc) else None
    for target in args[inputs:] if inputs is not None else ():
        _release(target)


def _release(target: Any) -> None:
    if isinstance(target, SymmetricTensor):
        target.release()


def after_call(name: str, args: Arguments, kwargs: Keywords, result: Any) -> Any:
    """Return `result` with the symmetry that operation `name` keeps of its operands'."""
    if "out" in kwargs:
        return result  # the caller's own array; its class stays as it is
    sources = [x for x in args if getattr(x, "symmetry_info", None) is not None]
    sources += [x for x in kwargs.values() if getattr(x, "symmetry_info", None) is not None]
    if not sources:
        return result
    parts = result if type(result) is tuple else (result,)
    if any(part is x for part in parts for x in (*args, *kwargs.values())):
        return result
    rule = _RULES.get(name)
    if rule is None or not all(type(part) is Array for part in parts):
        return result
    try:
        outcome = rule(args, kwargs, parts[0])
    except (IndexError, KeyError, TypeError, ValueError):
        return result  # a call form that the rule does not know: no symmetry
    if type(result) is tuple:
        return tuple([with_symmetry(part, outcome, *sources) for part in parts])
    return with_symmetry(result, outcome, *sources)


# Rules ----


def _info(x: Any) -> SymmetryInfo | None:
    found: SymmetryInfo | None = getattr(x, "symmetry_info", None)
    return found


def _elementwise(count: int) -> Rule:
    """Return the rule of an element-by-element function of `count` operands.

    Other arguments must be numbers: an array among them, such as `where`, ends the symmetry.
    """

    def rule(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
        named = [v for k, v in kwargs.items() if k not in ("out", "dtype", "casting", "order")]
        operands = args[:count]
        shapes = [shape_of(x) for x in operands]
        infos = [_info(x) for x in operands]
        outcome = propagate.pointwise(shapes, infos, result.shape)
        if any(v is not True and shape_of(v) for v in (*args[count:], *named)):
            return Outcome(None, outcome.lost or _groups(infos), "another argument is an array")
        return outcome

    return rule


def _groups(infos: list[SymmetryInfo | None]) -> Any:
    return next(info.symmetric_axes for info in infos if info is not None)


def _reduction(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    if len(args) > 2 or not _KNOWN_KEYWORDS.issuperset(kwargs):
        return NOTHING
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    return propagate.reduction(_info(args[0]), axis, kwargs.get("keepdims") is True)


def _cumulative(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    return propagate.along(_info(args[0]), axis, result.shape)


def _transpose(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    axes = args[1] if len(args) > 1 else kwargs.get("axes")
    return propagate.transpose(_info(args[0]), axes)


def _swapaxes(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    def order(a: Any, axis1: Any, axis2: Any) -> Outcome:
        return propagate.swapaxes(_info(a), axis1, axis2)

    return order(*args, **kwargs)


def _moveaxis(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    def order(a: Any, source: Any, destination: Any) -> Outcome:
        return propagate.moveaxis(_info(a), source, destination)

    return order(*args, **kwargs)


def _matrix_transpose(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    return propagate.swapaxes(_info(args[0]), -1, -2)


def _reshape(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    return propagate.reshape(_info(args[0]), result.shape)


def _squeeze(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    return propagate.squeeze(_info(args[0]), axis)


def _expand_dims(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    axis = args[1] if len(args) > 1 else kwargs["axis"]
    return propagate.expand_dims(_info(args[0]), axis)


def _inverse(args: Arguments, kwargs: Keywords, result: Any) -> Outcome:
    """Keep the symmetry of each matrix, and that of a batch: inverses have both."""
    info = _info(args[0])
    if info is None:
        return NOTHING
    last = len(info.shape) - 2
    kept = [[axis for axis in group if axis < last] for group in info.symmetric_axes]
    kept += [[axis for axis in group if axis >= last] for group in info.symmetric_axes]
    return Outcome(symmetry_of(kept, info.shape))


def _build_rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {name: _elementwise(1) for name in _FREE_ELEMENTWISE}
    for name, op in OPS.items():
        if op.category is Category.UNARY and name not in _NOT_ELEMENTWISE:
            rules[name] = _elementwise(1)
        elif op.category is Category.BINARY:
            rules[name] = _elementwise(2)
    rules.update({name: _elementwise(count) for name, count in _LEADING_ARRAYS.items()})
    rules.update(dict.fromkeys(_REDUCTIONS, _reduction))
    rules.update(dict.fromkeys(("cumsum", "cumprod", "nancumsum", "nancumprod"), _cumulative))
    rules.update(dict.fromkeys(("transpose", "permute_dims"), _transpose))
    rules.update(dict.fromkeys(("matrix_transpose", "linalg.matrix_transpose"), _matrix_transpose))
    rules.update(dict.fromkeys(("reshape", "ravel"), _reshape))
    rules.update(swapaxes=_swapaxes, moveaxis=_moveaxis, squeeze=_squeeze)
    rules.update({"expand_dims": _expand_dims, "linalg.inv": _inverse})
    return rules


_RULES = _build_rules()
