"""Every operation has its name; a function that is left out gives the reason and an alternative."""

from __future__ import annotations

import copy
import inspect
import pickle
from types import ModuleType

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.backend_mode import same_class
from tests.mechestim.parity.cases import ABSENT
from tests.mechestim.parity.specs import member

UNSUPPORTED = sorted(name for name, op in OPS.items() if op.category is Category.UNSUPPORTED)
OWNED = ("ndarray.", "random.Generator.", "random.RandomState.")
FUNCTIONS = sorted(
    name
    for name in OPS
    if name not in UNSUPPORTED and name not in ABSENT and not name.startswith(OWNED)
)


def test_every_function_is_found_and_stays_the_same_object() -> None:
    for name in FUNCTIONS:
        found = member(me, name)
        assert callable(found), name
        assert member(me, name) is found, name


def test_every_docstring_gives_the_purpose_and_the_price() -> None:
    for name in FUNCTIONS:
        found, op = member(me, name), OPS[name]
        assert found.__name__ == name.rpartition(".")[2]
        if not isinstance(found, type):
            assert op.summary in found.__doc__, name
            if op.counted:
                assert op.formula in found.__doc__, name


def test_every_function_has_the_signature_of_numpys() -> None:
    for name in FUNCTIONS:
        source = member(np, OPS[name].numpy) if OPS[name].numpy else None
        try:
            theirs = inspect.signature(source)
        except (TypeError, ValueError):
            continue  # NumPy has no signature
        if name not in ("linalg.svd", "in1d", "row_stack", "einsum_path", "einsum"):
            ours = inspect.signature(member(me, name))
            assert list(ours.parameters) == list(theirs.parameters), name


def test_every_function_can_be_pickled_and_copied() -> None:
    for name in FUNCTIONS:
        found = member(me, name)
        assert pickle.loads(pickle.dumps(found)) is found, name
        assert copy.deepcopy(found) is found, name


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_function_gives_the_reason_and_an_alternative(name: str) -> None:
    with pytest.raises(me.UnsupportedFunctionError) as caught:
        getattr(me, name)
    assert isinstance(caught.value, AttributeError)
    assert caught.value.op_name == name
    assert OPS[name].advice in str(caught.value)
    assert not hasattr(me, name)
    assert getattr(me, name, None) is None
    assert name not in dir(me)


@pytest.mark.parametrize(
    ("module", "name", "nearest"),
    [
        (me, "sotr", "mechestim.sort"),
        (me, "concatenat", "mechestim.concatenate"),
        (me.linalg, "sovle", "mechestim.linalg.solve"),
        (me.fft, "ffft", "mechestim.fft.fft"),
        (me.random, "norml", "mechestim.random.normal"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_names(
    module: ModuleType, name: str, nearest: str
) -> None:
    with pytest.raises(AttributeError, match=f"no .*{name}.*Did you mean.*{nearest}") as caught:
        getattr(module, name)
    assert not isinstance(caught.value, me.UnsupportedFunctionError)


def test_dir_lists_every_name() -> None:
    for module, prefix in ((me, ""), (me.linalg, "linalg."), (me.fft, "fft.")):
        listed = dir(module)
        assert listed == sorted(set(listed))
        for name in listed:
            if name not in ("backend", "__all__") and prefix + name not in ABSENT:
                assert hasattr(module, name), prefix + name
        mine = {n.removeprefix(prefix) for n in FUNCTIONS if n.startswith(prefix)}
        assert {name for name in mine if "." not in name} <= set(listed)


def test_constants_and_types_are_numpys() -> None:
    assert me.pi == np.pi
    assert me.newaxis is None
    assert same_class(me.float32, np.float32)
    assert me.array([1, 2], dtype=me.int8).dtype == np.int8
    assert me.finfo(me.float32).eps == np.finfo(np.float32).eps
    assert me.zeros(3).dtype == "f8"
