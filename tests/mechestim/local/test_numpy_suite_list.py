"""Every line of the list of NumPy's tests that are left out has an id and a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.numpy_suite.exclusions import Exclusions

LIST = Path(__file__).parents[2] / "numpy_suite/exclusions.txt"


def test_the_list_is_well_formed() -> None:
    found = Exclusions.read(LIST)
    assert found.reasons
    for module in ("test_numeric", "test_umath", "test_multiarray"):
        assert any(case.startswith(f"{module}::") for case in found.reasons)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("test_umath::TestAdd::test_x", "no reason"),
        ("test_umath::TestAdd::test_x\t ", "no reason"),
        ("test_umath::TestAdd\ta whole class", "names no test function"),
        ("test_umath\ta whole module", "names no test function"),
        ("test_umath::test_x\tone\ntest_umath::test_x\ttwo", "listed twice"),
    ],
)
def test_a_malformed_line_is_refused(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        Exclusions.read(path)


def test_an_entry_matches_its_own_cases_only(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("test_m::test_a\tall of it\ntest_m::T::test_b[x::y-1]\tone case\n")
    found = Exclusions.read(path)
    assert found.reason("test_m", "test_a[1]") == "all of it"
    assert found.reason("test_m", "test_ab") is None
    assert found.reason("test_m", "T::test_b[x::y-1]") == "one case"
    assert found.reason("test_m", "T::test_b[other]") is None
    assert found.unused("test_m", ["test_a[1]"]) == ["test_m::T::test_b[x::y-1]"]
