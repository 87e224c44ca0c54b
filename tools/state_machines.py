"""Draws the state machines: docs/assets/diagrams/control-states.svg and slot-states.svg.

The control protocol's arrows are the table that both ends run by
(`shm_echo.control.protocol.states.TRANSITIONS`). The slots' states are the enum in
`csrc/include/shm_echo/layout.h`, their arrows the table below; a test compares it with the
functions of the C core that change state words. Only the places on the page are chosen here, and a
state or an arrow without a place is an error.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shm_echo.control.protocol.states import TRANSITIONS, Role, State
from tools.architecture import FOLDER
from tools.drawing import Arrow, Box, Drawing, Label, Point

LAYOUT = Path(__file__).resolve().parents[1] / "csrc" / "include" / "shm_echo" / "layout.h"


@dataclass(frozen=True)
class Route:
    """The way of an arrow, and where its words stand."""

    points: Sequence[Point]
    words: Point
    anchor: str = "start"


@dataclass(frozen=True)
class Step:
    """A change of a slot's state.

    Attributes:
        source: The state before.
        target: The state after.
        words: What causes it, as the picture says it.
        actor: "producer", "learner" or "server".
        functions: The functions in `csrc/` that make the change.
    """

    source: str
    target: str
    words: str
    actor: str
    functions: tuple[str, ...]


SLOT_LIFE = (
    Step("FREE", "CLAIMED", "claim", "producer", ("claim",)),
    Step("HOLE", "CLAIMED", "claim", "producer", ("claim", "claim_hole")),
    Step("CLAIMED", "COMMITTED", "commit", "producer", ("commit",)),
    Step("CLAIMED", "HOLE", "abort", "producer", ("she_abort",)),
    Step("CLAIMED", "HOLE", "recover a dead owner", "server", ("she_recover",)),
    Step("CLAIMED", "HOLE", "mend an overwritten word", "learner", ("she_check",)),
    Step("COMMITTED", "FREE", "release: next lap", "learner", ("she_release",)),
    Step("SKIP", "FREE", "release: next lap", "learner", ("she_release",)),
    Step("FREE", "SKIP", "seal", "learner", ("she_seal",)),
    Step("HOLE", "SKIP", "seal", "learner", ("she_seal",)),
    Step("SKIP", "HOLE", "unseal", "learner", ("she_unseal",)),
    Step("COMMITTED", "SKIP", "skip while leased: next lap", "learner", ("she_skip",)),
    Step("SKIP", "SKIP", "skip again", "learner", ("she_skip",)),
)

# ---------------------------------------------------------------- where things stand

_CONTROL_BOXES = {
    State.START: (20, 50, 120, 52),
    State.GREETED: (240, 50, 120, 52),
    State.READY: (460, 50, 120, 52),
    State.BUSY: (710, 50, 120, 52),
    State.LEAVING: (585, 225, 120, 52),
    State.CLOSED: (20, 350, 810, 48),
    State.ERROR: (20, 430, 810, 48),
}
_CONTROL_ROUTES = {
    (State.START, State.GREETED): Route([(140, 76), (240, 76)], (190, 68), "middle"),
    (State.START, State.CLOSED): Route([(80, 102), (80, 350)], (90, 230)),
    (State.GREETED, State.READY): Route([(360, 76), (460, 76)], (410, 68), "middle"),
    (State.GREETED, State.CLOSED): Route([(300, 102), (300, 350)], (310, 230)),
    (State.READY, State.BUSY): Route([(580, 64), (710, 64)], (645, 56), "middle"),
    (State.BUSY, State.READY): Route([(710, 88), (580, 88)], (645, 106), "middle"),
    (State.READY, State.LEAVING): Route([(560, 102), (560, 251), (585, 251)], (550, 150), "end"),
    (State.READY, State.CLOSED): Route([(480, 102), (480, 350)], (490, 318)),
    (State.BUSY, State.LEAVING): Route([(735, 102), (735, 251), (705, 251)], (725, 150), "end"),
    (State.BUSY, State.CLOSED): Route([(805, 102), (805, 350)], (795, 318), "end"),
    (State.LEAVING, State.LEAVING): Route(
        [(625, 225), (625, 195), (665, 195), (665, 225)], (645, 185), "middle"
    ),
    (State.LEAVING, State.CLOSED): Route([(645, 277), (645, 350)], (655, 318)),
}
_SLOT_BOXES = {
    "FREE": (140, 70, 140, 54),
    "CLAIMED": (410, 70, 160, 54),
    "COMMITTED": (680, 70, 150, 54),
    "SKIP": (140, 260, 140, 54),
    "HOLE": (410, 260, 160, 54),
}
_SLOT_ROUTES = {
    ("FREE", "CLAIMED"): Route([(280, 97), (410, 97)], (345, 89), "middle"),
    ("HOLE", "CLAIMED"): Route([(440, 260), (440, 124)], (430, 197), "end"),
    ("CLAIMED", "COMMITTED"): Route([(570, 97), (680, 97)], (625, 89), "middle"),
    ("CLAIMED", "HOLE"): Route([(540, 124), (540, 260)], (550, 187)),
    ("COMMITTED", "FREE"): Route([(755, 70), (755, 30), (210, 30), (210, 70)], (482, 22), "middle"),
    ("SKIP", "FREE"): Route([(170, 260), (170, 124)], (160, 197), "end"),
    ("FREE", "SKIP"): Route([(250, 124), (250, 260)], (260, 197)),
    ("HOLE", "SKIP"): Route([(410, 274), (280, 274)], (345, 266), "middle"),
    ("SKIP", "HOLE"): Route([(280, 300), (410, 300)], (345, 318), "middle"),
    ("COMMITTED", "SKIP"): Route(
        [(755, 124), (755, 350), (250, 350), (250, 314)], (502, 370), "middle"
    ),
    ("SKIP", "SKIP"): Route([(160, 314), (160, 350), (200, 350), (200, 314)], (180, 370), "middle"),
}
_SLOT_MEANINGS = {
    "FREE": "empty",
    "CLAIMED": "being written",
    "COMMITTED": "a sample",
    "SKIP": "passed over",
    "HOLE": "given up, refillable",
}


def control_states() -> Drawing:
    """The control protocol: one arrow for each pair of states, with the messages that cause it."""
    meanings = {
        State.CLOSED: "the connection has ended in good order",
        State.ERROR: "from every state: a message that is not in the table, or malformed bytes",
    }
    kinds = {State.READY: "one", State.ERROR: "two"}
    drawing = Drawing(
        "control-states",
        "States of a control connection",
        _sentences(
            f"In {source.value}, {role.value} message {message} leads to {target.value}"
            for source, moves in TRANSITIONS.items()
            for (role, message), target in moves.items()
        ),
        850,
        520,
    )
    for state in TRANSITIONS:
        lines = (meanings[state],) if state in meanings else ()
        box = Box(*_CONTROL_BOXES[state], state.value, lines, kinds.get(state, "plain"))
        drawing.boxes.append(box)
    messages: dict[tuple[State, State], dict[Role, list[str]]] = {}
    for source, moves in TRANSITIONS.items():
        for (role, message), target in moves.items():
            messages.setdefault((source, target), {}).setdefault(role, []).append(message)
    for pair, by_role in messages.items():
        for role, names in by_role.items():
            _draw(drawing, _CONTROL_ROUTES[pair], ", ".join(names), _ROLE_KINDS[role])
    _legend(drawing, 506, {"one": "message of the client", "two": "message of the server"})
    _check_all_used(_CONTROL_ROUTES, messages)
    return drawing


_ROLE_KINDS = {Role.CLIENT: "one", Role.SERVER: "two"}
_ACTOR_KINDS = {"producer": "one", "learner": "two", "server": "plain"}


def slot_states() -> Drawing:
    """The life of a slot of the ring."""
    drawing = Drawing(
        "slot-states",
        "Life of a slot of the ring",
        _sentences(
            f"{step.words} by the {step.actor} leads from {step.source} to {step.target}"
            for step in SLOT_LIFE
        ),
        850,
        430,
    )
    for state in states_of_layout():
        kind = {"CLAIMED": "one", "COMMITTED": "one"}.get(state, "plain")
        drawing.boxes.append(Box(*_SLOT_BOXES[state], state, (_SLOT_MEANINGS[state],), kind))
    lines: dict[tuple[str, str], int] = {}
    for step in SLOT_LIFE:
        pair = step.source, step.target
        route, line = _SLOT_ROUTES[pair], lines.get(pair, 0)
        lines[pair] = line + 1
        if line == 0:
            _draw(drawing, route, step.words, _ACTOR_KINDS[step.actor])
        else:  # the arrow is there; its second cause stands below the first
            x, y = route.words
            kind = _ACTOR_KINDS[step.actor]
            drawing.labels.append(Label(x, y + 20 * line, step.words, kind, route.anchor))
    actors = {"one": "producer", "two": "learner", "plain": "server, for a producer that has died"}
    _legend(drawing, 415, actors)
    _check_all_used(_SLOT_ROUTES, lines)
    return drawing


def states_of_layout() -> list[str]:
    """The states of a slot, as `layout.h` declares them."""
    declared = re.search(r"enum she_state \{(.*?)\}", LAYOUT.read_text(), re.DOTALL)
    if declared is None:
        raise ValueError(f"{LAYOUT} declares no enum she_state")
    return re.findall(r"SHE_([A-Z]+)", declared[1])


def files() -> dict[Path, str]:
    """The pictures by their paths."""
    return {FOLDER / f"{made.name}.svg": made.svg() for made in (control_states(), slot_states())}


def _draw(drawing: Drawing, route: Route, words: str, kind: str) -> None:
    drawing.arrows.append(Arrow(route.points, kind))
    drawing.labels.append(Label(*route.words, words, kind, route.anchor))


def _legend(drawing: Drawing, y: float, meanings: dict[str, str]) -> None:
    x = 30.0
    for kind, meaning in meanings.items():
        drawing.arrows.append(Arrow([(x, y - 5), (x + 45, y - 5)], kind))
        drawing.labels.append(Label(x + 55, y, meaning, kind))
        x += 75 + 8 * len(meaning)


def _check_all_used(routes: Iterable[object], pairs: Container[object]) -> None:
    """Refuse an arrow that has a place on the page and is in no table.

    Raises:
        ValueError: There is one.
    """
    left = [route for route in routes if route not in pairs]
    if left:
        raise ValueError(f"no transition goes these ways: {left}")


def _sentences(facts: Iterable[str]) -> str:
    return ". ".join(facts) + "."
