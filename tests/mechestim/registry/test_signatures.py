"""The checked-in table of signatures."""

from __future__ import annotations

import ast

import pytest

from shm_echo.mechestim.registry import OPS, Category
from shm_echo.mechestim.registry._signatures_generated import NUMPY, SIGNATURES
from tools import mechestim_signatures


@pytest.mark.skipif(
    mechestim_signatures.numpy_minor() != NUMPY,
    reason=f"the table is that of NumPy {NUMPY}, another minor version is installed",
)
def test_the_table_has_the_signatures_of_the_installed_numpy() -> None:
    """If it fails, run `python -m tools.generate`."""
    assert mechestim_signatures.TARGET.read_text() == mechestim_signatures.text()


def test_every_supported_operation_has_a_signature() -> None:
    supported = {op.name for op in OPS.values() if op.category is not Category.UNSUPPORTED}
    values = {"random.Generator.bit_generator"}  # an attribute
    assert supported - set(SIGNATURES) <= values


def test_the_table_holds_operations_and_methods_of_arrays_only() -> None:
    assert {name for name in SIGNATURES if name not in OPS and "ndarray." not in name} == set()


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_signature_is_python(name: str) -> None:
    tree = ast.parse(f"def f{SIGNATURES[name]}: ...")
    assert isinstance(tree.body[0], ast.FunctionDef)


def test_parameters_beyond_numpys_are_declared() -> None:
    assert "k=None" in SIGNATURES["linalg.svd"]
    assert "symmetric_axes=None" in SIGNATURES["einsum"]
    assert SIGNATURES["random.Generator.normal"] == "(self, loc=0.0, scale=1.0, size=None)"
    assert SIGNATURES["sum"].startswith("(a, axis=None, dtype=None, out=None, keepdims=...")
