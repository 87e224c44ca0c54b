"""The text of the books, line by line."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from shm_echo import __version__
from shm_echo.mechestim.accounting import report


def ops(**entries: tuple[int, int]) -> dict[str, dict[str, int]]:
    return {name: {"flop_cost": f, "flops": f, "calls": c} for name, (f, c) in entries.items()}


def books(budget: int, operations: dict[str, dict[str, int]], **more: Any) -> dict[str, Any]:
    used = sum(entry["flop_cost"] for entry in operations.values())
    return {
        "namespace": None,
        "flop_budget": budget,
        "flops_used": used,
        "flops_remaining": budget - used,
        "operations": operations,
        **more,
    }


def shown(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


# ---------------------------------------------------------------- one context


def test_a_context_is_an_aligned_table_with_the_dearest_operation_first() -> None:
    text = report.summary_text(books(1000, ops(exp=(10, 2), einsum=(24, 1))))
    assert text == shown("""
        mechestim FLOP Budget Summary
        =============================
          Total budget:           1,000
          Used:                      34  (3.4%)
          Remaining:                966  (96.6%)

          By operation:
            einsum                     24  ( 70.6%)  [1 call]
            exp                        10  ( 29.4%)  [2 calls]
    """)


def test_the_title_names_the_namespace_and_the_rule_is_as_long() -> None:
    text = report.summary_text(books(1000, ops(exp=(10, 1)), namespace="mlp"))
    title, rule = text.splitlines()[:2]
    assert title == "mechestim FLOP Budget Summary [mlp]"
    assert rule == "=" * len(title)


def test_columns_grow_with_their_entries() -> None:
    operations = ops(**{"random.Generator.standard_normal": (10**15, 12345), "exp": (7, 1)})
    text = report.summary_text(books(10**18, operations))
    assert text == shown("""
        mechestim FLOP Budget Summary
        =============================
          Total budget: 1,000,000,000,000,000,000
          Used:             1,000,000,000,000,007  (0.1%)
          Remaining:      998,999,999,999,999,993  (99.9%)

          By operation:
            random.Generator.standard_normal 1,000,000,000,000,000  (100.0%)  [12,345 calls]
            exp                                                  7  (  0.0%)  [1 call]
    """)


def test_a_context_without_charges_lists_no_operations() -> None:
    assert report.summary_text(books(10, {})) == shown("""
        mechestim FLOP Budget Summary
        =============================
          Total budget:              10
          Used:                       0  (0.0%)
          Remaining:                 10  (100.0%)
    """)


def test_free_operations_have_a_share_of_0() -> None:
    lines = report.summary_text(books(10, ops(matrix_power=(0, 3)))).splitlines()
    assert lines[-1] == "    matrix_power                0  (  0.0%)  [3 calls]"


def test_namespaces_are_listed_if_there_are_others_than_that_of_the_context() -> None:
    groups = {
        "net": {"flop_budget": 100, "flops_used": 5, "operations": ops(exp=(5, 1))},
        "net.first": {
            "flop_budget": 100,
            "flops_used": 15,
            "operations": ops(exp=(10, 2), log=(5, 1)),
        },
    }
    spent = ops(exp=(15, 3), log=(5, 1))
    text = report.summary_text(books(100, spent, namespace="net", by_namespace=groups))
    assert text.partition("  By namespace:\n")[2] == (
        "    net.first                  15  ( 75.0%)  [3 calls]\n"
        "    net                         5  ( 25.0%)  [1 call]"
    )
    alone = {"net": groups["net"]}
    text = report.summary_text(books(100, ops(exp=(5, 1)), namespace="net", by_namespace=alone))
    assert "By namespace" not in text


def test_equal_costs_are_listed_by_name() -> None:
    lines = report.summary_text(books(10, ops(b=(2, 1), a=(2, 1), c=(3, 1)))).splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["c", "a", "b"]


# ---------------------------------------------------------------- the session


def test_the_books_of_a_process_list_namespaces_and_then_all_operations() -> None:
    groups = {
        "(default)": {"flop_budget": 10**15, "flops_used": 6, "operations": ops(exp=(6, 1))},
        "mlp": {
            "flop_budget": 1000,
            "flops_used": 34,
            "operations": ops(einsum=(24, 1), exp=(10, 2)),
        },
        None: {"flop_budget": 50, "flops_used": 0, "operations": {}},
    }
    total = books(10**15 + 1050, ops(einsum=(24, 1), exp=(16, 3)), by_namespace=groups)
    assert report.session_text(total) == shown("""
        mechestim FLOP Budget Summary
        ==================================================
          Total budget: 1,000,000,000,001,050
          Used:                            40  (0.0%)
          Remaining:    1,000,000,000,001,010  (100.0%)

          [(default)]
            Budget:       1,000,000,000,000,000
            Used:                             6
            Operations:
              exp                         6  (100.0%)  [1 call]

          [mlp]
            Budget:                 1,000
            Used:                      34
            Operations:
              einsum                     24  ( 70.6%)  [1 call]
              exp                        10  ( 29.4%)  [2 calls]

          [(unnamed)]
            Budget:                    50
            Used:                       0

          All operations (session total):
            einsum                     24  ( 60.0%)  [1 call]
            exp                        16  ( 40.0%)  [3 calls]
    """)


def test_empty_books_are_printed_as_the_totals_alone() -> None:
    text = report.session_text(books(0, {}, by_namespace={}))
    assert text == shown("""
        mechestim FLOP Budget Summary
        ==================================================
          Total budget:               0
          Used:                       0  (0.0%)
          Remaining:                  0  (0.0%)
    """)


# ---------------------------------------------------------------- bars, banner


def test_bars_show_the_share_and_the_dearest_operation_of_each_namespace() -> None:
    groups = {
        "mlp": {"flop_budget": 1000, "flops_used": 500, "operations": ops(einsum=(500, 1))},
        None: {"flop_budget": 10**15, "flops_used": 0, "operations": {}},
    }
    total = books(10**15 + 1000, ops(einsum=(500, 1)), by_namespace=groups)
    assert report.bars_text(total, 1.25) == (
        "mlp       [###############...............]  50.0%   500 of 1,000 FLOPs  einsum\n"
        "(unnamed) [..............................]   0.0%  0 of 1.00e+15 FLOPs\n"
        "500 FLOPs in 1.2 s"
    )


def test_bars_of_empty_books_are_the_total() -> None:
    assert report.bars_text(books(0, {}), 0.0) == "0 FLOPs in 0.0 s"


@pytest.mark.parametrize(
    ("flops", "text"),
    [(0, "0"), (999_999_999_999_999, "999,999,999,999,999"), (10**15, "1.00e+15")],
)
def test_large_numbers_are_short_in_narrow_columns(flops: int, text: str) -> None:
    assert report.flops_text(flops) == text


def test_the_banner_names_version_backend_and_budget() -> None:
    assert report.banner(1000) == f"mechestim {__version__} | budget: 1.00e+03 FLOPs"
    text = report.banner(10**15, "numpy 2.4.6")
    assert text == f"mechestim {__version__} (numpy 2.4.6) | budget: 1.00e+15 FLOPs"
