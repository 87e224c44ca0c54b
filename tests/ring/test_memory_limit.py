"""The memory that control groups leave a process, read from trees made for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from shm_echo.ring.memory_limit import free_memory, free_under_limit

MIB = 1 << 20


class Tree:
    """A fake /sys/fs/cgroup and /proc/self/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.groups = folder / "self"
        self.root.mkdir()

    def belongs_to(self, *lines: str) -> None:
        self.groups.write_text("".join(f"{line}\n" for line in lines))

    def group(self, path: str, *, stat: str = "", **files: object) -> Path:
        """Return a group's folder. `memory_max=5` writes 5 to memory.max."""
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / name.replace("memory_", "memory.")).write_text(f"{value}\n")
        if stat:
            (folder / "memory.stat").write_text(stat)
        return folder

    def free(self) -> tuple[int | None, str]:
        return free_under_limit(self.groups, self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# ---------------------------------------------------------------- version 2


def test_version_2_leaves_the_limit_less_what_is_used(tree: Tree) -> None:
    tree.belongs_to("0::/user/job")
    folder = tree.group("user/job", memory_max=100 * MIB, memory_current=30 * MIB)
    assert tree.free() == (70 * MIB, str(folder / "memory.max"))


def test_page_cache_that_can_be_dropped_counts_as_free(tree: Tree) -> None:
    tree.belongs_to("0::/job")
    stat = f"anon {10 * MIB}\nfile {20 * MIB}\ninactive_file {15 * MIB}\nactive_file {5 * MIB}\n"
    tree.group("job", memory_max=100 * MIB, memory_current=30 * MIB, stat=stat)
    assert tree.free()[0] == 85 * MIB


def test_the_tightest_group_above_the_process_decides(tree: Tree) -> None:
    tree.belongs_to("0::/a/b/c")
    tree.group("a", memory_max=50 * MIB, memory_current=45 * MIB)
    tree.group("a/b", memory_max="max", memory_current=30 * MIB)
    tree.group("a/b/c", memory_max=100 * MIB, memory_current=30 * MIB)
    free, limit = tree.free()
    assert free == 5 * MIB
    assert limit == str(tree.root / "a" / "memory.max")


def test_max_means_that_there_is_no_limit(tree: Tree) -> None:
    tree.belongs_to("0::/job")
    tree.group("job", memory_max="max", memory_current=30 * MIB)
    assert tree.free() == (None, "")


def test_a_group_that_is_over_its_limit_leaves_nothing(tree: Tree) -> None:
    tree.belongs_to("0::/job")
    tree.group("job", memory_max=10 * MIB, memory_current=30 * MIB)
    assert tree.free()[0] == 0


def test_more_cache_than_usage_leaves_no_more_than_the_limit(tree: Tree) -> None:
    tree.belongs_to("0::/job")
    tree.group("job", memory_max=MIB, memory_current=10, stat=f"inactive_file {5 * MIB}\n")
    assert tree.free()[0] == MIB


def test_inside_a_container_the_limit_is_at_the_mount_itself(tree: Tree) -> None:
    """Its path is the host's, which does not exist here."""
    tree.belongs_to("0::/kubepods/pod1/container7")
    tree.group("", memory_max=64 * MIB, memory_current=4 * MIB)
    assert tree.free() == (60 * MIB, str(tree.root / "memory.max"))


def test_a_path_that_leads_out_of_the_tree_is_not_followed(tree: Tree) -> None:
    """The kernel writes such a path for a process outside of the namespace of its groups."""
    tree.belongs_to("0::/../elsewhere")
    for folder in (tree.root.parent, tree.root.parent / "elsewhere"):
        folder.mkdir(exist_ok=True)
        (folder / "memory.max").write_text("1\n")
        (folder / "memory.current").write_text("0\n")
    assert tree.free() == (None, "")
    tree.group("", memory_max=5 * MIB, memory_current=MIB)
    assert tree.free()[0] == 4 * MIB


# ---------------------------------------------------------------- version 1


def test_version_1_is_read_from_its_own_files(tree: Tree) -> None:
    tree.belongs_to("5:devices:/", "4:memory:/docker/abc", "1:cpu,cpuacct:/docker/abc")
    stat = f"inactive_file {MIB}\ntotal_inactive_file {8 * MIB}\n"
    folder = tree.group(
        "memory/docker/abc",
        memory_limit_in_bytes=100 * MIB,
        memory_usage_in_bytes=60 * MIB,
        stat=stat,
    )
    assert tree.free() == (48 * MIB, str(folder / "memory.limit_in_bytes"))


def test_the_huge_number_of_version_1_means_that_there_is_no_limit(tree: Tree) -> None:
    tree.belongs_to("4:memory:/")
    tree.group("memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=MIB)
    assert tree.free() == (None, "")


def test_memory_may_share_a_hierarchy_with_other_controllers(tree: Tree) -> None:
    tree.belongs_to("3:cpuset,memory:/job")
    tree.group("memory/job", memory_limit_in_bytes=9 * MIB, memory_usage_in_bytes=MIB)
    assert tree.free()[0] == 8 * MIB


def test_both_versions_may_be_mounted_at_once(tree: Tree) -> None:
    tree.belongs_to("4:memory:/job", "0::/job")
    tree.group("memory/job", memory_limit_in_bytes=9 * MIB, memory_usage_in_bytes=MIB)
    tree.group("job", memory_max=20 * MIB, memory_current=MIB)
    assert tree.free()[0] == 8 * MIB


# ---------------------------------------------------------------- unknown limits


@pytest.mark.parametrize(
    "lines", [(), ("nonsense",), ("1:name=systemd:/x",), ("4:memory",), ("::",)], ids=str
)
def test_an_unknown_limit_rejects_no_allocation(tree: Tree, lines: tuple[str, ...]) -> None:
    tree.belongs_to(*lines)
    assert tree.free() == (None, "")


def test_without_the_files_the_limit_is_unknown(tree: Tree) -> None:
    assert tree.free() == (None, "")  # no /proc/self/cgroup
    tree.belongs_to("0::/job", "4:memory:/job")
    assert tree.free() == (None, "")  # no groups
    tree.group("job", memory_max=MIB)  # no usage
    assert tree.free() == (None, "")


def test_malformed_files_are_no_limit(tree: Tree) -> None:
    tree.belongs_to("0::/job")
    tree.group("job", memory_max="lots", memory_current="some")
    assert tree.free() == (None, "")
    tree.group("job", memory_max=MIB, memory_current=0, stat="one two three\n")
    assert tree.free()[0] == MIB


def test_the_real_files_of_this_process_can_be_read() -> None:
    free, limit = free_under_limit()
    assert (free is None) == (limit == "")
    assert free is None or free >= 0


# ---------------------------------------------------------------- the machine


def test_the_memory_of_the_machine_is_what_is_available_and_the_free_swap(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900 kB\nMemFree: 5 kB\nMemAvailable:  100 kB\nSwapFree: 20 kB\n")
    assert free_memory(meminfo) == 120 * 1024
    meminfo.write_text("MemAvailable: 100 kB\n")
    assert free_memory(meminfo) == 100 * 1024


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB", "MemAvailable: x kB", "MemAvailable:"])
def test_a_kernel_without_the_number_rejects_no_allocation(tmp_path: Path, text: str) -> None:
    meminfo = tmp_path / "meminfo"
    assert free_memory(meminfo) is None
    meminfo.write_text(text)
    assert free_memory(meminfo) is None


def test_this_machine_has_some_memory() -> None:
    available = free_memory()
    assert available is None or available > 0
