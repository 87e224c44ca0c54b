"""The page of operations agrees with the registry."""

from __future__ import annotations

from tools import mechestim_op_table


def test_the_page_of_operations_matches_the_registry() -> None:
    page = mechestim_op_table.PAGE.read_text()
    assert page == mechestim_op_table.page(), "run: python tools/mechestim_op_table.py"
