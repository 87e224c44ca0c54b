"""How much memory this process may still take: what its control group allows, and what there is.

Memory that is allocated past the limit of a container gets its process killed without a word, so a
ring that cannot fit is refused beforehand, by name. Control groups version 2 and 1 are understood;
where neither is readable, nothing is known and nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_memory", "free_under_limit"]

_UNLIMITED = 1 << 60  # version 1 says "no limit" with a number near 2**63


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that this machine can still give without taking them from anybody, swap included.

    Shared memory beyond that ends in the kernel killing processes, not in an error. None where the
    kernel does not tell.
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
    """The fewest free bytes of any memory limit above this process, and that limit's file.

    Page cache that the kernel can drop counts as free. ``(None, "")`` where there is no limit.
    """
    tightest: tuple[int | None, str] = (None, "")
    for folder, limit_name, usage_name in _folders(groups, root):
        limit = _number(folder / limit_name)
        usage = _number(folder / usage_name)
        if limit is None or usage is None or limit >= _UNLIMITED:
            continue
        free = max(0, limit - max(0, usage - _droppable(folder / "memory.stat")))
        if tightest[0] is None or free < tightest[0]:
            tightest = (free, str(folder / limit_name))
    return tightest


def _folders(groups: Path, root: Path) -> Iterator[tuple[Path, str, str]]:
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
        # Inside a container the path may be the host's; the limit is then the mount's own. Outside
        # of the container's groups it begins with "..", and leads nowhere that is mounted.
        folder = base if ".." in path.split("/") else base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(base):
                break
            yield group, *names


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no number: no limit
        return None


def _droppable(stat: Path) -> int:
    try:
        fields = dict(line.split() for line in stat.read_text().splitlines())
        return int(fields.get("total_inactive_file", fields.get("inactive_file", "0")))
    except (OSError, ValueError):
        return 0
