"""The memory that this process may still allocate, by its limits, its control groups, the machine.

The kernel kills a process that allocates beyond the limit of its container, without any message.
So a ring that does not fit is rejected before it is allocated, and the error names the limit.
Control groups of versions 2 and 1 are supported; if neither is readable, no limit is known, and no
ring is rejected.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_memory", "free_under_limit", "free_under_ulimits"]

_UNLIMITED = 1 << 60  # version 1 represents "no limit" by a number near 2**63


def free_under_ulimits(in_file: bool) -> Iterator[tuple[int, str]]:
    """Yield the free bytes under each limit of this process that is set, and its name.

    Args:
        in_file: True for memory behind a descriptor; the kernel takes it for a file, a memfd too.
    """
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        pages = _number_in(Path("/proc/self/statm"))
        used = pages * os.sysconf("SC_PAGE_SIZE")
        yield max(0, address_space - used), "the address space of this process (ulimit -v)"
    file_size = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if in_file and file_size != resource.RLIM_INFINITY:
        yield file_size, "the file size limit of this process (ulimit -f)"


def _number_in(path: Path) -> int:
    """Return the first number in a file of /proc; 0 if there is none."""
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that this machine can allocate without evicting any, swap included.

    When shared memory grows beyond that, the kernel kills processes instead of returning an error.
    None if the kernel does not provide the figure.
    """
    try:
        lines = [line.split() for line in meminfo.read_text().splitlines()]
        kilobytes = {line[0]: int(line[1]) for line in lines if len(line) >= 2}
        return (kilobytes["MemAvailable:"] + kilobytes.get("SwapFree:", 0)) * 1024
    except (OSError, ValueError, KeyError):
        return None


def free_under_limit(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> tuple[int | None, str]:
    """Return the free bytes of the tightest memory limit above this process, and its file.

    Page cache that the kernel can reclaim counts as free. `(None, "")` if there is no limit.
    """
    tightest: tuple[int | None, str] = (None, "")
    for folder, limit_name, usage_name in _groups(groups, root):
        limit = _number(folder / limit_name)
        usage = _number(folder / usage_name)
        if limit is None or usage is None or limit >= _UNLIMITED:
            continue
        free = max(0, limit - max(0, usage - _reclaimable(folder / "memory.stat")))
        if tightest[0] is None or free < tightest[0]:
            tightest = (free, str(folder / limit_name))
    return tightest


def _groups(groups: Path, root: Path) -> Iterator[tuple[Path, str, str]]:
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base, names = root, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # Inside a container the path may be the host's; the limit is then that of the mount itself.
        # A path outside of the container's groups begins with "..": no mount shows that group.
        folder = base if ".." in path.split("/") else base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(base):
                break
            yield group, *names


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is not a number: no limit
        return None


def _reclaimable(stat: Path) -> int:
    try:
        fields = dict(line.split() for line in stat.read_text().splitlines())
        return int(fields.get("total_inactive_file", fields.get("inactive_file", "0")))
    except (OSError, ValueError):
        return 0
