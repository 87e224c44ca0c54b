"""Slot is a C type: it is documented and named like a class of Python."""

from __future__ import annotations

import ast
import inspect
import pydoc
from pathlib import Path

import pytest

import shm_echo
from shm_echo.ring import _core_cpython

STUB = Path(_core_cpython.__file__).parent / "_core_cpython.pyi"
(CLASS,) = (
    node
    for node in ast.parse(STUB.read_text()).body
    if isinstance(node, ast.ClassDef) and node.name == "Slot"
)
DOCUMENTED = {
    node.name: docstring
    for node in CLASS.body
    if isinstance(node, ast.FunctionDef) and (docstring := ast.get_docstring(node))
}


def test_it_is_a_public_name_with_the_docstring_of_its_stub() -> None:
    assert shm_echo.Slot.__module__ == "shm_echo.transports.slot"
    assert shm_echo.Slot.__qualname__ == "Slot"
    assert inspect.getdoc(shm_echo.Slot) == ast.get_docstring(CLASS)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_member_has_the_docstring_of_the_stub(name: str) -> None:
    assert inspect.getdoc(getattr(shm_echo.Slot, name)) == DOCUMENTED[name]


def test_the_stub_documents_every_public_member() -> None:
    public = {name for name in vars(shm_echo.Slot) if not name.startswith("_")}
    assert public == {*DOCUMENTED, "tree"}


def test_pydoc_shows_its_methods_with_their_signatures() -> None:
    text = pydoc.plain(pydoc.render_doc(shm_echo.Slot))
    assert "commit(self, /)" in text
    assert "claimed by `ShmClient.reserve`" in text


def test_only_reserve_makes_one() -> None:
    with pytest.raises(TypeError, match="cannot create .* instances"):
        shm_echo.Slot()
