"""A custom node, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Iterator

import optree
import pytest

from tests.spec.trees import Box


@pytest.fixture
def box() -> Iterator[type[Box]]:
    everywhere = getattr(optree.registry, "__GLOBAL_NAMESPACE")
    optree.register_pytree_node(
        Box,
        lambda node: ((node.low, node.high), node.tag, ("low", "high")),
        lambda tag, children: Box(*children, tag),
        namespace=everywhere,
    )
    yield Box
    optree.unregister_pytree_node(Box, namespace=everywhere)
