"""What an actor process is told when it starts.

What it is: the record that ``fleet`` writes into an actor's argument list and ``actor`` reads. It
stands alone so that the learner's process does not import Gymnasium to start actors.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["ActorConfig"]


@dataclass(frozen=True)
class ActorConfig:
    """What an actor process is told when it is started, as JSON in its argument."""

    address: str
    actor: int
    incarnation: int
    environments: int
    layers: tuple[int, ...]
    seed: int
    ledger_fd: int

    def to_json(self) -> str:
        """The form that travels in the argument list."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ActorConfig:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return cls(**{**fields, "layers": tuple(fields["layers"])})
