"""The reasons why a test holds in local mode only, by name, with their place in the documentation.

The values are headings of the list "Differences between the modes" in ``docs/how-to/client.md``. A
reason without a heading concerns the tests themselves and no user.
"""

from __future__ import annotations

REASONS: dict[str, str | None] = {
    # Differences that a user may see
    "objects": "Object arrays",
    "memory": "Memory",
    "numpy classes": "NumPy's classes",
    "numpy arrays": "NumPy's arrays",
    "numpy functions": "NumPy's functions",
    "signals": "Signal handlers",
    "fork": "Forked children",
    "warnings": "Warnings as errors",
    # Differences that only a test sees
    "internals": None,
    "ceiling": None,
}
