"""Batches as JAX arrays: `DataLoader` for training loops in JAX, `to_device` for any other batch.

This is the only module that imports JAX. On the CPU an array of JAX lies in the memory of the batch
that it was made of, and JAX computes later than it is asked to: the memory is used again only when
JAX is done with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

try:
    import jax
except ImportError as error:
    if error.name not in ("jax", "jaxlib"):
        raise  # JAX is there, and something that it needs is not
    raise ImportError(
        "shm_echo.jax needs JAX, which is not installed: pip install 'shm-echo[jax]'", name="jax"
    ) from None

from shm_echo.loader import data_loader
from shm_echo.spec.ragged_batch import RaggedBatch

__all__ = ["DataLoader", "to_device"]

# The kinds of NumPy's dtypes that JAX has arrays of; extension types such as bfloat16 are "V".
_KINDS = "biufcV"


def _keyed_children(batch: RaggedBatch) -> tuple[Any, Any]:
    children, metadata = batch.tree_flatten()
    keys = (jax.tree_util.GetAttrKey("padded"), jax.tree_util.GetAttrKey("lengths"))
    return tuple(zip(keys, children, strict=True)), metadata


# As for optree: a batch of ragged rows is a node, also in jitted functions.
jax.tree_util.register_pytree_with_keys(RaggedBatch, _keyed_children, RaggedBatch.tree_unflatten)


class DataLoader(data_loader.DataLoader):
    """Batches of a dataset's items, as `shm_echo.DataLoader` makes them, on a device of JAX.

    The leaves of a batch are `jax.Array`s, of the dtype that `jax.numpy.asarray` would give them:
    int64 becomes int32 and float64 float32, unless `jax_enable_x64` is set. Leaves that JAX has no
    type for, such as text, stay as they are. A `shm_echo.RaggedBatch` has JAX arrays, too.

    A batch may be kept, donated and used at any later time. On the CPU its arrays lie in the ring
    without a copy; the memory is used again once JAX has read it and the program has dropped it. On
    other devices the transfer runs while the loop goes on.

    Args:
        dataset: as for `shm_echo.DataLoader`; it makes NumPy arrays, and need not use JAX.
        batch_size: items per batch.
        shuffle: True for a new random order in each epoch.
        device: a `jax.Device`, or a `jax.sharding.Sharding` whose devices are all of this process;
            None for JAX's default.
        start_method: "forkserver", "spawn" or "fork". A fork of this process would copy locks that
            threads of JAX hold, so "fork" is only for programs that start a loop before they use
            JAX.
        options: the other arguments of `shm_echo.DataLoader`, except `reuse=True`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or excludes another one; `reuse=True`.

    Example:
        ```python
        loader = DataLoader(dataset, 256, shuffle=True, num_workers=4, seed=0)
        for batch in loader:
            state = train_step(state, batch)
        ```
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        *,
        device: Any = None,
        start_method: Literal["fork", "spawn", "forkserver"] = "forkserver",
        **options: Any,
    ) -> None:
        if options.get("reuse"):
            raise ValueError(
                "reuse=True gives the memory of a batch back at the next one, and JAX may read it "
                "later than that: leave it out"
            )
        arguments: Any = (dataset, batch_size, shuffle)
        super().__init__(*arguments, start_method=start_method, **options)
        self._device = device

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch.

        Raises:
            WorkerStartError: the workers could not be started.
        """
        return _DeviceBatches(super().__iter__(), self._device)


class _DeviceBatches(Iterator[Any]):
    """The batches of a loop on a device. It has the attributes of the loop, `state_dict` too."""

    def __init__(self, batches: Iterator[Any], device: Any) -> None:
        self._batches = batches
        self._device = device

    def __next__(self) -> Any:
        return to_device(next(self._batches), self._device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


def to_device(batch: Any, device: Any = None) -> Any:
    """Return a batch of NumPy arrays as one of JAX arrays.

    It is safe for batches of `shm_echo.DataLoader` and, with `lease="copy"` or `lease=True`, of
    `Server`: their memory is used again when JAX is done with it. It is not safe for memory that
    is overwritten at another time (`reuse=True`, `lease=False`).

    Args:
        batch: a tree of arrays. Leaves that JAX has no type for stay as they are.
        device: a `jax.Device`, or a `jax.sharding.Sharding` whose devices are all of this process;
            None for JAX's default.

    Returns:
        A tree of the same structure.

    Raises:
        OverflowError: JAX's integers have 32 bits, and an element does not fit.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(batch)
    arrays = [_fitting(leaf, path) for path, leaf in leaves]
    places = [i for i, array in enumerate(arrays) if array is not None]
    # In one call: each has a fixed cost. JAX also drops its references to earlier batches in it,
    # with Python's garbage collector disabled, too.
    found: list[Any] = [leaf for _, leaf in leaves]
    for i, array in zip(places, jax.device_put([arrays[i] for i in places], device), strict=True):
        found[i] = array
    return jax.tree_util.tree_unflatten(structure, found)


def _fitting(leaf: Any, path: Any) -> Any:
    """Return a leaf in a dtype that JAX keeps as it is; None if it has none for it.

    `jax.device_put` would cut integers to 32 bits without a word.
    """
    if isinstance(leaf, jax.Array):
        return leaf
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in _KINDS:
        return None
    try:
        dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    except TypeError:  # a structured dtype
        return None
    if dtype == leaf.dtype:
        return leaf
    narrow = leaf.astype(dtype)
    if dtype.kind in "iu" and (narrow != leaf).any():
        where = jax.tree_util.keystr(path) or "the batch"
        raise OverflowError(
            f"{where} has {leaf.dtype} numbers beyond {dtype}, which JAX would make of them: set "
            "jax_enable_x64, or make them smaller in the dataset"
        )
    return narrow
