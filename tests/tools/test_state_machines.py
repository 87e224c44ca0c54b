"""The table of a slot's life agrees with the C core: its states, and each write of one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import state_machines
from tools.state_machines import SLOT_LIFE, states_of_layout

CSRC = Path(__file__).resolve().parents[2] / "csrc"

# A function's head at the start of a line, up to the brace at the end of its line.
HEAD = re.compile(r"^\w[\w \*]*?\b(\w+)\([^;{]*\) \{$", re.MULTILINE)
# A CAS or store of a state word, as far as the call that makes the new word.
WRITE = re.compile(
    r"she_(?:cas_seq|store_release)\((?:(?!she_(?:cas_seq|store_release)\().)*?"
    r"she_word\((?:[^()]|\([^()]*\))*, SHE_([A-Z]+)\)\)",
    re.DOTALL,
)


def writes() -> set[tuple[str, str]]:
    """The functions of the core that write state words, each with the state that it writes."""
    found = set()
    for path in CSRC.glob("ring_*.c"):
        text = path.read_text()
        heads = list(HEAD.finditer(text))
        for head, after in zip(heads, [*heads[1:], None], strict=True):
            body = text[head.end() : after.start() if after else len(text)]
            # A release stores `fresh`, the FREE word of the next lap.
            fresh = re.search(r"fresh = she_word\(.*, SHE_([A-Z]+)\);", body)
            if fresh:
                found.add((head[1], fresh[1]))
            found |= {(head[1], match[1]) for match in WRITE.finditer(body)}
    return found


def test_the_states_are_those_of_the_layout() -> None:
    drawn = {state for step in SLOT_LIFE for state in (step.source, step.target)}
    assert drawn == set(states_of_layout())


def test_the_core_writes_some_states() -> None:
    assert len(writes()) >= 8


@pytest.mark.parametrize("step", SLOT_LIFE, ids=lambda step: f"{step.source}-{step.target}")
def test_a_step_is_a_write_of_the_core(step: object) -> None:
    functions, target = step.functions, step.target  # type: ignore[attr-defined]
    found = writes()
    for function in functions:
        assert (function, target) in found, f"{function} writes no {target}: {sorted(found)}"


def test_every_write_of_the_core_is_a_step() -> None:
    steps = {(function, step.target) for step in SLOT_LIFE for function in step.functions}
    assert writes() - steps == set()


def test_every_message_of_the_protocol_is_drawn() -> None:
    text = state_machines.control_states().svg()
    for source, moves in state_machines.TRANSITIONS.items():
        assert f">{source.value}</text>" in text
        for _, message in moves:
            assert re.search(rf">[^<]*\b{message}\b[^<]*</text>", text), message


def test_an_arrow_that_no_table_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no transition goes these ways"):
        state_machines._check_all_used([("FREE", "COMMITTED")], {})
