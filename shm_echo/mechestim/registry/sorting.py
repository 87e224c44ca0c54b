"""Sorting, searching and sets."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import sorting as cost
from shm_echo.mechestim.registry.rules.memory import bounds, sorting

_SORT = "n*ceil(log2(n)) per slice"
_PARTITION = "n per slice"
_SET = "(n+m)*ceil(log2(n+m))"
_UNIQUE = "n*ceil(log2(n))"
_MERGE = "comparisons of a merge sort: D. E. Knuth, The Art of Computer Programming, vol. 3, 5.2.4"
_SELECT = "quickselect, to first order: C. A. R. Hoare, Algorithm 65, Comm. ACM 4 (1961)"
_COPY = bounds.copies(2)

OPS: tuple[Op, ...] = (
    custom("sort", _SORT, cost.sort, "A sorted copy.", sorting.sorted_copy, _COPY, source=_MERGE),
    custom("argsort", _SORT, cost.argsort, "Indices that would sort.", sorting.sorted_indices,
           _COPY, source=_MERGE),
    custom("lexsort", "k*n*ceil(log2(n))", cost.lexsort, "Indices that sort by several keys.",
           sorting.lexsorted, _COPY),
    custom("partition", _PARTITION, cost.partition, "A copy with the k-th element in its place.",
           sorting.sorted_copy, _COPY, source=_SELECT),
    custom("argpartition", _PARTITION, cost.argpartition, "Indices that would partition.",
           sorting.sorted_indices, _COPY, source=_SELECT),
    custom("searchsorted", "m*ceil(log2(n))", cost.searchsorted,
           "Positions at which elements belong in a sorted array.", sorting.found,
           sorting.both_scratch),
    custom("unique", _UNIQUE, cost.unique, "Sorted distinct elements.", sorting.distinct,
           bounds.copies(8)),
    custom("unique_all", _UNIQUE, cost.unique_standard,
           "Distinct elements with positions, inverse and counts.", sorting.distinct,
           bounds.copies(8)),
    custom("unique_counts", _UNIQUE, cost.unique_standard, "Distinct elements with their counts.",
           sorting.distinct, bounds.copies(8)),
    custom("unique_inverse", _UNIQUE, cost.unique_standard,
           "Distinct elements with the indices that rebuild the array.", sorting.distinct,
           bounds.copies(8)),
    custom("unique_values", _UNIQUE, cost.unique_standard, "Distinct elements.", sorting.distinct,
           bounds.copies(8)),
    custom("in1d", _SET, cost.isin, "True where an element is among others.", sorting.isin,
           sorting.membership_scratch, numpy="isin", charged_as="isin"),
    custom("isin", _SET, cost.isin, "True where an element is among others.", sorting.isin,
           sorting.membership_scratch),
    custom("intersect1d", _SET, cost.set_operation, "Elements that both arrays have.",
           sorting.both, sorting.both_scratch),
    custom("setdiff1d", _SET, cost.set_operation, "Elements that only the first array has.",
           sorting.both, sorting.both_scratch),
    custom("setxor1d", _SET, cost.set_operation, "Elements that exactly one array has.",
           sorting.both, sorting.both_scratch),
    custom("union1d", _SET, cost.set_operation, "Elements that either array has.", sorting.both,
           sorting.both_scratch),
)  # fmt: skip
