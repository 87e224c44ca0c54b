"""Why a test holds in local mode only: what each is called, and what the documentation says of it.

The values are headings of the list "What is left different" in ``docs/how-to/client.md``; a
reason without one is about the tests themselves and not about what a user sees.
"""

from __future__ import annotations

REASONS: dict[str, str | None] = {
    # What a user may see
    "objects": "Object arrays",
    "memory": "Memory",
    "numpy classes": "NumPy's classes",
    "numpy arrays": "NumPy's arrays",
    "numpy functions": "NumPy's functions",
    "signals": "Signal handlers",
    "fork": "Forked children",
    "warnings": "Warnings as errors",
    # What only a test sees
    "internals": None,
    "ceiling": None,
}
