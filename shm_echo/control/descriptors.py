"""File descriptors: copies to pass to another process, and the error when none is left."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

from shm_echo.errors import DescriptorLimitError

__all__ = ["MAX_FDS", "descriptor_limit_error", "duplicate_fds"]

# SCM_MAX_FD of the kernel: the most descriptors that one message can carry.
MAX_FDS = 253


def duplicate_fds(fds: Sequence[int]) -> list[int]:
    """Duplicate descriptors, so that their owner may close them while the copies wait to be sent.

    Raises:
        ValueError: there are too many for one message.
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


def descriptor_limit_error(resource_name: str) -> DescriptorLimitError:
    """Return the error for a descriptor that this process may not open.

    Args:
        resource_name: the thing that needed the descriptor, for the message.
    """
    return DescriptorLimitError(resource_name, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
