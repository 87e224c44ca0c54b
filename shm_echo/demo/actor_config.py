"""What an actor process is told when it starts.

What it is: the record that `fleet` writes into an actor's argument list and `actor` reads. It
stands alone so that the learner's process does not import Gymnasium to start actors.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["ActorConfig"]


@dataclass(frozen=True)
class ActorConfig:
    """What an actor process is told when it is started, as JSON in its argument.

    Attributes:
        address: the ring's.
        environments: how many environments it steps.
        layers: the sizes of the policy network.
        seed: of the whole run.
        dawdle: write samples slowly, in reserved slots.
        actor: which of the actors this is, counted from 0.
        incarnation: how many processes this actor has had before.
        ledger_fd: the inherited descriptor of the ledger.
    """

    address: str
    environments: int
    layers: tuple[int, ...]
    seed: int
    dawdle: bool
    actor: int = 0
    incarnation: int = 0
    ledger_fd: int = -1

    def to_json(self) -> str:
        """The form that travels in the argument list."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ActorConfig:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "layers": tuple(fields["layers"])})
