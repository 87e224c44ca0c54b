"""Start and end of the workers: nothing is left, whoever ends first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shm_echo.errors import WorkerStartError
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.worker_pool import PoolOptions, WorkerPool
from tests.support.leftovers import child_processes, open_descriptors
from tests.support.loader_datasets import Barred, Hanging, Numbers, Unreadable
from tests.support.loader_pools import METHODS, PoolLoop
from tests.support.processes import start
from tests.support.waiting import WATCHDOG, process_state, wait_until


def gone(pid: int) -> bool:
    """Return True if a process has ended, whether its parent has noticed or not."""
    return process_state(pid) in ("", "Z")


def family(loop: PoolLoop) -> list[int]:
    """Return nursery and workers."""
    return [loop.pool.nursery_pid, *loop.pool.pids()]


# ---------------------------------------------------------------- close


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("when", ["at once", "open", "in the middle", "after the end"])
def test_close_leaves_no_process_no_descriptor_and_no_thread(method: Any, when: str) -> None:
    with PoolLoop(Numbers(8), method=method):
        pass  # what multiprocessing itself starts once, such as the fork server, is there now
    descriptors, children, threads = (
        open_descriptors(),
        child_processes(os.getpid()),
        threading.enumerate(),
    )
    loop = PoolLoop(Numbers(200), method=method)
    with loop:
        pids = [] if when == "at once" else family(loop)
        if when != "at once":
            loop.open()
        if when == "in the middle":
            loop.next_batch()
        if when == "after the end":
            loop.items()
    assert all(gone(pid) for pid in pids)
    assert child_processes(os.getpid()) == children
    assert threading.enumerate() == threads
    loop.close()  # a second time
    del loop
    assert open_descriptors() == descriptors


def test_workers_that_end_with_the_ring_are_not_replaced() -> None:
    with PoolLoop(Numbers(20)) as loop:
        loop.open().items()
        pids = family(loop)[1:]
        wait_until(lambda: all(s.ring for s in loop.pool._watch.slots), "both have the ring")
        assert loop.ring is not None
        loop.ring.close()
        for pid in pids:
            wait_until(lambda pid=pid: gone(pid), "the workers end")  # type: ignore[misc]
        wait_until(lambda: loop.pool.pids() == [], "their ends are seen")
        assert loop.pool.deaths == 0


def test_close_kills_a_worker_that_does_not_end(tmp_path: Path) -> None:
    dataset = Hanging(12, tmp_path / "log", index=4)
    with PoolLoop(dataset) as loop:
        pids = family(loop.open())
        wait_until(lambda: (4,) in dataset.calls(), "it hangs")
        assert loop.ring is not None
        loop.ring.close()
        loop.pool.close(grace=0.05)
        assert all(gone(pid) for pid in pids)


def test_close_after_the_nursery_was_killed_leaves_no_worker(tmp_path: Path) -> None:
    dataset = Hanging(12, tmp_path / "log", index=4)
    with PoolLoop(dataset) as loop:
        nursery, *workers = family(loop.open())
        wait_until(lambda: (4,) in dataset.calls(), "it hangs")
        os.kill(nursery, signal.SIGKILL)
    for pid in workers:
        wait_until(lambda pid=pid: gone(pid), "the workers end")  # type: ignore[misc]


def test_close_in_a_forked_child_leaves_the_workers_alone() -> None:
    with PoolLoop(Numbers(60)) as loop:
        items = loop.rows(loop.open().next_batch())
        child = os.fork()
        if child == 0:
            loop.pool.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        while len(items) < 60:
            items += loop.rows(loop.next_batch())
        assert loop.pool.deaths == 0


# ---------------------------------------------------------------- the trainer's process


def train(pipe: Any, method: Any, log: str | None) -> None:
    """Run a loop in a process of its own, and say which processes belong to it."""
    dataset: Any = Numbers(10**6) if log is None else Hanging(60, Path(log), index=20)
    loop = PoolLoop(dataset, method=method)
    with loop:
        loop.open().next_batch()
        pipe.send(family(loop))
        while True:
            loop.next_batch()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_trainer(
    tmp_path: Path, method: Any, hangs: bool, number: int
) -> None:
    log = tmp_path / "log"
    # A daemonic process: multiprocessing itself lets it have no children.
    with start(train, method, str(log) if hangs else None, daemon=True) as trainer:
        pids = trainer.hear()
        if hangs:
            wait_until(lambda: any(" 20" in line for line in _lines(log)), "a worker hangs")
        trainer.kill(number)
        trainer.wait()
        for pid in pids:
            wait_until(lambda pid=pid: gone(pid), "nursery and workers end")  # type: ignore[misc]


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_workers_outlive_the_thread_that_made_them() -> None:
    loops: list[PoolLoop] = []

    def make() -> None:
        loops.append(PoolLoop(Numbers(60)).__enter__().open())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with_workers = loops[0]
    try:
        assert with_workers.items() == list(range(60))
        assert with_workers.pool.deaths == 0
    finally:
        with_workers.close()


def test_signals_of_the_terminal_do_not_end_workers() -> None:
    with PoolLoop(Numbers(60)) as loop:
        loop.open()
        for pid in family(loop):
            os.kill(pid, signal.SIGINT)
        assert loop.items() == list(range(60))
        assert loop.pool.deaths == 0


_SCRIPT = """
import sys
from tests.support.loader_datasets import Numbers
from tests.support.loader_pools import PoolLoop

if __name__ == "__main__":
    with PoolLoop(Numbers(10**6), method=sys.argv[1]) as loop:
        loop.open().next_batch()
        print(loop.pool.nursery_pid, *loop.pool.pids(), flush=True)
        while True:
            loop.next_batch()
"""


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_gives_one_traceback_and_leaves_nothing(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script), method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group like that of a terminal
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ) as trainer:
        assert trainer.stdout is not None
        pids = [int(pid) for pid in trainer.stdout.readline().split()]
        os.killpg(trainer.pid, signal.SIGINT)
        _, errors = trainer.communicate(timeout=WATCHDOG)
    assert trainer.returncode == -signal.SIGINT, errors
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert len(pids) == 3
    for pid in pids:
        wait_until(lambda pid=pid: gone(pid), "nursery and workers end")  # type: ignore[misc]


def test_handlers_of_the_trainer_do_not_run_in_workers(tmp_path: Path) -> None:
    mark = tmp_path / "handled"
    before = signal.signal(signal.SIGUSR1, lambda *_: mark.write_text(str(os.getpid())))
    try:
        with PoolLoop(Numbers(60)) as loop:
            loop.open()
            for pid in family(loop):
                os.kill(pid, signal.SIGUSR1)
            assert loop.items() == list(range(60))
            assert loop.pool.deaths == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not mark.exists()


# ---------------------------------------------------------------- datasets that cannot travel


def pool_of(dataset: Any, method: Any, init_fn: Any = None) -> WorkerPool:
    return WorkerPool(dataset, PoolOptions(2, ItemHooks(0), 0, method, init_fn))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_dataset_that_cannot_be_pickled_is_named_before_a_process_starts(method: Any) -> None:
    with PoolLoop(Numbers(8), method=method):
        pass
    children, descriptors = child_processes(os.getpid()), open_descriptors()
    with pytest.raises(WorkerStartError, match=r"dataset\.inner\.guard \(lock\) cannot be pickled"):
        pool_of(Barred(8), method).start()
    with pytest.raises(WorkerStartError, match=r"worker_init_fn \(.*lambda.*cannot be pickled"):
        pool_of(Numbers(8), method, lambda worker: None).start()
    assert child_processes(os.getpid()) == children
    assert open_descriptors() == descriptors


def test_a_fork_needs_no_pickle() -> None:
    with PoolLoop(Barred(8), method="fork", worker_init_fn=lambda worker: None) as loop:
        assert loop.open().items() == list(range(8))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_dataset_that_cannot_be_unpickled_is_an_error_with_its_traceback(method: Any) -> None:
    with PoolLoop(Unreadable(8), method=method) as loop:
        with pytest.raises(WorkerStartError, match=r"(?s)not unpickled.*no such file: data\.bin"):
            loop.open()


def test_the_start_method_of_multiprocessing_must_exist() -> None:
    with pytest.raises(ValueError, match="cannot find context for 'thread'"):
        pool_of(Numbers(8), "thread").start()


def test_a_signal_handler_may_close_the_pool_anywhere() -> None:
    with PoolLoop(Numbers(60)) as loop:
        loop.open().next_batch()
        with loop.pool._watch.lock:  # as in the middle of any call
            loop.close()  # what the handler does
        assert loop.pool.pids() == []
