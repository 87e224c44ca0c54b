"""A learner on a thread of the test: takes and audits every batch until the stream ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shm_echo import Server
from tests.support.samples import Audit
from tests.support.waiting import WATCHDOG

__all__ = ["auditing"]


@contextmanager
def auditing(
    server: Server, between: Callable[[], object] | None = None, *, min_producers: int = 1
) -> Iterator[Audit]:
    """Audit what the server delivers until all producers have closed.

    The end of the `with` statement waits for the learner, and raises its errors.

    Args:
        server: to take batches from.
        between: called after each batch, such as something that takes time.
        min_producers: as for `dataset_iter`.
    """
    audit = Audit()
    failures: list[BaseException] = []

    def learn() -> None:
        try:
            for sample in server.dataset_iter(
                until="producers_closed", min_producers=min_producers
            ):
                audit.take(sample.batch)
                if between is not None:
                    between()
        except BaseException as failure:
            failures.append(failure)
            server.close()  # or the producers would wait for room for ever

    thread = threading.Thread(target=learn, name="learner")
    thread.start()
    try:
        yield audit
    except BaseException:
        server.close()
        raise
    finally:
        thread.join(WATCHDOG)
    if failures:
        raise failures[0]
    if thread.is_alive():
        server.close()
        raise AssertionError("the stream has not ended")
