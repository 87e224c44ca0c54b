"""Weights: from a file, a mapping or the environment, checked before they count."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import mechestim as me
from shm_echo.mechestim import registry
from shm_echo.mechestim.accounting import weights
from shm_echo.mechestim.accounting.settings import configure, settings
from tests.support.scripts import run_script
from tests.support.spending import quiet, spend, used


def write(folder: Path, text: str) -> str:
    path = folder / "weights.json"
    path.write_text(text)
    return str(path)


# ---------------------------------------------------------------- effects


def test_a_weight_multiplies_the_price_of_its_operation_and_of_no_other() -> None:
    x = me.ones(10)
    with quiet() as budget:
        me.configure(weights={"exp": 16, "log": 0.25})
        me.exp(x), me.log(x), me.sqrt(x)
    assert used(budget) == {"exp": 160, "sqrt": 10, "log": 2}


def test_a_weight_counts_for_every_spelling_of_the_operation() -> None:
    me.configure(weights={"acos": 3, "pow": 5, "add": 7})
    x = me.ones(10)
    with quiet() as budget:
        me.arccos(x), me.acos(x)
        me.power(x, x), x**x
        x + x, me.add(x, x)
    assert used(budget) == {"arccos": 60, "power": 100, "add": 140}


def test_the_weight_comes_before_the_multiplier_and_each_is_truncated() -> None:
    configure(weights={"exp": 0.5})
    with quiet(flop_multiplier=1.5) as budget:
        spend(7, "exp")
        spend(7, "log")
    assert used(budget) == {"exp": 4, "log": 10}  # int(int(7 * 0.5) * 1.5), int(7 * 1.5)


def test_a_weight_of_0_makes_an_operation_free() -> None:
    configure(weights={"exp": 0})
    with quiet(1) as budget:
        spend(10**12, "exp")
    assert budget.flops_used == 0
    assert budget.summary_dict()["operations"]["exp"]["calls"] == 1


def test_weights_apply_to_open_budgets_until_they_are_removed() -> None:
    with quiet() as budget:
        spend(10, "exp")
        configure(weights={"exp": 2})
        spend(10, "exp")
        configure(weights=None)
        spend(10, "exp")
        configure(weights={})
        spend(10, "exp")
    assert budget.flops_used == 50


@pytest.mark.local_only("ceiling")
def test_weighted_prices_are_exact_integers_of_any_size() -> None:
    configure(weights={"exp": 3, "log": 0.5})
    large = 2**62 - 1
    with quiet(2**63 - 1) as budget:
        assert spend(large, "log") == large // 2
    with quiet(2**63 - 1) as budget, pytest.raises(me.BudgetExhaustedError) as caught:
        spend(large, "exp")
    assert caught.value.flop_cost == 3 * large
    with quiet(2**63 - 1) as budget, pytest.raises(me.BudgetExhaustedError):
        spend(10**400, "log")  # beyond every float
    assert budget.flops_used == 0


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_one_object_of_numbers(kind: Any, tmp_path: Path) -> None:
    path = write(tmp_path, '{"exp": 16, "linalg.svd": 1.5}')
    configure(weights=kind(path))
    assert settings.weights == {"exp": 16, "linalg.svd": 1.5}


def test_the_environment_names_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, '{"exp": 16}')
    printed = run_script(
        """
import mechestim as me
with me.BudgetContext(1000, quiet=True) as budget:
    me.exp(me.ones(3)), me.log(me.ones(3))
print(budget.flops_used)
me.configure(weights=None)
with budget:
    me.exp(me.ones(3))
print(budget.flops_used)
""",
        env={weights.VARIABLE: path},
    )
    assert printed.split() == ["51", "54"]


def test_an_empty_variable_is_none() -> None:
    printed = run_script(
        "from shm_echo.mechestim.accounting.settings import settings; print(settings.weights)",
        env={weights.VARIABLE: " "},
    )
    assert printed == "None\n"


def test_an_invalid_file_in_the_environment_raises_at_the_first_import(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, '{"expp": 2}')
    script = """
try:
    import mechestim as me
    me.BudgetContext(10)
except ValueError as error:
    print(error)
"""
    text = run_script(script, env={weights.VARIABLE: path})
    assert text.startswith(f"{weights.VARIABLE}: the weights file {path!r}: ")
    assert "no operation 'expp'" in text
    text = run_script(script, env={weights.VARIABLE: str(tmp_path / "none.json")})
    assert "cannot read the weights file" in text
    assert "No such file" in text


# ---------------------------------------------------------------- invalid weights


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"exxp": 1}, "there is no operation 'exxp'. Did you mean 'exp'"),
        ({"linalg.svdd": 1}, "'linalg.svdd'. Did you mean 'linalg.svd'"),
        ({"qqqqqqqq": 1}, "there is no operation 'qqqqqqqq'"),
        ({1: 1}, "there is no operation 1"),
        ({"exp": -0.5}, "'exp' must be finite and not negative, got -0.5"),
        ({"exp": float("nan")}, "'exp' must be finite and not negative, got nan"),
        ({"exp": float("inf")}, "'exp' must be finite and not negative, got inf"),
        ({"exp": 10**400}, "'exp' must be finite and not negative, got 1000"),
        ({"exp": "2"}, "'exp' must be a number, got '2'"),
        ({"exp": True}, "'exp' must be a number, got True"),
        ({"exp": None}, "'exp' must be a number, got None"),
        ({"reshape": 2}, "'reshape' has no price (free), so a weight would do nothing"),
        ({"save": 2}, "'save' has no price (unsupported), so a weight would do nothing"),
        (
            {"acos": 2, "arccos": 3},
            "'acos' and 'arccos' are one operation, charged as 'arccos', "
            "but have the weights 2 and 3",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:40],
)
def test_the_error_names_an_invalid_entry(entries: dict[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        me.configure(weights=entries)
    assert str(caught.value).startswith("weights: ")


def test_aliases_may_have_equal_weights() -> None:
    assert weights.check({"acos": 2, "arccos": 2.0}) == {"arccos": 2}


@pytest.mark.parametrize("value", [2, 2.5, Fraction(5, 2)], ids=str)
def test_numbers_of_all_kinds_are_weights(value: Any) -> None:
    assert weights.check({"exp": value}) == {"exp": value}


def test_numbers_of_numpy_are_weights() -> None:
    np = pytest.importorskip("numpy")
    found = weights.check({"exp": np.float32(2.5), "log": np.int64(3)})
    assert found == {"exp": 2.5, "log": 3}
    assert [type(value) for value in found.values()] == [float, int]


def test_every_operation_that_has_a_price_can_have_a_weight(tmp_path: Path) -> None:
    named = {name: 2 for name, op in registry.OPS.items() if op.counted}
    found = weights.load(write(tmp_path, json.dumps(named)))
    assert found == {op.book_name: 2 for op in registry.OPS.values() if op.counted}
    assert len(found) > 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'exp': 2}", "is not valid JSON"),
        ("", "is not valid JSON"),
        ('{"exp": 2, "exp": 3}', "'exp' is there twice"),
        ('["exp", 2]', "must hold one JSON object from operation names to numbers, got list"),
        ("2", "got int"),
        ('{"exp": NaN}', "the weight of 'exp' must be finite and not negative, got nan"),
        ('{"exp": -Infinity}', "the weight of 'exp' must be finite and not negative, got -inf"),
        ('{"exp": 1e999}', "the weight of 'exp' must be finite and not negative, got inf"),
        ('{"exp": {}}', "the weight of 'exp' must be a number, got {}"),
        ("[" * 10**5, "the weights file"),
    ],
    ids=lambda value: value[:20],
)
def test_the_error_names_an_invalid_file_and_the_reason(
    text: str, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        configure(weights=path)
    assert repr(path) in str(caught.value)
    assert settings.weights is None


def test_the_error_names_a_file_that_is_binary_or_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes' is not valid JSON"):
        configure(weights=tmp_path / "bytes")
    with pytest.raises(ValueError, match="cannot read the weights file .*: Is a directory"):
        configure(weights=tmp_path)
