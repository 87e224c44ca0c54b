"""The price of an einsum, and the plan that the price belongs to.

Price of a step: the product of the lengths of all labels in it, times 2 when a label is summed (a
multiply-add is 2 FLOPs; a step of `k > 2` operands costs `k - 1` products, plus 1 when a label
is summed). Symmetry of the step's *result* reduces that to the part of its elements that can
differ. The price of an einsum is the sum over the steps of its path.

The symmetry of a step comes from the symmetry that its operands declare and from operands that are
the same object. Symmetry among labels that are summed away saves nothing. The path is chosen
without regard to symmetry.

Plans are cached by subscripts, shapes, identities and symmetries; nothing here looks at an element,
and nothing imports NumPy.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

from shm_echo.mechestim.costs.flops.einsum_info import PathInfo, StepInfo
from shm_echo.mechestim.costs.flops.einsum_path import Path, find_path, normalize_optimize
from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.costs.subscripts import Contraction, Shape, Term, from_arguments, parse
from shm_echo.mechestim.symmetry.info import Groups, SymmetryInfo
from shm_echo.mechestim.symmetry.products import Factor, ProductSymmetry, symmetry_of_product

__all__ = [
    "PathInfo",
    "Plan",
    "PlanStep",
    "StepInfo",
    "einsum",
    "einsum_cost",
    "einsum_path",
    "plan",
    "plan_operands",
]


@dataclass(frozen=True)
class PlanStep:
    """One step of a plan: contract `operands` (positions in the list) with `inputs -> output`.

    `operands` descend, so that removing one leaves the positions of the others valid; `inputs` is
    in the same order.
    """

    operands: tuple[int, ...]
    inputs: tuple[Term, ...]
    output: Term
    cost: int
    dense_cost: int
    symmetry: ProductSymmetry | None
    input_symmetries: tuple[ProductSymmetry | None, ...]
    merged: frozenset[int]

    @property
    def subscripts(self) -> str:
        """Return the step as einsum subscripts."""
        return f"{','.join(map(''.join, self.inputs))}->{''.join(self.output)}"


@dataclass(frozen=True)
class Plan:
    """A priced contraction.

    Attributes:
        contraction: The labels of the operands and of the result.
        path: The order of the steps.
        steps: The steps.
        cost: The price, in FLOPs.
        optimizer: The strategy that chose the path.
    """

    contraction: Contraction
    path: Path
    steps: tuple[PlanStep, ...]
    cost: int
    optimizer: str

    @property
    def output_shape(self) -> Shape:
        """Return the shape of the result."""
        return self.contraction.output_shape

    @cached_property
    def peak_elements(self) -> int:
        """The most elements alive at once: intermediates, the result and copies of operands."""
        sizes = self.contraction.sizes
        live: list[int] = [0] * len(self.contraction.inputs)  # intermediates only
        peak = 0
        for step in self.steps:
            copies = sum(_volume(term, sizes) for term in step.inputs)
            result = _volume(step.output, sizes)
            peak = max(peak, sum(live) + copies + result)
            for position in step.operands:
                live.pop(position)
            live.append(result)
        return peak

    @cached_property
    def info(self) -> PathInfo:
        """The plan in numbers, for display."""
        sizes = self.contraction.sizes
        everything = {label for term in self.contraction.inputs for label in term}
        naive = _dense_cost(
            everything, self.contraction.output, len(self.contraction.inputs), sizes
        )
        return PathInfo(
            path=self.path,
            steps=tuple(self._step_info(step) for step in self.steps),
            naive_cost=naive,
            optimized_cost=self.cost,
            largest_intermediate=max((_volume(s.output, sizes) for s in self.steps), default=0),
            speedup=naive / self.cost if self.cost else 1.0,
            input_subscripts=",".join(map("".join, self.contraction.inputs)),
            output_subscript="".join(self.contraction.output),
            size_dict=dict(sizes),
            optimizer_used=self.optimizer,
        )

    def _step_info(self, step: PlanStep) -> StepInfo:
        sizes = self.contraction.sizes
        return StepInfo(
            subscript=step.subscripts,
            flop_cost=step.cost,
            dense_flop_cost=step.dense_cost,
            symmetry_savings=1 - step.cost / step.dense_cost if step.dense_cost else 0.0,
            input_symmetries=step.input_symmetries,
            output_symmetry=step.symmetry,
            input_shapes=tuple(_shape(term, sizes) for term in step.inputs),
            output_shape=_shape(step.output, sizes),
            blas_type=blas_type(step.inputs, step.output),
            path_indices=tuple(sorted(step.operands)),
            merged_subset=step.merged,
        )


def _shape(term: Term, sizes: dict[str, int]) -> Shape:
    return tuple(sizes[label] for label in term)


def _volume(labels: Any, sizes: dict[str, int]) -> int:
    return prod(sizes[label] for label in labels)


def _dense_cost(labels: set[str], output: Term, operands: int, sizes: dict[str, int]) -> int:
    """Return the price of a step without symmetry."""
    summed = not labels.issubset(output)
    return _volume(labels, sizes) * (max(1, operands - 1) + summed)


def blas_type(inputs: Sequence[Term], output: Term) -> str | bool:
    """Return the BLAS routine for a step of two operands, or False if none fits."""
    if len(inputs) != 2:
        return False
    left, right = map(set, inputs)
    remaining = set(output)
    simple = all(len(set(term)) == len(term) for term in inputs)
    if not simple or (left ^ right) - remaining:
        return False
    shared = left & right
    summed, batch = shared - remaining, shared & remaining
    if not summed:
        return "OUTER" if not shared else False
    rows, columns = left - shared, right - shared
    if batch:
        return "BATCHED GEMM" if rows or columns else False
    if not rows and not columns:
        return "DOT"
    if not rows or not columns:
        return "GEMV"
    matrices = len(summed) == len(rows) == len(columns) == 1
    return "GEMM" if matrices else "TDOT"


def plan(
    subscripts: str,
    shapes: Sequence[Shape],
    identities: Sequence[int] | None = None,
    symmetries: Sequence[Groups | None] | None = None,
    optimize: Any = "auto",
) -> Plan:
    """Return the plan for operands of `shapes`; plans are cached.

    Args:
        subscripts: Einsum subscripts.
        shapes: The shape of each operand.
        identities: One number per operand, equal where operands are the same object.
        symmetries: The groups of interchangeable axes of each operand, `None` where it has none.
        optimize: As in `mechestim.einsum_path`.
    """
    given = tuple(map(tuple, shapes))
    count = len(given)
    same = tuple(identities) if identities is not None else tuple(range(count))
    groups = tuple(g or () for g in symmetries) if symmetries is not None else ((),) * count
    return _plan(subscripts, given, same, groups, normalize_optimize(optimize))


@lru_cache(maxsize=2048)  # a plan of a few steps takes some kilobytes: at most a few megabytes
def _plan(
    subscripts: str,
    shapes: tuple[Shape, ...],
    identities: tuple[int, ...],
    symmetries: tuple[Groups, ...],
    optimize: Hashable,
) -> Plan:
    contraction = parse(subscripts, shapes)
    path = find_path(contraction, optimize)
    factors = tuple(
        Factor(tensor, term, groups)
        for tensor, term, groups in zip(identities, contraction.inputs, symmetries, strict=True)
    )
    steps = _steps(contraction, path, factors)
    return Plan(contraction, path, steps, sum(step.cost for step in steps), _optimizer(optimize))


def _optimizer(optimize: Hashable) -> str:
    if isinstance(optimize, str):
        return optimize
    if isinstance(optimize, tuple) and optimize and isinstance(optimize[0], str):
        return optimize[0]
    return "none" if optimize is False else "explicit path"


def _steps(
    contraction: Contraction, path: Path, factors: tuple[Factor, ...]
) -> tuple[PlanStep, ...]:
    sizes = contraction.sizes
    terms = list(contraction.inputs)
    merged = [frozenset((i,)) for i in range(len(terms))]
    symmetries = [symmetry_of_product((f,), f.labels, sizes) if f.groups else None for f in factors]
    steps = []
    for positions in path:
        taken = tuple(reversed(positions))
        inputs = tuple(terms.pop(i) for i in taken)
        subset = frozenset().union(*(merged.pop(i) for i in taken))
        before = tuple(symmetries.pop(i) for i in taken)
        output = _step_output(inputs, terms, contraction.output)
        symmetry = symmetry_of_product([factors[i] for i in sorted(subset)], output, sizes)
        labels = {label for term in inputs for label in term}
        dense = _dense_cost(labels, output, len(inputs), sizes)
        total = _volume(output, sizes)
        unique = total if symmetry is None else symmetry.unique_elements
        cost = dense // total * unique if total else 0
        steps.append(PlanStep(taken, inputs, output, cost, dense, symmetry, before, subset))
        terms.append(output)
        merged.append(subset)
        symmetries.append(symmetry)
    return tuple(steps)


def _step_output(inputs: Sequence[Term], rest: Sequence[Term], final: Term) -> Term:
    """Return the labels of a step's result: the remaining steps or the final result need them."""
    if not rest:
        return final
    needed = set(final).union(*rest)
    return tuple(dict.fromkeys(label for term in inputs for label in term if label in needed))


# ------------------------------------------------------------------------------------ with operands


def plan_operands(*arguments: Any, optimize: Any = "auto") -> Plan:
    """Return the plan of an einsum call, from the caller's own operands."""
    subscripts, operands = from_arguments(arguments)
    return plan(
        subscripts,
        [shape_of(x) for x in operands],
        identities(operands),
        [declared(x) for x in operands],
        optimize,
    )


def identities(operands: Sequence[Any]) -> tuple[int, ...]:
    """Return one number per operand; operands that are one object get the same number.

    >>> x, y = [1], [1]
    >>> identities((x, y, x))
    (0, 1, 0)
    """
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(x), i) for i, x in enumerate(operands))


def declared(x: Any) -> Groups | None:
    """Return the groups of interchangeable axes that an operand declares."""
    info = getattr(x, "symmetry_info", None)
    return None if info is None else info.symmetric_axes


def einsum(*operands: Any, optimize: Any = "auto", **_: Any) -> int:
    """Price of `einsum(subscripts, *operands)`: the sum over the pairwise steps of its path.

    Formula: per step `prod(lengths of all its labels) * (2 if a label is summed else 1)`, times
    `unique / total` elements of the step's result. Source: opt_einsum's FLOP count of a step.
    """
    return plan_operands(*operands, optimize=optimize).cost


def einsum_path(*operands: Any, optimize: Any = "auto") -> tuple[list[tuple[int, ...]], PathInfo]:
    """Return the path that `einsum` takes for these operands, and the price of each step. Free."""
    found = plan_operands(*operands, optimize=optimize)
    return list(found.path), found.info


def einsum_cost(
    subscripts: str,
    shapes: Sequence[Sequence[int]],
    operand_symmetries: Sequence[SymmetryInfo | Groups | None] | None = None,
    *,
    identities: Sequence[int] | None = None,
    optimize: Any = "auto",
) -> int:
    """Return the price of an einsum of operands of `shapes`, without running it.

    Args:
        subscripts: Einsum subscripts.
        shapes: The shape of each operand.
        operand_symmetries: The symmetry of each operand, `None` where it has none.
        identities: One number per operand, equal where operands are the same object.
        optimize: As in `mechestim.einsum_path`.

    >>> einsum_cost("ij,jk->ik", [(3, 4), (4, 5)])
    120
    """
    given = operand_symmetries or [None] * len(shapes)
    groups = [
        SymmetryInfo(_groups(s), tuple(shape)).symmetric_axes if s else None
        for s, shape in zip(given, shapes, strict=True)
    ]
    return plan(subscripts, [tuple(s) for s in shapes], identities, groups, optimize).cost


def _groups(symmetry: SymmetryInfo | Groups) -> Groups:
    return symmetry.symmetric_axes if isinstance(symmetry, SymmetryInfo) else symmetry
