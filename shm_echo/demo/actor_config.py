"""The configuration of an actor process.

`fleet` writes it into an actor's argument list, `actor` reads it. It has a module of its own so
that the learner's process starts actors without importing Gymnasium.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["ActorConfig"]


@dataclass(frozen=True)
class ActorConfig:
    """The configuration of an actor process, which travels as JSON in its argument list.

    Attributes:
        address: the address of the ring.
        environments: the number of environments that the actor steps.
        layers: the sizes of the policy network.
        seed: the seed of the whole run.
        slow_writes: write samples slowly, in reserved slots.
        actor: the number of this actor, counted from 0.
        incarnation: the number of processes that this actor has had before.
        ledger_fd: the inherited descriptor of the ledger.
    """

    address: str
    environments: int
    layers: tuple[int, ...]
    seed: int
    slow_writes: bool
    actor: int = 0
    incarnation: int = 0
    ledger_fd: int = -1

    def to_json(self) -> str:
        """Return the form that travels in the argument list."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ActorConfig:
        """Parse the result of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "layers": tuple(fields["layers"])})
