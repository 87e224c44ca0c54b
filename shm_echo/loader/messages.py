"""The messages between the trainer's process, the nursery and the workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shm_echo.loader.face import Face
    from shm_echo.loader.tasks import KeyTask, StreamTask

__all__ = [
    "Attach",
    "Claimed",
    "Died",
    "End",
    "FirstItem",
    "FirstSpec",
    "Fork",
    "ForkFailed",
    "Forked",
    "Hooks",
    "InitFailed",
    "Left",
    "NurseryFailed",
    "NurseryReady",
    "Parcel",
    "ParcelSize",
    "Ready",
    "Recipe",
    "Rehearse",
    "RowSpec",
    "Run",
    "Sender",
    "Singly",
    "WorkerSetup",
]


class Run(Protocol):
    """Rows of one batch that a worker has claimed: `_core_cpython.Run`."""

    @property
    def first_row(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def indices(self) -> tuple[int, ...]: ...
    @property
    def tree(self) -> Any: ...
    @property
    def views(self) -> tuple[Any, ...]: ...
    def row(self, place: int, /) -> Any: ...
    def at_row(self, place: int | None, /) -> None: ...
    def write(self, place: int, tree: Any, /) -> None: ...
    def mend(self) -> tuple[int, str, int] | None: ...
    def commit(self, status: int = 0, /) -> None: ...


class Sender(Protocol):
    """A worker's way into the ring."""

    def claim_run(self, timeout: float | None, /) -> Run: ...


class Hooks(Protocol):
    """The steps of the loader around items. It is pickled for spawned workers."""

    def activate(self) -> None:
        """Make `item_rng` work in this process, which is a worker."""

    def call_init_fn(self, function: Callable[[int], object], worker: int) -> None:
        """Call `worker_init_fn`, and respect the generators that it seeds."""

    def begin_run(self, epoch: int, first_row: int) -> None:
        """Set the global random generators for a run of rows."""

    def begin_item(self, epoch: int, index: Any) -> None:
        """Note the item that is made now, for `item_rng`."""

    def spec_of(self, item: Any, index: int) -> Any:
        """Return what the trainer needs to know about the first item."""

    def write(self, run: Any, place: int, item: Any, index: int) -> None:
        """Write an item into a row of a run."""

    def mend(self, run: Any) -> tuple[int, Exception] | None:
        """Complete rows that the dataset has written in place.

        Returns the place of a row that is wrong, and the error; None if all is well.
        """

    def state(self) -> Any:
        """Return the state of the global random generators."""

    def restore(self, state: Any) -> None:
        """Set the state of the global random generators."""


@dataclass(frozen=True)
class Recipe:
    """The way from items to batches that are collated as a whole.

    Attributes:
        face: the defaults.
        collate_fn: makes a batch of a list of items, or of one item if a batch is one; None for the
            default of the face.
        stream: True if the dataset is iterated: each worker has a shard.
        batch_size: items in a batch of a stream; None for batches that are one item each.
        drop_last: True to leave out a shard's last batch if it is short.
    """

    face: Face
    collate_fn: Callable[[Any], Any] | None = None
    stream: bool = False
    batch_size: int | None = 1
    drop_last: bool = False


@dataclass(frozen=True)
class WorkerSetup:
    """The arguments that each worker gets from the nursery.

    Attributes:
        dataset: makes the items.
        hooks: what the loader does around items.
        worker_init_fn: called in each worker with its number, before any item.
        num_workers, seed: for `worker_info`.
        recipe: makes batches.
    """

    dataset: Any
    hooks: Hooks
    worker_init_fn: Callable[[int], object] | None
    num_workers: int
    seed: int
    recipe: Recipe


# ---------------------------------------------------------------- trainer and nursery


@dataclass(frozen=True)
class NurseryReady:
    """The nursery has the dataset, and takes requests."""


@dataclass(frozen=True)
class NurseryFailed:
    """The nursery could not read the setup."""

    text: str


@dataclass(frozen=True)
class Fork:
    """Make a worker. With it come the worker's socket and the file for its stack."""

    worker: int
    life: int


@dataclass(frozen=True)
class Forked:
    """A worker has been made. With it comes its pidfd."""

    worker: int
    life: int
    pid: int


@dataclass(frozen=True)
class ForkFailed:
    """A worker could not be made."""

    worker: int
    text: str


@dataclass(frozen=True)
class Died:
    """A worker has ended, and its process is gone. `code` is negative for a signal."""

    worker: int
    life: int
    pid: int
    code: int


@dataclass(frozen=True)
class End:
    """End the workers, if they do not end by themselves within `grace` seconds, and then yourself.

    Without a nursery between, it ends a worker that waits for its ring.
    """

    grace: float


# ---------------------------------------------------------------- trainer and worker


@dataclass(frozen=True)
class Ready:
    """The worker has run `worker_init_fn`, and waits for requests.

    Attributes:
        batched: True if the dataset makes the rows of a run together.
    """

    batched: bool


@dataclass(frozen=True)
class InitFailed:
    """`worker_init_fn` has raised. `failure` is an ItemFailure."""

    failure: Any


@dataclass(frozen=True)
class FirstItem:
    """Make the first item of a batch, and say what it is like, or the whole batch.

    Attributes:
        row: row number of the item.
        epoch: epoch.
        task: the batch.
        whole: True to make the whole batch. Otherwise that is only done if the item fits no rows.
        run_rows: rows after which the global generators are set anew in a whole batch.
        measures: True to measure how many rows a run should have, if the item is a row.
    """

    row: int
    epoch: int
    task: KeyTask | StreamTask
    whole: bool
    run_rows: int
    measures: bool = False

    @property
    def index(self) -> Any:
        """The key of the item; None if it is not known."""
        return getattr(self.task, "keys", [None])[0]


@dataclass(frozen=True)
class Rehearse:
    """Make the first item, too, and throw it away."""

    first: FirstItem


@dataclass(frozen=True)
class RowSpec:
    """The first batch travels as rows.

    Attributes:
        spec: of an item.
        run_rows: rows that a run should have, measured; 0 if that was not asked for, or failed.
    """

    spec: Any
    run_rows: int


@dataclass(frozen=True)
class ParcelSize:
    """The first batch does not travel as rows.

    Attributes:
        nbytes: size of its parcel.
        reason: why its items fit no rows, in words; "" if nobody has tried.
    """

    nbytes: int
    reason: str = ""


@dataclass(frozen=True)
class FirstSpec:
    """The answer of `Hooks.spec_of` about the first item, or the size of the whole batch."""

    row: int
    spec: Any


@dataclass(frozen=True)
class Parcel:
    """A batch that did not fit into its slot of the ring. `row` is its first row."""

    row: int
    data: bytearray


@dataclass(frozen=True)
class Attach:
    """Open the ring, whose descriptor comes with it, and fill runs.

    A worker that has a ring goes on with the new one when its own is closed.

    Attributes:
        opener: makes the worker's sender from (descriptor, owner id, pidfd of the trainer, hooks).
        owner: the owner id of the worker.
        singly: the rows at which runs begin whose rows are made one by one.
        run_rows: 0 for a ring of rows; for one of parcels the rows after which the global
            generators are set anew.
    """

    opener: Callable[..., Sender]
    owner: int
    singly: tuple[int, ...]
    run_rows: int = 0


@dataclass(frozen=True)
class Claimed:
    """The worker has claimed its first run of a ring."""


@dataclass(frozen=True)
class Left:
    """The worker ends because the ring is closed: its end is no death."""


@dataclass(frozen=True)
class Singly:
    """Make the rows of the run that begins at `row` one by one: a worker has died at it."""

    row: int
