"""Shows the examples of docstrings as code, wherever in the docstring they stand.

An extension of griffe, which reads the docstrings for the API pages; `mkdocs.yml` names this
file. A run of lines from `>>>` to the next empty line becomes a fenced block, so that docstrings
need no heading above an example.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_RUN = re.compile(r"^( *)>>> .*(?:\n\1.*\S)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fences the examples of every object's docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object once it and its members are loaded."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with its examples in fences."""
    return _RUN.sub(lambda run: f"{run[1]}```pycon\n{run[0]}\n{run[1]}```", docstring)
