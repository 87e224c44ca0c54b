"""Metrics of a ring: SampleInfo, HistSnapshot, ProducerInfo, ReaderInfo.

Every field has the meaning that `echo` documents for it; docs/reference/metrics.md explains each
one for the shared-memory transport. The values are plain tuples of numbers, read when a batch is
handed out.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NO_TIMES", "HeldBatch", "HistSnapshot", "ProducerInfo", "ReaderInfo", "SampleInfo"]


class HistSnapshot(NamedTuple):
    """A summary of a distribution of durations, in nanoseconds.

    Minimum, maximum and percentiles are bounds of their bucket, which is exact below 32 ns and at
    most 1/32 (3 %) wide above. The mean is exact.
    """

    # The field takes the place of the method of tuples.
    count: int = 0  # type: ignore[assignment]
    min_ns: int = 0
    max_ns: int = 0
    mean_ns: float = 0.0
    p50_ns: int = 0
    p90_ns: int = 0
    p99_ns: int = 0


NO_TIMES = HistSnapshot()


class SampleInfo(NamedTuple):
    """The state of the ring at the moment when a batch was handed out.

    Attributes:
        store_size: samples committed and not yet handed out.
        active_connections: producers attached; those of a TcpTransport count while their
            connection is open.
        queue_depth_sum: samples in the queues of connections at the start of the last drain round;
            0 without a TcpTransport.
        queue_depth_max: the longest such queue at that moment.
        push_blocked_count: times that a producer or a connection had to wait for room, since the
            start.
        samples_inserted_total: samples that producers committed, since the start, without those
            of `Server.submit`.
        notify_count: batches completed, since the start.
        cas_success_total: slots claimed, refilled holes among them (with `detailed_metrics`, as the
            fields below).
        cas_failure_total: claims lost to another producer at the same slot.
        reservation_retries_total: rounds of the claim loop that claimed nothing.
        drain_round: with a TcpTransport: rounds of its threads that moved samples into the ring.
        memcpy: time to copy the samples of one reservation.
        queue_dwell: per sample, from its commit to its hand-out; with a TcpTransport: of its
            samples, from the arrival of the last byte to the claim of a slot.
        copied_total: batches handed out as private copies because arrays of earlier batches held
            the other buffers, since the start: see `lease="copy"` of [Server][shm_echo.Server].
        lent: batches whose memory in the ring is lent now, this one included.
    """

    store_size: int
    active_connections: int
    queue_depth_sum: int
    queue_depth_max: int
    push_blocked_count: int
    samples_inserted_total: int
    notify_count: int
    cas_success_total: int
    cas_failure_total: int
    reservation_retries_total: int
    drain_round: HistSnapshot
    memcpy: HistSnapshot
    queue_dwell: HistSnapshot
    copied_total: int = 0
    lent: int = 0


class HeldBatch(NamedTuple):
    """A batch whose memory in the ring the learner holds, as `Server.held()` lists it.

    Attributes:
        number: the how-manieth batch that the server handed out, counted from 1.
        age: seconds since it was taken, to about 4 ms.
        leaves: leaves of the batch that are alive, by themselves or through views of them.
        holders: the containers that hold its arrays, each described from the inside to the outside,
            or "a local variable, a view or another library"; empty unless SHM_ECHO_DEBUG is on.
        stack: the stack of the `sample()` that took it; empty unless SHM_ECHO_DEBUG is on.
    """

    number: int
    age: float
    leaves: int
    holders: tuple[str, ...] = ()
    stack: str = ""


class ProducerInfo(NamedTuple):
    """One attached producer, as `Server.producers()` lists it.

    Attributes:
        id: its owner id in the ring; a number above all owner ids if it sends through TCP.
        pid: its process, or None if the transport does not know it, as with TCP.
        samples: samples committed since it attached.
        bytes: the size of these samples.
        blocked_seconds: time spent waiting for room, the present wait included.
        held: slots that it has claimed and not yet committed.
        last_seen: seconds since its last sign of life; coarse, about 0.1 s.
        state: "attached"; "waiting" while it waits until its samples are taken; "hung up" when its
            connection broke while the process lives.
        producer_id: the name that it gave itself, or None.
        peer: its address, "host:port", if it sends through TCP; else None.
        transport: the way by which it is attached: "shm", "tcp", or the class of another transport.
        way: why a [Connector][shm_echo.Connector] chose this transport; None if none did, or if the
            wire does not tell.
        holder: the name of the holder of its token, where the transport asks for one; else None.
    """

    id: int
    pid: int | None
    samples: int
    bytes: int
    blocked_seconds: float
    held: int
    last_seen: float
    state: str
    producer_id: str | None = None
    peer: str | None = None
    transport: str = ""
    way: str | None = None
    holder: str | None = None


class ReaderInfo(NamedTuple):
    """One attached reader, as `Server.readers()` lists it.

    Attributes:
        id: its number, counted from 1 and never used twice.
        pid: its process; None if the transport does not know it.
        attached_seconds: seconds since it attached.
        peer: the address that it connected from, over TCP; None in shared memory.
    """

    id: int
    pid: int | None
    attached_seconds: float
    peer: str | None = None
