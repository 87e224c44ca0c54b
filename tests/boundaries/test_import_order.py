"""The order of the rooms: no import circle, and no room imports a higher one.

`import_graph` says which imports count.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boundaries.import_graph import circles, import_graph, module_files, within

GRAPH = import_graph(module_files())

# The rooms, lowest level first. A room imports rooms of lower levels only, and none of its own
# level. The package's own __init__ is the lowest: its names are lazy, and `__version__` is all that
# the rooms take from it.
LEVELS: list[tuple[str, ...]] = [
    ("shm_echo",),
    ("shm_echo.error_base",),
    ("shm_echo.connection_errors", "shm_echo.loader_errors"),
    (
        "shm_echo.copying",
        "shm_echo.errors",
        "shm_echo.uninterrupted",
        "shm_echo.validation",
        "shm_echo.metrics",
    ),
    ("shm_echo.spec",),
    ("shm_echo.ring",),
    ("shm_echo.control",),
    (
        "shm_echo.control.address",
        "shm_echo.control.descriptors",
        "shm_echo.control.fork_safety",
        "shm_echo.control.peer",
    ),
    ("shm_echo.control.protocol",),
    ("shm_echo.control.client", "shm_echo.control.server"),
    ("shm_echo.transports",),
    (
        "shm_echo.held_batches",
        "shm_echo.server_options",
        "shm_echo.stream_end",
        "shm_echo.trajectory",
        "shm_echo.wait_limits",
    ),
    ("shm_echo.wait_checks",),
    ("shm_echo.consumer",),
    ("shm_echo.async_consumer", "shm_echo.local_producer"),
    ("shm_echo.server_parts",),
    ("shm_echo.server_life",),
    ("shm_echo.async_sampling",),
    ("shm_echo.server",),
    ("shm_echo.loader",),
    ("shm_echo.jax", "shm_echo.torch"),
    (
        "shm_echo.mechestim.adaptive_spin",
        "shm_echo.mechestim.backend_choice",
        "shm_echo.mechestim.distributions",
        "shm_echo.mechestim.errors",
        "shm_echo.mechestim.symmetry",
    ),
    ("shm_echo.mechestim.costs", "shm_echo.mechestim.wire"),
    ("shm_echo.mechestim.registry",),
    ("shm_echo.mechestim.accounting",),
    ("shm_echo.mechestim.local",),
    # The functions of higher rooms that lower ones call: remote's __init__, the top, sets them.
    ("shm_echo.mechestim.remote.upcalls",),
    ("shm_echo.mechestim.remote.dtypes",),
    ("shm_echo.mechestim.remote.connection",),
    ("shm_echo.mechestim.remote.client_session",),
    ("shm_echo.mechestim.remote.account", "shm_echo.mechestim.remote.arrays"),
    ("shm_echo.mechestim.remote.api",),
    ("shm_echo.mechestim.remote.session_opening",),
    ("shm_echo.mechestim.remote",),
    ("shm_echo.mechestim.service",),
    ("shm_echo.mechestim.service.scheduling",),
    ("shm_echo.mechestim.service.metering",),
    ("shm_echo.mechestim.service.objects",),
    ("shm_echo.mechestim.service.operations",),
    ("shm_echo.mechestim.service.session",),
    ("shm_echo.mechestim.service.hosting",),
    ("shm_echo.mechestim.service.server",),
    ("shm_echo.mechestim.service.status",),
    # The public names choose a backend when they are first used.
    (
        "shm_echo.mechestim",
        "shm_echo.mechestim.fft",
        "shm_echo.mechestim.flops",
        "shm_echo.mechestim.linalg",
        "shm_echo.mechestim.random",
        "shm_echo.mechestim.stats",
    ),
    ("shm_echo.demo",),
    ("shm_echo.cli",),
]
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Packages of whose children each is a room of its own: only their __init__ is a room here.
SPLIT = (
    "shm_echo",
    "shm_echo.control",
    "shm_echo.mechestim",
    "shm_echo.mechestim.remote",
    "shm_echo.mechestim.service",
)


def room_of(module: str) -> str:
    """Return the innermost room that a module lies in."""
    rooms = [room for room in LEVEL_OF if within(module, room)]
    room = max(rooms, key=len)
    assert room == module or room not in SPLIT, f"{module} is in no room: give it a level"
    return room


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert [sorted(circle) for circle in circles(GRAPH)] == []


@pytest.mark.parametrize("module", GRAPH)
def test_a_module_imports_its_own_room_and_lower_ones(module: str) -> None:
    room = room_of(module)
    for target in sorted(GRAPH[module]):
        lower = room_of(target)
        assert lower == room or LEVEL_OF[lower] < LEVEL_OF[room], (
            f"{module} imports {target}, which is not below {room}"
        )


def test_every_room_exists() -> None:
    assert set(LEVEL_OF) - {room_of(module) for module in GRAPH} == set()


# ---------------------------------------------------------------- the survey itself


def written(folder: Path, sources: dict[str, str]) -> dict[str, set[str]]:
    """Return the import graph of a package `pack` with these sources."""
    package = folder / "pack"
    for name, text in {"__init__.py": "", **sources}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return import_graph(module_files(package))


@pytest.mark.parametrize(
    "back",
    [
        "import pack.a",
        "from pack import a",
        "from pack.a import A",
        "def f():\n    from pack.a import A",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.a import A",
        "import importlib\nimportlib.import_module('pack.a')",
    ],
)
def test_a_circle_is_found_wherever_its_imports_stand(tmp_path: Path, back: str) -> None:
    graph = written(
        tmp_path, {"a.py": "from pack.b import B", "b.py": back, "c.py": "import pack.a"}
    )
    assert circles(graph) == [{"pack.a", "pack.b"}]


LAZY = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pack.a import A
def __getattr__(name):
    from pack.a import A
"""


def test_lazy_exports_of_a_package_are_no_arrows_and_eager_ones_are(tmp_path: Path) -> None:
    child = "from pack import __version__"
    assert circles(written(tmp_path, {"__init__.py": LAZY, "a.py": child})) == []
    eager = {"__init__.py": "from pack.a import A\n" + LAZY, "a.py": child}
    assert circles(written(tmp_path, eager)) == [{"pack", "pack.a"}]
