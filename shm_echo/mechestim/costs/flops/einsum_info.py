"""The result of `einsum_path`: the steps of a contraction, their prices, and a readable table.

Plain data; `shm_echo.mechestim.costs.flops.einsum` computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from shm_echo.mechestim.symmetry.products import ProductSymmetry

Shape = tuple[int, ...]


@dataclass(frozen=True)
class StepInfo:
    """One step of a contraction.

    Attributes:
        subscript: The step as einsum subscripts.
        flop_cost: Its price.
        dense_flop_cost: Its price if nothing were symmetric.
        symmetry_savings: The part of the dense price that symmetry saves, from 0 to 1.
        input_symmetries: The symmetry of each operand of the step, `None` where there is none.
        output_symmetry: The symmetry of its result.
        input_shapes: The shapes of its operands.
        output_shape: The shape of its result.
        blas_type: The BLAS routine that its shape suits (`"GEMM"`, `"GEMV"`, `"DOT"`,
            `"OUTER"`, `"BATCHED GEMM"`, `"TDOT"`), or `False`.
        path_indices: The positions that it contracts, in the list as it is then.
        merged_subset: The original operands that its result combines.
    """

    subscript: str
    flop_cost: int
    dense_flop_cost: int
    symmetry_savings: float
    input_symmetries: tuple[ProductSymmetry | None, ...]
    output_symmetry: ProductSymmetry | None
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    blas_type: str | bool
    path_indices: tuple[int, ...]
    merged_subset: frozenset[int]

    @property
    def dense_elements(self) -> int:
        """Return the number of elements of the result."""
        return prod(self.output_shape)

    @property
    def unique_elements(self) -> int:
        """Return the number of elements of the result that can differ."""
        found = self.output_symmetry
        return self.dense_elements if found is None else found.unique_elements


@dataclass(frozen=True)
class PathInfo:
    """A contraction and the path that it takes. `str()` is the table.

    Attributes:
        path: The positions that each step contracts.
        steps: The steps.
        naive_cost: The price of all operands in one step.
        optimized_cost: The price of the path, which einsum charges.
        largest_intermediate: Elements of the largest result of a step.
        speedup: `naive_cost / optimized_cost`.
        input_subscripts: The operands' labels, with commas.
        output_subscript: The result's labels.
        size_dict: The length of each label.
        optimizer_used: The strategy that chose the path.
    """

    path: tuple[tuple[int, ...], ...]
    steps: tuple[StepInfo, ...]
    naive_cost: int
    optimized_cost: int
    largest_intermediate: int
    speedup: float
    input_subscripts: str
    output_subscript: str
    size_dict: dict[str, int]
    optimizer_used: str

    def __str__(self) -> str:
        return self.format_table()

    def format_table(self, verbose: bool = False) -> str:
        """Return the contraction as text: totals first, then a row per step.

        `verbose` adds the shapes and the operands that each step merges.
        """
        sizes = ", ".join(f"{label}={size}" for label, size in self.size_dict.items())
        header = [
            ("Complete contraction", f"{self.input_subscripts}->{self.output_subscript}"),
            ("Naive cost (mechestim)", f"{self.naive_cost:,}"),
            ("Optimized cost (mechestim)", f"{self.optimized_cost:,}"),
            ("Speedup", f"{self.speedup:.3f}x"),
            ("Largest intermediate", f"{self.largest_intermediate:,} elements"),
            ("Index sizes", sizes or "none"),
            ("Optimizer", self.optimizer_used),
        ]
        width = max(len(label) for label, _ in header)
        lines = [f"{label:>{width}}:  {text}" for label, text in header]
        return "\n".join([*lines, "", *_table(self._rows(verbose))])

    def _rows(self, verbose: bool) -> list[list[str]]:
        symmetric = any(step.output_symmetry is not None for step in self.steps)
        titles = ["step", "contract", "subscript", "flops", "dense_flops", "savings", "blas"]
        titles += ["unique/dense", "symmetry"] if symmetric else []
        titles += ["shapes", "merged"] if verbose else []
        return [titles, *(_row(n, step, symmetric, verbose) for n, step in enumerate(self.steps))]


def _row(number: int, step: StepInfo, symmetric: bool, verbose: bool) -> list[str]:
    row = [
        str(number),
        f"({', '.join(map(str, step.path_indices))})",
        step.subscript,
        f"{step.flop_cost:,}",
        f"{step.dense_flop_cost:,}",
        f"{100 * step.symmetry_savings:.1f}%",
        str(step.blas_type) if step.blas_type else "-",
    ]
    if symmetric:
        row.append(f"{step.unique_elements:,}/{step.dense_elements:,}")
        row.append("-" if step.output_symmetry is None else str(step.output_symmetry))
    if verbose:
        row.append(f"{', '.join(map(str, step.input_shapes))} -> {step.output_shape}")
        row.append(f"{{{', '.join(map(str, sorted(step.merged_subset)))}}}")
    return row


def _table(rows: list[list[str]]) -> list[str]:
    """Return rows of text in columns: numbers align right, words left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = {"step", "flops", "dense_flops", "savings", "unique/dense"}
    right = [title in numeric for title in rows[0]]
    lines = [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return [lines[0], rule, *lines[1:]]
