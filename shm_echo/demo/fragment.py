"""The samples of the demo's ring: a rollout fragment, its stamp and its checksum.

One sample is `STEPS` consecutive transitions of one environment under `steps` (a *buffered* time
scale of a TrajectoryAccumulator) and one `stamp` (a *single-item* time scale) with the sending
process, the number of the sample among those of the process, and the policy version.

`checksum` covers every byte of the sample except the checksum itself, so that it detects a mixture
of the bytes of two samples. `delivery_audit` checks the order of samples.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["STEPS", "Stamp", "checksum", "example", "pack", "unpack"]

STEPS = 32
_OBSERVATION = 4


def example() -> dict[str, Any]:
    """Return an empty fragment, the example tree of the ring."""
    return {
        "steps": {
            "obs": np.zeros((STEPS, _OBSERVATION), np.float32),
            "action": np.zeros(STEPS, np.int32),
            "log_prob": np.zeros(STEPS, np.float32),
            "reward": np.zeros(STEPS, np.float32),
            "next_obs": np.zeros((STEPS, _OBSERVATION), np.float32),
            "terminated": np.zeros(STEPS, np.bool_),
            "truncated": np.zeros(STEPS, np.bool_),
            # The return of the episode that ends with this step, NaN if none does.
            "episode_return": np.zeros(STEPS, np.float32),
        },
        "stamp": {
            "actor": np.zeros((), np.int64),
            "incarnation": np.zeros((), np.int64),
            "sequence": np.zeros((), np.int64),
            "version": np.zeros((), np.int64),
            "checksum": np.zeros((), np.uint32),
        },
    }


@dataclass(frozen=True)
class Stamp:
    """The origin of a fragment: its process, its number there, and the version of the policy.

    An *incarnation* is one process of an actor: a restarted actor counts its samples from 0
    under the next incarnation number.
    """

    actor: int
    incarnation: int
    sequence: int
    version: int


def checksum(steps: dict[str, Any], stamp: Stamp) -> int:
    """Return the CRC-32 of a fragment: all leaves in the order of their names, then the stamp."""
    value = 0
    for name in sorted(steps):
        value = zlib.crc32(np.ascontiguousarray(steps[name]).data, value)
    numbers = np.array([stamp.actor, stamp.incarnation, stamp.sequence, stamp.version], np.int64)
    return zlib.crc32(numbers.data, value)


def pack(steps: dict[str, Any], stamps: list[Stamp]) -> dict[str, Any]:
    """Return a batch of samples, with a leading axis on every leaf, from steps and stamps."""
    checksums = [
        checksum({name: leaf[row] for name, leaf in steps.items()}, stamp)
        for row, stamp in enumerate(stamps)
    ]
    fields = {
        name: np.array([getattr(stamp, name) for stamp in stamps], np.int64)
        for name in ("actor", "incarnation", "sequence", "version")
    }
    return {"steps": steps, "stamp": {**fields, "checksum": np.array(checksums, np.uint32)}}


def unpack(batch: dict[str, Any]) -> list[tuple[Stamp, bool]]:
    """Return the stamp of each sample of a batch, and True if its checksum matches its bytes."""
    steps, stamps = batch["steps"], batch["stamp"]
    unpacked = []
    for row in range(len(stamps["actor"])):
        stamp = Stamp(
            actor=int(stamps["actor"][row]),
            incarnation=int(stamps["incarnation"][row]),
            sequence=int(stamps["sequence"][row]),
            version=int(stamps["version"][row]),
        )
        expected = checksum({name: leaf[row] for name, leaf in steps.items()}, stamp)
        unpacked.append((stamp, int(stamps["checksum"][row]) == expected))
    return unpacked
