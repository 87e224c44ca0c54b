"""The registry against the table of documented operations."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from shm_echo.mechestim import registry
from shm_echo.mechestim.registry import OPS, Category, Op

TABLE = Path(__file__).parent.parent / "data" / "ops.tsv"

# Intended differences from the table: element writes have a price, and functions that call a
# function of the caller are supported and charge the operations inside it.
WRITES = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}
CALLBACKS = {"apply_along_axis", "apply_over_axes", "frompyfunc", "piecewise"}

# Planning is free, and these three are priced by their input, not by their output.
RECLASSIFIED = {
    "einsum_path": Category.FREE,
    "vecdot": Category.CUSTOM,
    "matvec": Category.CUSTOM,
    "vecmat": Category.CUSTOM,
}

# The table explains these formulas in passing; the registry only states them.
STATED = {
    "argpartition": "n per slice",
    "argsort": "n*ceil(log2(n)) per slice",
    "corrcoef": "f^2*s",
    "cov": "f^2*s",
    "interp": "n*ceil(log2(m))",
    "partition": "n per slice",
    "polyder": "n",
    "polyint": "n",
    "roots": "10*n^3",
    "sort": "n*ceil(log2(n)) per slice",
}

# The entries of these belong to other families, whose own tests check the wording of the formula.
CONTRACTIONS = {
    "dot", "einsum", "einsum_path", "inner", "kron", "matmul", "matvec", "outer", "tensordot",
    "trace", "vdot", "vecdot", "vecmat",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    with TABLE.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_every_documented_operation_is_there_with_its_category(row: dict[str, str]) -> None:
    op = OPS[row["name"]]
    if op.name in WRITES:
        assert op.category is Category.CUSTOM
    elif op.name in CALLBACKS:
        assert op.category is Category.FREE
        assert op.callbacks
    else:
        assert op.category is RECLASSIFIED.get(op.name, Category(row["category"]))


@pytest.mark.parametrize(
    "row",
    [r for r in rows() if "." not in r["name"] and r["name"] not in CONTRACTIONS],
    ids=lambda row: row["name"],
)
def test_every_documented_formula_is_stated(row: dict[str, str]) -> None:
    op = OPS[row["name"]]
    if op.name in WRITES:
        assert op.formula == "numel(target)"
    elif op.name in CALLBACKS:
        assert op.formula == "0"
    else:
        assert op.formula == STATED.get(op.name, row["formula"])


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_every_entry_is_complete(op: Op) -> None:
    assert OPS[op.name] is op
    assert op.summary.endswith(".")
    assert op.summary.count(". ") == 0
    assert len(op.summary) <= 90
    if op.category is Category.UNSUPPORTED:
        assert op.cost is None
        assert len(op.advice) > 20
        return
    assert op.result_bytes is not None
    assert op.scratch_bytes is not None
    assert (op.cost is None) == (op.category is Category.FREE)
    if op.cost is not None:
        assert op.formula not in ("", "-")
        assert op.cost.__doc__


def test_aliases_are_booked_under_an_existing_operation() -> None:
    for op in OPS.values():
        if op.charged_as:
            book = OPS[op.charged_as]
            assert not book.charged_as
            assert book.category is op.category
            assert book.formula == op.formula


def test_the_registry_and_the_prices_need_no_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None; "
        "from shm_echo.mechestim.registry import OPS; "
        "assert OPS['sort'].cost([3, 1, 2]) == 6; "
        "assert OPS['sort'].result_bytes([3, 1, 2]) == 24"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_raises_and_similar_names_are_found() -> None:
    with pytest.raises(KeyError):
        registry.get("sotr")
    assert registry.nearest("sotr")[0] == "sort"
    assert "linalg.solve" in registry.nearest("linalg.sovle")
    assert "save" not in registry.nearest("save")
    assert len(registry.nearest("arcs", 2)) == 2
    assert registry.nearest("xqzw") == []


def test_names_are_listed_by_prefix_in_order() -> None:
    found = registry.names("linalg.")
    assert found == tuple(sorted(found))
    assert "linalg.svd" in found
    assert all(name.startswith("linalg.") for name in found)
    assert registry.names() == tuple(sorted(OPS))
