"""A batch has the structure of the example: the same containers, keys, fields and leaf types."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest

from shm_echo import Server, ShmClient, ShmTransport

F4 = np.float32


class Step(NamedTuple):
    obs: Any
    reward: Any


class Graph:
    """A foreign type, registered by the fixture below."""

    def __init__(self, nodes: Any, edges: Any, kind: str) -> None:
        self.nodes, self.edges, self.kind = nodes, edges, kind


@pytest.fixture(autouse=True)
def registered_graph() -> Iterator[None]:
    everywhere = getattr(optree.registry, "__GLOBAL_NAMESPACE")
    optree.register_pytree_node(
        Graph,
        lambda graph: ((graph.nodes, graph.edges), graph.kind, ("nodes", "edges")),
        lambda kind, children: Graph(*children, kind),
        namespace=everywhere,
    )
    yield
    optree.unregister_pytree_node(Graph, namespace=everywhere)


def leaf(i: int = 0, *shape: int, dtype: Any = F4) -> np.ndarray[Any, Any]:
    return np.full(shape, i, dtype)


# Each makes a tree whose leaves have the values i, i + 1, ... in the order of its containers.
TREES: dict[str, Any] = {
    "a single array": lambda i: leaf(i, 2, 3),
    "a single scalar": lambda i: F4(i),
    "a dict": lambda i: {"b": leaf(i, 2), "a": leaf(i + 1)},
    "a dict of int keys": lambda i: {7: leaf(i, 2), -1: leaf(i + 1)},
    "a dict of mixed keys": lambda i: {"1": leaf(i), 1: leaf(i + 1), (0, "x"): leaf(i + 2)},
    "an OrderedDict": lambda i: OrderedDict(z=leaf(i), a=leaf(i + 1), m=leaf(i + 2)),
    "a defaultdict": lambda i: defaultdict(list, {"b": leaf(i), "a": leaf(i + 1)}),
    "a list": lambda i: [leaf(i), leaf(i + 1, 3)],
    "a tuple": lambda i: (leaf(i), leaf(i + 1, 3)),
    "a tuple of one": lambda i: (leaf(i, 2),),
    "a deque": lambda i: deque([leaf(i), leaf(i + 1)], maxlen=5),
    "a namedtuple": lambda i: Step(leaf(i, 4), leaf(i + 1)),
    "None": lambda i: {"a": None, "b": leaf(i), "c": [None, leaf(i + 1)]},
    "empty containers": lambda i: ((), {"a": [], "b": leaf(i)}, {}),
    "a custom node": lambda i: Graph(leaf(i, 3), {"e": leaf(i + 1)}, "directed"),
    "everything at once": lambda i: OrderedDict(
        step=Step({"pixels": leaf(i, 2, 2, dtype=np.uint8), "pos": (leaf(i + 1), None)}, F4(i + 2)),
        aux=[Graph([leaf(i + 3)], (), "tree"), deque([leaf(i + 4, 1)])],
    ),
}


def signature(tree: Any) -> Any:
    """Types, keys in their order, fields and shapes, down to the leaves."""
    if isinstance(tree, dict):
        factory = getattr(tree, "default_factory", None)
        return type(tree), factory, [(key, signature(value)) for key, value in tree.items()]
    if isinstance(tree, Graph):
        return Graph, tree.kind, signature(tree.nodes), signature(tree.edges)
    if isinstance(tree, (list, tuple, deque)):
        return type(tree), getattr(tree, "maxlen", None), [signature(value) for value in tree]
    return None if tree is None else np.ndarray


def leaves(tree: Any) -> list[Any]:
    return optree.tree_leaves(tree)  # type: ignore[return-value]


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
@pytest.mark.parametrize("how", ["submit", "client"])
def test_the_same_structure_comes_back(name: str, how: str, make: Any) -> None:
    with (
        Server(make(0), 3, ShmTransport(name)) as server,
        ShmClient(name, make(0)) as client,
    ):
        for i in (10, 20, 30):
            if how == "submit":
                server.submit(make(i))
            else:
                client.send(make(i))
        sample = server.sample()
        assert sample is not None
        if not isinstance(make(0), (np.ndarray, np.generic)):
            expected = signature(make(0))
            if type(make(0)) is dict:  # a plain dict may come back in another order of its keys
                assert set(sample.batch) == set(make(0))
                sample.batch.update({k: sample.batch.pop(k) for k in make(0)})
            assert signature(sample.batch) == expected
        trees = [leaves(make(i)) for i in (10, 20, 30)]
        for got, *sent in zip(leaves(sample.batch), *trees, strict=True):
            assert type(got) is np.ndarray
            assert got.dtype == np.asarray(sent[0]).dtype
            np.testing.assert_array_equal(got, np.stack(sent))


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_empty_and_partial_batches_have_it_too(make: Any) -> None:
    with Server(make(0), 3) as server:
        empty = server.flush()
        server.submit(make(5))
        partial = server.flush()
        assert empty is not None
        assert partial is not None
        for rows, tree in ((0, empty.batch), (1, partial.batch)):
            got = optree.tree_structure(tree)
            assert got == optree.tree_structure(make(0))
            for one, sent in zip(leaves(tree), leaves(make(5)), strict=True):
                assert one.shape == (rows, *np.shape(sent))
                np.testing.assert_array_equal(one, np.asarray(sent)[None][:rows])


def test_copies_have_it_too() -> None:
    make = TREES["everything at once"]
    with Server(make(0), 1) as server:
        server.submit(make(5))
        sample = next(server.dataset_iter(copy=True))
        assert signature(sample.batch) == signature(make(0))


def test_the_order_in_which_a_samples_keys_were_filled_does_not_matter() -> None:
    with Server({"a": leaf(0), "b": leaf(0)}, 2) as server:
        server.submit({"a": leaf(1), "b": leaf(2)})
        server.submit({"b": leaf(2), "a": leaf(1)})
        sample = server.sample()
        assert sample is not None
        assert sample.batch["a"].tolist() == [1, 1]
        assert sample.batch["b"].tolist() == [2, 2]


def test_a_sample_is_a_batch_and_its_info_and_unpacks_as_such() -> None:
    with Server(leaf(0), 1) as server:
        server.submit(leaf(1))
        sample = server.sample()
        assert sample is not None
        batch, info = sample
        assert batch is sample.batch
        assert info is sample.info
