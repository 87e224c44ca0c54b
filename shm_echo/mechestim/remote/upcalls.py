"""The functions of upper rooms that lower rooms call.

The rooms of this package import in one direction: `dtypes`, `connection`, `client_session`,
`arrays`, `api`, lowest first. A lower room reaches an upper one through this module alone; the
package's `__init__` sets the functions, so they are there whichever module is imported first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

open_session: Callable[[str], Any]
"""Open a session with the server at a URL and return its `Channel`."""

call: Callable[..., Any]
"""Have the server perform an operation: see `client_session.call`."""

operation: Callable[[str], Any]
"""Return the public function of an operation: see `api.namespace.member`."""
