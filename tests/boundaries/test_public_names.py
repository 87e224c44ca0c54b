"""The public names of the package: each exists, and is listed, documented and typed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import shm_echo

# Their modules import optional packages.
SKIPPED = (
    "shm_echo.demo",
    "shm_echo.cli",
    *(f"shm_echo.{name}" for name in ("jax", "torch") if importlib.util.find_spec(name) is None),
)


def modules() -> list[str]:
    found = pkgutil.walk_packages(shm_echo.__path__, "shm_echo.")
    return [info.name for info in found if not info.name.startswith(SKIPPED)]


LISTED = ["shm_echo", *modules()]


def test_the_public_names_are_these() -> None:
    """Adding one is a decision, and so is taking one away."""
    assert set(shm_echo.__all__) == {
        "AddressInUseError",
        "BatchesHeldError",
        "ConnectionClosedError",
        "Connector",
        "DataLoader",
        "ForkedHandleError",
        "HeldBatch",
        "HistSnapshot",
        "Ingress",
        "Inlet",
        "PackedRows",
        "ProducerDiedError",
        "ProducerInfo",
        "Ragged",
        "RaggedBatch",
        "RaggedRow",
        "RingCorruptedError",
        "ReaderInfo",
        "RingFullError",
        "Sample",
        "SampleInfo",
        "SendTimeoutError",
        "Server",
        "ServerNotFoundError",
        "ShmClient",
        "ShmEchoError",
        "ShmTooSmallError",
        "ShmTransport",
        "Slot",
        "SpecMismatchError",
        "TcpClient",
        "TcpTransport",
        "TrajectoryAccumulator",
        "Transport",
        "__version__",
    }


@pytest.mark.parametrize("name", LISTED)
def test_every_name_in_all_is_there_and_the_list_is_sorted(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    for entry in listed:
        assert hasattr(module, entry), entry
    assert len(set(listed)) == len(listed)
    if name in ("shm_echo", "shm_echo.errors"):
        assert listed == sorted(listed)


def test_the_package_knows_its_own_names_and_no_others() -> None:
    assert set(shm_echo.__all__) <= set(dir(shm_echo))
    with pytest.raises(AttributeError, match="module 'shm_echo' has no attribute 'Sever'"):
        shm_echo.Sever  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Sever'"):
        exec("from shm_echo import Sever")


def test_the_lazy_names_and_those_for_type_checkers_are_the_same() -> None:
    text = Path(shm_echo.__file__).read_text()
    block = text.split("if TYPE_CHECKING:")[1].split("\n_HOMES")[0]
    for_checkers = set(re.findall(r"\b([A-Z]\w+)\b", block))
    assert for_checkers == set(shm_echo.__all__) - {"__version__"} == set(shm_echo._HOMES)


def test_the_version_is_that_of_the_project_file() -> None:
    project = Path(shm_echo.__file__).parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("installed without its sources")
    found = re.search(r'^version = "(.+)"$', project.read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == shm_echo.__version__


@pytest.mark.parametrize("name", LISTED)
def test_every_module_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    is_extension = not (module.__file__ or "").endswith(".py")
    is_empty = not is_extension and not Path(module.__file__ or "").read_text().strip()
    assert is_extension or is_empty or (module.__doc__ or "").strip()


# ---------------------------------------------------------------- documented and typed


def public(module: ModuleType | type, prefix: str) -> Iterator[tuple[str, Any]]:
    """The public functions, classes and members of something, by their dotted names."""
    members = dict(vars(module))
    if inspect.isclass(module):  # those of its bases in this package, too
        for base in module.__mro__[1:]:
            if base.__module__.startswith("shm_echo."):
                members = {**vars(base), **members}
    for name, value in members.items():
        where = f"{prefix}.{name}"
        if name.startswith("_"):
            continue
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            yield where, value.fget
        elif inspect.isfunction(value):
            yield where, value
        elif inspect.isclass(value) and isinstance(module, ModuleType):
            yield where, value
            yield from public(value, where)


def api() -> Iterator[tuple[str, Any]]:
    """Everything that users see: the names of the package, and what they lead to."""
    for name in shm_echo.__all__:
        value = getattr(shm_echo, name)
        if inspect.isclass(value):
            yield name, value
            yield from public(value, name)
    for name in ("shm_echo.errors", "shm_echo.metrics", "shm_echo.transports.base"):
        module = importlib.import_module(name)
        for entry in module.__all__:
            value = getattr(module, entry)
            if inspect.isclass(value):
                yield f"{name}.{entry}", value
                yield from public(value, f"{name}.{entry}")


API = dict(api())


def test_the_survey_of_the_api_finds_what_is_known_to_be_in_it() -> None:
    known = {"Server", "Server.sample", "ShmClient.reserve", "SampleInfo", "Server.closed"}
    assert known <= set(API)
    assert len(API) > 80


@pytest.mark.parametrize("name", API)
def test_everything_public_has_a_docstring(name: str) -> None:
    value = API[name]
    text = inspect.getdoc(value)
    assert text
    assert text.strip()
    first = text.strip().splitlines()[0]
    assert not first.startswith(f"{value.__name__}("), "a generated docstring says nothing"


@pytest.mark.parametrize("name", [name for name, value in API.items() if inspect.isfunction(value)])
def test_every_public_function_is_annotated(name: str) -> None:
    function = API[name]
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in list(signature.parameters.values())[1:]:
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name


@pytest.mark.parametrize("name", ["Server", "ShmClient", "ShmTransport"])
def test_the_parameters_of_a_constructor_are_annotated_and_described(name: str) -> None:
    kind = API[name]
    text = inspect.getdoc(kind) or ""
    parameters = list(inspect.signature(kind).parameters.values())
    assert len(parameters) >= 3
    for parameter in parameters:
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        assert f"\n    {parameter.name}: " in text, f"{parameter.name} is not described"


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (Path(shm_echo.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", modules())
def test_no_module_is_longer_than_one_can_read(name: str) -> None:
    path = sys.modules[name].__file__ if name in sys.modules else None
    path = path or importlib.import_module(name).__file__
    if path and path.endswith(".py") and "do not edit" not in Path(path).read_text()[:400]:
        assert len(Path(path).read_text().splitlines()) <= 400
