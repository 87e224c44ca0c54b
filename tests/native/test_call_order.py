"""The C sources call each other one way: no circle in the core, none on the learner's side.

A file calls another if it names one of its functions or variables that are not static. A sender and
its slots and runs refer to each other, so the files of the producers' side are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.boundaries.import_graph import circles

CSRC = Path(__file__).resolve().parents[2] / "csrc"

# A definition at the left margin: a function with its body, or a variable with its value.
_DEFINITION = re.compile(
    r"^(?!static|extern|typedef|return|else|#)[A-Za-z_][\w \*]*?\b(\w+)(?:\([^;{]*\) \{|;| = )",
    re.MULTILINE,
)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


_PRODUCERS_SIDE = re.compile(r"send|slot|run|tcp")


def call_graph(texts: dict[str, str]) -> dict[str, set[str]]:
    """Return the files that each file calls."""
    codes = {name: _COMMENT.sub("", text) for name, text in texts.items()}
    home = {symbol: name for name, code in codes.items() for symbol in _DEFINITION.findall(code)}
    return {
        name: {home[word] for word in set(re.findall(r"\w+", code)) & home.keys()} - {name}
        for name, code in codes.items()
    }


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.c"))}


@pytest.mark.parametrize(
    "folder", [CSRC, CSRC / "ingress", CSRC / "python"], ids=["core", "ingress", "binding"]
)
def test_no_c_files_call_each_other_in_a_circle(folder: Path) -> None:
    found = [
        sorted(name for name in circle if not _PRODUCERS_SIDE.search(name))
        for circle in circles(call_graph(read(folder)))
    ]
    assert [names for names in found if names] == []


def test_the_arrows_of_the_binding_are_found() -> None:
    graph = call_graph(read(CSRC / "python"))
    assert graph["take.c"] >= {"buffers.c", "lease.c", "leaves.c"}
    assert "receiver.c" in graph["module.c"]
    assert "receiver.c" not in graph["lease.c"]


@pytest.mark.parametrize("back", ["int f(void) {\n    return g();\n}", "int *at = &counter;"])
def test_a_circle_is_found(back: str) -> None:
    texts = {
        "a.c": f"{back}\nint *f(\n    int x) {{\n}}\n",
        "b.c": "unsigned long counter;\nint g(void) {\n    return *at + f();\n}\n",
        "c.c": "/* g() */ static int g2 = 1;\n",
    }
    assert circles(call_graph(texts)) == [{"a.c", "b.c"}]
    assert call_graph(texts)["c.c"] == set()
