"""The price of `linalg.multi_dot`: a chain of matrix products in its cheapest order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from shm_echo.mechestim.costs.flops.contraction import (
    Labels,
    dot,
    equal_einsum,
    mismatch,
    symmetric,
)
from shm_echo.mechestim.costs.operands import shape as shape_of


def multi_dot(arrays: Sequence[Any], **_: Any) -> int:
    """Price of `linalg.multi_dot`: the cheapest order of its matrix products, `2*m*k*n` each.

    Source: the matrix-chain dynamic programme, T. H. Cormen et al., Introduction to Algorithms,
        15.2.
    """
    if len(arrays) < 2:
        raise ValueError("multi_dot needs at least two arrays")
    if len(arrays) == 2:
        return dot(arrays[0], arrays[1])
    shapes = [shape_of(x) for x in arrays]
    if any(len(shape) != 2 for shape in shapes[1:-1]) or not all(
        len(shape) in (1, 2) for shape in (shapes[0], shapes[-1])
    ):
        raise ValueError("multi_dot takes matrices, and vectors at its ends")
    row = shapes[0] if len(shapes[0]) == 2 else (1, *shapes[0])
    column = shapes[-1] if len(shapes[-1]) == 2 else (*shapes[-1], 1)
    matrices = [row, *shapes[1:-1], column]
    for left, right in pairwise(matrices):
        if left[1] != right[0]:
            raise mismatch("multi_dot", left, right)
    cost, path = _chain([m[0] for m in matrices] + [matrices[-1][1]])
    if not symmetric(*arrays):
        return cost
    terms: list[Labels] = [[i, i + 1] for i in range(len(arrays))]
    output = [0, len(arrays)]
    if len(shapes[0]) == 1:
        terms[0] = [1]
        output.remove(0)
    if len(shapes[-1]) == 1:
        terms[-1] = [len(arrays) - 1]
        output.remove(len(arrays))
    return equal_einsum(arrays, terms, output, path)


def _chain(lengths: Sequence[int]) -> tuple[int, list[tuple[int, int]]]:
    """Return the cheapest price and order of a chain of matrices `lengths[i] x lengths[i + 1]`."""
    count = len(lengths) - 1
    best = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for span in range(1, count):
        for i in range(count - span):
            j = i + span
            options = [
                best[i][k] + best[k + 1][j] + 2 * lengths[i] * lengths[k + 1] * lengths[j + 1]
                for k in range(i, j)
            ]
            best[i][j] = min(options)
            split[i][j] = i + options.index(best[i][j])
    path: list[tuple[int, int]] = []
    live = list(range(count))  # the operand or result at each position
    results = count  # the number of the next result

    def visit(i: int, j: int) -> int:
        nonlocal results
        if i == j:
            return i
        left, right = visit(i, split[i][j]), visit(split[i][j] + 1, j)
        path.append((live.index(left), live.index(right)))
        live.remove(left)
        live.remove(right)
        live.append(results)
        results += 1
        return results - 1

    visit(0, count - 1)
    return best[0][count - 1], path
