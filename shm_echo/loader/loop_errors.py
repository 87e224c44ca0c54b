"""The error of a loop whose loader has gone on without it."""

from __future__ import annotations

__all__ = ["ClosedLoaderError", "closed_while_running"]


class ClosedLoaderError(RuntimeError):
    """A loop asks for a batch of a loader that was closed, or that another loop took over."""


def closed_while_running() -> ClosedLoaderError:
    """Return the error of a loop whose loader was closed."""
    return ClosedLoaderError("the DataLoader was closed while this loop ran")
