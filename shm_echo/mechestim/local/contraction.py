"""Runs an einsum on plain NumPy arrays, along the steps that were priced.

A `Program` is a compiled path: for each step the subscripts for NumPy's own kernel and, where that
is faster, a recipe that turns the step into one matrix product. The steps that run are the steps
that were priced; the values are those of `numpy.einsum(..., optimize=path)` up to the order of
additions.

A step becomes a matrix product if both operands can be brought to one BLAS type (float32, float64,
complex64, complex128) and the step is larger than the cost of rearranging them. NumPy's kernel
computes everything else: integers, half precision, objects, small or stretched operands, repeated
labels. It also decides on dtypes, casting and `out`, and raises the errors about them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy._core.multiarray import c_einsum

from shm_echo.mechestim.costs.flops.einsum import plan
from shm_echo.mechestim.costs.subscripts import LETTERS, Shape, Term

Array = np.ndarray[Any, Any]

_MIN_MULTIPLY_ADDS = 8192
"""Multiply-adds from which a matrix product beats NumPy's kernel, rearranging included."""

_BLAS_DTYPES = frozenset("fdFD")
_BLAS_KEYWORDS = frozenset({"dtype", "order", "casting"})


@dataclass(frozen=True)
class MatrixProduct:
    """The recipe that turns a step of two operands into one matrix product.

    Each operand is transposed and reshaped to `(batch, rows, inner)` or `(batch, inner,
    columns)` (without the batch when there is none, without the last axis when there are no
    columns); the result is reshaped and transposed back. `None` means that nothing is to be done.
    """

    swap: bool
    left_order: tuple[int, ...] | None
    left_shape: Shape | None
    right_order: tuple[int, ...] | None
    right_shape: Shape | None
    result_shape: Shape | None
    result_order: tuple[int, ...] | None

    @property
    def direct(self) -> bool:
        """Return True if the product already has the layout of the step's result."""
        return self.result_shape is None and self.result_order is None

    def run(self, first: Array, second: Array, out: Array | None = None) -> Array:
        """Return the result for two operands of one BLAS type."""
        left, right = (second, first) if self.swap else (first, second)
        if self.left_order is not None:
            left = left.transpose(self.left_order)
        if self.left_shape is not None:
            left = left.reshape(self.left_shape)
        if self.right_order is not None:
            right = right.transpose(self.right_order)
        if self.right_shape is not None:
            right = right.reshape(self.right_shape)
        if out is not None and self.direct:
            result: Array = np.matmul(left, right, out=out)
            return result
        result = np.matmul(left, right)
        if self.result_shape is not None:
            result = result.reshape(self.result_shape)
        if self.result_order is not None:
            result = result.transpose(self.result_order)
        if out is not None:
            out[...] = result
            return out
        return result


@dataclass(frozen=True)
class ProgramStep:
    """One contraction: of the operands at `positions`, which the result replaces at the end."""

    positions: tuple[int, ...]
    subscripts: str
    shape: Shape
    product: MatrixProduct | None


@dataclass(frozen=True)
class Program:
    """A compiled path. `kernel` holds the subscripts if NumPy's kernel alone can run them."""

    steps: tuple[ProgramStep, ...]
    kernel: str | None

    def run(self, operands: list[Any], out: Any = None, **kwargs: Any) -> Any:
        """Return the contraction of `operands`; the list is emptied on the way."""
        if self.kernel is not None:
            return _run_kernel(self.kernel, operands, out, kwargs)
        blas_allowed = not kwargs or _BLAS_KEYWORDS.issuperset(kwargs)
        all_operands = list(operands)
        for step in self.steps[:-1]:
            step_operands = [operands.pop(position) for position in step.positions]
            # `order` is the layout of the result, not of the intermediates.
            inner_kwargs = {key: value for key, value in kwargs.items() if key != "order"}
            operands.append(_contract(step, step_operands, None, inner_kwargs, blas_allowed))
        last = self.steps[-1]
        step_operands = [operands.pop(position) for position in last.positions]
        # An unknown order is an error, which the kernel raises.
        order = kwargs.get("order", "K")
        if order not in ("K", "k", None):
            blas_allowed = blas_allowed and order in ("C", "F", "A", "c", "f", "a")
            kwargs["order"] = _memory_order(order, all_operands) if blas_allowed else order
        return _contract(last, step_operands, out, kwargs, blas_allowed)


def _memory_order(order: str, operands: list[Any]) -> str:
    """Return `"C"` or `"F"`; `"A"` is F if every operand of the call is in Fortran order."""
    if order in ("A", "a"):
        return "F" if all(np.isfortran(np.asanyarray(x)) for x in operands) else "C"
    return order.upper()


def _run_kernel(subscripts: str, operands: list[Any], out: Any, kwargs: dict[str, Any]) -> Any:
    if out is not None:
        kwargs = {**kwargs, "out": out}
    return c_einsum(subscripts, *operands, **kwargs)


def _contract(
    step: ProgramStep, operands: list[Any], out: Any, kwargs: dict[str, Any], blas_allowed: bool
) -> Any:
    # The kernel raises the error about an `out` of another shape; an assignment would broadcast.
    fits = out is None or np.shape(out) == step.shape
    if step.product is not None and blas_allowed and fits:
        arrays = [np.asanyarray(x) for x in operands]
        dtype = _common_type(arrays, kwargs, out)
        if dtype is not None:
            first, second = (x.astype(dtype, copy=False) for x in arrays)
            result = step.product.run(first, second, out)
            order = kwargs.get("order")
            if out is None and order in ("C", "F"):
                return np.asarray(result, order=order)
            return result
    return _run_kernel(step.subscripts, operands, out, kwargs)


def _common_type(
    arrays: list[Array], kwargs: dict[str, Any], out: Array | None
) -> np.dtype[Any] | None:
    """Return the BLAS type in which these operands may be multiplied; `None` for the kernel."""
    dtype: np.dtype[Any]
    first, second = arrays[0].dtype, arrays[1].dtype
    casting = kwargs.get("casting", "safe")
    if kwargs.get("dtype") is not None:
        dtype = np.dtype(kwargs["dtype"])
        if not all(np.can_cast(x.dtype, dtype, casting) for x in arrays):
            return None
    elif first == second:
        dtype = first
    elif first.kind in "biufc" and second.kind in "biufc" and casting in ("safe", "same_kind"):
        dtype = np.result_type(first, second)
    else:
        return None
    if dtype.char not in _BLAS_DTYPES or not dtype.isnative:
        return None
    if out is not None and (out.dtype != dtype or not out.flags.writeable):
        return None
    return dtype


@lru_cache(maxsize=1024)
def compile_program(
    subscripts: str, shapes: tuple[Shape, ...], optimize: Hashable = "auto"
) -> Program:
    """Return the program for operands of `shapes`; the same contraction again is a look-up.

    >>> compile_program("ij,jk->ik", ((100, 100), (100, 100))).steps[0].product.direct
    True
    """
    path = plan(subscripts, shapes, optimize=optimize)
    sizes = path.contraction.sizes
    stretched = _stretched(path.contraction.inputs, shapes, sizes)
    steps = []
    for step in path.steps:
        step_stretched = [stretched.pop(position) for position in step.operands]
        product = None
        if len(step.inputs) == 2 and not any(step_stretched):
            product = _product(step.inputs[0], step.inputs[1], step.output, sizes)
        if len(path.steps) == 1 and product is None:
            return Program((), subscripts)  # as written: relabelled it could have over 52 labels
        shape = tuple(sizes[label] for label in step.output)
        text = _relabelled(step.inputs, step.output)
        steps.append(ProgramStep(step.operands, text, shape, product))
        # An axis of the result has length 1 if it has so in every operand with that label.
        full_length = {
            label
            for term, stretched_labels in zip(step.inputs, step_stretched, strict=True)
            for label in term
            if label not in stretched_labels
        }
        stretched.append(frozenset(step.output) - full_length)
    return Program(tuple(steps), None)


def _stretched(
    terms: tuple[Term, ...], shapes: tuple[Shape, ...], sizes: dict[str, int]
) -> list[frozenset[str]]:
    """Return, for each operand, the labels whose axis of length 1 stretches to that of another."""
    return [
        frozenset(label for label, n in zip(term, shape, strict=True) if n != sizes[label])
        for term, shape in zip(terms, shapes, strict=True)
    ]


def _relabelled(inputs: tuple[Term, ...], output: Term) -> str:
    """Return a step as subscripts of letters, the only labels that NumPy reads."""
    labels = dict.fromkeys(label for term in inputs for label in term)
    if all(label in LETTERS for label in labels):
        names = {label: label for label in labels}
    else:
        if len(labels) > len(LETTERS):
            raise ValueError(f"an einsum step has {len(labels)} labels; at most 52 can be named")
        names = dict(zip(labels, LETTERS, strict=False))
    terms = ("".join(names[label] for label in term) for term in (*inputs, output))
    *left, right = terms
    return f"{','.join(left)}->{right}"


def _product(
    first: Term, second: Term, output: Term, sizes: dict[str, int]
) -> MatrixProduct | None:
    """Return the matrix product of a step; `None` if it is none, or too small to gain."""
    left, right, kept = set(first), set(second), set(output)
    # No diagonals, and no label of one operand that is summed over without the other.
    if len(left) < len(first) or len(right) < len(second) or (left ^ right) - kept:
        return None
    # A product sums over shared labels, and at least one operand has a label of its own.
    if not (left & right) - kept or not left ^ right:
        return None
    if prod(sizes[label] for label in left | right) < _MIN_MULTIPLY_ADDS:
        return None
    batch = [label for label in output if label in left and label in right]
    inner = [label for label in first if label in right and label not in kept]
    free = [label for label in output if label not in batch]
    # The operand with the first free label of the result goes to the left, so that the product has
    # the axes in that order, or nearly; an operand without free labels goes to the right.
    swap = free[0] in right
    if swap:
        first, second = second, first
    rows = [label for label in free if label in first]
    columns = [label for label in free if label in second]
    left_order = [*batch, *rows, *inner]
    right_order = [*batch, *inner, *columns]
    product_order = [*batch, *rows, *columns]
    groups = [rows, inner]
    right_groups = [inner, columns] if columns or batch else [inner]
    result_shape = tuple(sizes[label] for label in product_order)
    plain_result = len(rows) == 1 and len(columns) == 1 and len(batch) <= 1
    vector = len(rows) == 1 and not columns and not batch
    return MatrixProduct(
        swap=swap,
        left_order=_axis_order(first, left_order),
        left_shape=_fused(groups, batch, sizes),
        right_order=_axis_order(second, right_order),
        right_shape=_fused(right_groups, batch, sizes),
        result_shape=None if plain_result or vector else result_shape,
        result_order=None
        if product_order == list(output)
        else tuple(product_order.index(x) for x in output),
    )


def _axis_order(term: Term, order: list[str]) -> tuple[int, ...] | None:
    return None if list(term) == order else tuple(term.index(label) for label in order)


def _fused(groups: list[list[str]], batch: list[str], sizes: dict[str, int]) -> Shape | None:
    """Return the shape with each group as one axis; `None` if each is one axis already."""
    if len(batch) <= 1 and all(len(group) == 1 for group in groups):
        return None
    lead = (prod(sizes[x] for x in batch),) if batch else ()
    return (*lead, *(prod(sizes[x] for x in group) for group in groups))
