"""Draws docs/assets/diagrams/architecture.svg: two halves on one control channel."""

from __future__ import annotations

from pathlib import Path

from tools.drawing import Arrow, Box, Drawing, Label

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "assets" / "diagrams"

_FAR, _DATA, _CONTROL, _METER = 20, 235, 550, 825  # left edges of the columns
_REMOTE, _SIDE, _MIDDLE = 175, 270, 230  # their widths
_TOP, _SHARED, _BOTTOM = 50, 215, 380  # upper edges of the rows
_HEIGHT = 92

_CHANNEL = (
    "frames, messages, states",
    "",
    "Unix socket, inherited",
    "descriptor, or TCP port",
    "",
    "hello: names a service",
    "welcome: session, limits",
    "hands over descriptors",
    "",
    "access: user id or token",
    "liveness: pidfd",
)
# One row each: upper edge, then title and lines of the left and of the right box.
_ROWS = (
    (
        _TOP,
        ("Producer process", ("ShmClient", "send · reserve · latest")),
        ("mechestim program", ("import mechestim as me", "handles; needs no NumPy")),
    ),
    (
        _SHARED,
        ("Shared memory", ("ring: slots in batches", "broadcast: newest value")),
        ("Session", ("requests and answers", "arenas for large contents")),
    ),
    (
        _BOTTOM,
        ("Server", ("sample · publish", "C core: csrc/")),
        ("mechestim service", ("charge first, then run", "budgets · arrays · NumPy")),
    ),
)
BOXES = [
    Box(8, 362, 1099, 146, "One server process", (), "frame"),
    Box(_FAR, _TOP, _REMOTE, _HEIGHT, "Other machine", ("TcpClient", "or a client of echo"), "one"),
    Box(_FAR, _BOTTOM, _REMOTE, _HEIGHT, "TCP ingress", ("threads in C", "a queue each"), "one"),
    *(Box(_DATA, y, _SIDE, _HEIGHT, *left, "one") for y, left, _ in _ROWS),
    *(Box(_METER, y, _SIDE, _HEIGHT, *right, "two") for y, _, right in _ROWS),
    Box(_CONTROL, _TOP, _MIDDLE, _BOTTOM + _HEIGHT - _TOP, "Control channel", _CHANNEL),
]

_LEFT_IN, _LEFT_OUT = _DATA + 70, _DATA + 200
_RIGHT_IN, _RIGHT_OUT = _METER + 70, _METER + 200
_EDGE_1, _EDGE_2, _EDGE_3 = _TOP + _HEIGHT, _SHARED + _HEIGHT, _BOTTOM
_MEET = (_TOP + _HEIGHT / 2, _BOTTOM + _HEIGHT / 2)  # where the outer columns meet the middle one

_FAR_IN, _FAR_OUT = _FAR + 22, _FAR + 95
_GAP = (_FAR + _REMOTE + _DATA) / 2

ARROWS = [
    Arrow([(_FAR_IN, _EDGE_1), (_FAR_IN, _EDGE_3)], "one"),
    Arrow([(_FAR_OUT, _EDGE_3), (_FAR_OUT, _EDGE_1)], "one"),
    Arrow(
        [
            (_FAR + _REMOTE, _BOTTOM + _HEIGHT / 2),
            (_GAP, _BOTTOM + _HEIGHT / 2),
            (_GAP, _SHARED + _HEIGHT / 2),
            (_DATA, _SHARED + _HEIGHT / 2),
        ],
        "one",
    ),
    Arrow([(_LEFT_IN, _EDGE_1), (_LEFT_IN, _SHARED)], "one"),
    Arrow([(_LEFT_IN, _EDGE_2), (_LEFT_IN, _EDGE_3)], "one"),
    Arrow([(_LEFT_OUT, _EDGE_3), (_LEFT_OUT, _EDGE_2)], "one"),
    Arrow([(_LEFT_OUT, _SHARED), (_LEFT_OUT, _EDGE_1)], "one"),
    Arrow([(_RIGHT_IN, _EDGE_1), (_RIGHT_IN, _SHARED)], "two"),
    Arrow([(_RIGHT_IN, _EDGE_2), (_RIGHT_IN, _EDGE_3)], "two"),
    Arrow([(_RIGHT_OUT, _EDGE_3), (_RIGHT_OUT, _EDGE_2)], "two"),
    Arrow([(_RIGHT_OUT, _SHARED), (_RIGHT_OUT, _EDGE_1)], "two"),
    *(Arrow([(_DATA + _SIDE, y), (_CONTROL, y)], both=True) for y in _MEET),
    *(Arrow([(_CONTROL + _MIDDLE, y), (_METER, y)], both=True) for y in _MEET),
]
LABELS = [
    Label((_FAR + _DATA + _SIDE) / 2, 32, "Data plane", "one", anchor="middle", heading=True),
    Label(_FAR_IN + 8, 266, "samples", "one"),
    Label(_FAR_OUT + 8, 258, "acks,", "one"),
    Label(_FAR_OUT + 8, 276, "values", "one"),
    Label(_CONTROL + _MIDDLE / 2, 32, "Backbone", anchor="middle", heading=True),
    Label(_METER + _SIDE / 2, 32, "Metered compute", "two", anchor="middle", heading=True),
    Label(_LEFT_IN + 10, 183, "one copy", "one"),
    Label(_LEFT_OUT + 10, 183, "copy", "one"),
    Label(_LEFT_IN + 10, 340, "views, no copy", "one"),
    Label(_LEFT_OUT + 10, 340, "publish", "one"),
    Label(_RIGHT_IN + 10, 183, "operation", "two"),
    Label(_RIGHT_OUT + 10, 183, "result", "two"),
    Label(_RIGHT_IN + 10, 340, "price it", "two"),
    Label(_RIGHT_OUT + 10, 340, "handle", "two"),
]
DESCRIPTION = (
    "Left, the data plane: producer processes copy samples into a ring in shared memory, and the "
    "server hands out batches as views of it; published values go the other way. Producers on "
    "other machines send samples over TCP to threads of the server, which copy them into the ring "
    "and acknowledge them; published values go back to them, too. Right, metered "
    "compute: a mechestim program sends operations in a session, the service prices and charges "
    "them, runs them with NumPy, and returns handles. Between them the control channel, which "
    "both use to be let in, to receive memory, and to notice that a process has ended. The server "
    "and the service can live in one process."
)


def drawing() -> Drawing:
    """The picture."""
    title = "shm-echo: two halves on one control channel"
    return Drawing("architecture", title, DESCRIPTION, 1115, 520, BOXES, ARROWS, LABELS)


def files() -> dict[Path, str]:
    """The picture by its path."""
    return {FOLDER / "architecture.svg": drawing().svg()}
