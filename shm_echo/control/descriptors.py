"""File descriptors: passing copies of them, and the error when there are none left."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

from shm_echo.errors import DescriptorLimitError

__all__ = ["MAX_FDS", "descriptor_limit", "duplicates"]

# SCM_MAX_FD of the kernel: so many descriptors at most go with one message.
MAX_FDS = 253


def duplicates(fds: Sequence[int]) -> list[int]:
    """Copies of descriptors, so that their owner may close its own while ours wait to be sent.

    Raises:
        ValueError: too many for one message.
        OSError: one of them is not open, or this process may open no more.
    """
    if len(fds) > MAX_FDS:
        raise ValueError(f"{len(fds)} descriptors for one message, which takes {MAX_FDS}")
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))
    except BaseException:
        for copy in copies:
            os.close(copy)
        raise
    return copies


def descriptor_limit(what: str) -> DescriptorLimitError:
    """The error for a descriptor that this process may not open."""
    return DescriptorLimitError(what, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
