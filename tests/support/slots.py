"""A server and a client for tests of slots, and custom nodes that run code when taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optree

from shm_echo import Server, ShmClient, ShmTransport

__all__ = ["Box", "Pair", "Rebuilding", "pair"]


class Box:
    """A custom node; `on_flatten` runs whenever one is taken apart."""

    on_flatten: Callable[[], object] | None = None

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def parts(self) -> tuple[Any, ...]:
        """Return the children."""
        if Box.on_flatten is not None:
            Box.on_flatten()
        return self.a, self.b


class Rebuilding(Box):
    """A custom node that hands out other objects over its memory whenever it is taken apart."""

    def parts(self) -> tuple[Any, ...]:
        return self.a.view(), self.b[:]


for kind in (Box, Rebuilding):
    optree.register_pytree_node(
        kind,
        lambda node: (node.parts(), None, None),
        lambda _, parts, kind=kind: kind(*parts),
        namespace=optree.registry.__GLOBAL_NAMESPACE,
    )


class Pair:
    """A server with room for two samples, and its client.

    Attributes:
        server: hands out one sample at a time.
        client: its only producer.
    """

    def __init__(self, server: Server, client: ShmClient) -> None:
        self.server, self.client = server, client

    def taken(self) -> Any:
        """Return the tree of the next sample."""
        sample = self.server.sample(timeout=0)
        assert sample is not None
        return optree.tree_map(lambda leaf: leaf[0].copy(), sample.batch)

    def nothing_was_sent(self) -> None:
        """Check that no slot is claimed and no sample was sent."""
        (producer,) = self.server.producers()
        assert (producer.held, producer.samples) == (0, 0)
        assert self.server.info().store_size == 0


@contextmanager
def pair(name: str, example: Any) -> Iterator[Pair]:
    """Run a server at `name`, with a client."""
    with Server(example, 1, ShmTransport(name), num_buffers=2) as server:
        with ShmClient(name, example) as client:
            yield Pair(server, client)
