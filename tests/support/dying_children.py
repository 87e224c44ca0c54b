"""Runs a benchmark of which one child dies: `python dying_children.py WAY CHILD SCRIPT ARGS...`

`CHILD` is a regular expression for what the child runs: the code or the module of an interpreter
that the benchmark starts, or the name that it gives its producers. The child dies in this `WAY`:

- `exception`, `import`: an exception before its first statement.
- `killed`: SIGKILL before its first statement.
- `killed later`: SIGKILL while it works.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

WAYS = ("exception", "import", "killed", "killed later")
LATER_S = 0.7  # a child has connected by then, or is dead before; the benchmark takes far longer


def die(way: str) -> None:
    """Bring about the death of this process; only `killed later` returns."""
    if way == "exception":
        raise RuntimeError("an injected failure")
    if way == "import":
        import a_module_that_is_not_installed  # noqa: F401
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    timer = threading.Timer(LATER_S, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


class Dying:
    """A producer's program that dies. It travels to the producer's process by pickle."""

    def __init__(self, way: str, target: Callable[..., None]) -> None:
        self.way = way
        self.target = target

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.way == "import":  # as where the module of the target cannot be imported
            die(self.way)

    def __call__(self, stop: Any, index: int, *args: Any) -> None:
        if index == 0:  # the others stay alive, and may wait for something
            die(self.way)
        self.target(stop, index, *args)


def with_death(way: str, child: str, command: Sequence[str]) -> list[str]:
    """Return the command, changed so that the process dies if it, or its child, matches."""
    words = [str(word) for word in command]
    prefix = f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
    prefix += f"import dying_children; dying_children.die({way!r})\n"
    for at, word in enumerate(words):
        if not re.search(child, word):
            continue
        if words[at - 1] == "-m":
            run = f"import runpy; runpy.run_module({word!r}, run_name='__main__', alter_sys=True)"
            return [*words[: at - 1], "-c", prefix + run, *words[at + 1 :]]
        # Several lines of code behind other words are what a child gives to its own child.
        if words[at - 1] == "-c" or "\n" in word:
            words[at] = prefix + word
            break
    return words


def main() -> None:
    way, child, script, *args = sys.argv[1:]
    sys.argv = [script, *args]
    sys.path[0] = str(Path(script).parent)
    sys.path.append(str(Path(__file__).parent))

    start = subprocess.Popen.__init__

    def init(self: Any, command: Sequence[str], *rest: Any, **options: Any) -> None:
        start(self, with_death(way, child, command), *rest, **options)

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]

    spawn = os.posix_spawn

    def posix_spawn(path: str, command: Sequence[str], *rest: Any, **options: Any) -> int:
        return spawn(path, with_death(way, child, command), *rest, **options)

    os.posix_spawn = posix_spawn

    import dying_children  # this file under the name that a producer imports it by
    from harness import processes

    running = processes.running

    def dying(programs: Mapping[str, processes.Program], *rest: Any, **options: Any) -> Any:
        changed = {
            title: (dying_children.Dying(way, target) if re.search(child, title) else target, args)
            for title, (target, args) in programs.items()
        }
        return running(changed, *rest, **options)

    processes.running = dying
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
