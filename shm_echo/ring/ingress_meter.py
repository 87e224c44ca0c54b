"""The figures of the threads that bring samples of connections into a ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shm_echo.metrics import NO_TIMES, HistSnapshot

__all__ = ["IngressFigures", "IngressMeter", "sum_of"]


class IngressFigures(NamedTuple):
    """The figures of one ingress; the fields of `SampleInfo` of these names have their meaning.

    Attributes:
        connections: open connections whose handshake is done.
        queue_depth_sum: samples in all queues at the start of the last drain round.
        queue_depth_max: the longest queue then.
        push_blocked_count: times that a connection was not read because its queue was full.
        drain_round: durations of rounds that did work.
        queue_dwell: per sample, from the arrival of the last byte to the claim of a slot.
    """

    connections: int
    queue_depth_sum: int
    queue_depth_max: int
    push_blocked_count: int
    drain_round: HistSnapshot
    queue_dwell: HistSnapshot


class IngressMeter(Protocol):
    """An ingress as the metrics see it."""

    def figures(self) -> IngressFigures:
        """Return the figures of this moment."""

    def reset_histograms(self) -> None:
        """Restart the histograms."""


def sum_of(all_figures: Sequence[IngressFigures]) -> IngressFigures:
    """Return the figures of several ingresses together; at least one is given."""
    if len(all_figures) == 1:
        return all_figures[0]
    return IngressFigures(
        sum(one.connections for one in all_figures),
        sum(one.queue_depth_sum for one in all_figures),
        max(one.queue_depth_max for one in all_figures),
        sum(one.push_blocked_count for one in all_figures),
        _merge([one.drain_round for one in all_figures]),
        _merge([one.queue_dwell for one in all_figures]),
    )


def _merge(parts: Sequence[HistSnapshot]) -> HistSnapshot:
    """Merge summaries. Count, bounds and mean are exact.

    The percentiles are upper bounds: at least 90 % of each part lie below the greatest p90 of
    all parts, hence 90 % of the whole do.
    """
    parts = [part for part in parts if part.count]
    if len(parts) <= 1:
        return parts[0] if parts else NO_TIMES
    count = sum(part.count for part in parts)
    return HistSnapshot(
        count,
        min(part.min_ns for part in parts),
        max(part.max_ns for part in parts),
        sum(part.mean_ns * part.count for part in parts) / count,
        max(part.p50_ns for part in parts),
        max(part.p90_ns for part in parts),
        max(part.p99_ns for part in parts),
    )
