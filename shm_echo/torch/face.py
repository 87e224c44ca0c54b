"""Items and batches as torch's loader has them: what fits rows, and what a batch is made of.

The structure of a batch is that of `torch.utils.data.default_collate`: tuples become lists, dicts
and named tuples keep their class, numbers and arrays become tensors. Items that it would treat in
another way than the rows of a ring could show do not fit rows, and it collates them itself.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import torch
from torch.utils.data import _utils
from torch.utils.data import default_collate as torch_collate
from torch.utils.data import default_convert as torch_convert

from shm_echo.loader.current_worker import WorkerInfo
from shm_echo.loader.face import Face
from shm_echo.spec.ragged_batch import RaggedBatch

__all__ = ["TORCH_FACE", "collates_as_torch_does", "fits_rows", "reducer", "rows_to_tensors"]

_DICTS = (dict, OrderedDict, defaultdict)
_NUMBERS = (bool, int, float)
# Kinds of NumPy's dtypes that tensors have, too: bool, integers, floats, complex numbers.
_KINDS = "biufc"
_COLLATE = _utils.collate
_WORKER = _utils.worker


# ---------------------------------------------------------------- rows


def fits_rows(item: Any) -> bool:
    """Return True if rows of such items, as tensors, are what torch's default collation returns."""
    return collates_as_torch_does() and _fits(item)


def collates_as_torch_does() -> bool:
    """Return True unless the program has changed torch's table of collate functions."""
    return all(
        getattr(function, "__module__", None) == _COLLATE.__name__
        for function in _COLLATE.default_collate_fn_map.values()
    )


def _fits(value: Any) -> bool:
    kind = type(value)
    if kind in _NUMBERS:
        return True
    if kind is torch.Tensor:
        return _fits_tensor(value)
    if isinstance(value, np.ndarray):
        return not isinstance(value, np.ma.MaskedArray) and _fits_dtype(value.dtype)
    if isinstance(value, np.generic):
        return _fits_dtype(value.dtype)
    if kind in _DICTS:
        return bool(value) and all(map(_fits, value.values()))
    if kind in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return bool(value) and all(map(_fits, value))
    return False


def _fits_tensor(tensor: torch.Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.requires_grad
        and not tensor.is_nested
        and _numpy_dtype(tensor.dtype) is not None
    )


def _fits_dtype(dtype: np.dtype[Any]) -> bool:
    return (
        dtype.kind in _KINDS and dtype.isnative and dtype.itemsize <= 16 and dtype.char not in "gG"
    )


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any] | None:
    """Return the NumPy dtype of a tensor's; None for bfloat16 and others that NumPy lacks."""
    if dtype not in _numpy_dtypes:
        try:
            _numpy_dtypes[dtype] = torch.empty(0, dtype=dtype).numpy().dtype
        except (TypeError, RuntimeError):
            _numpy_dtypes[dtype] = None
    return _numpy_dtypes[dtype]


_numpy_dtypes: dict[torch.dtype, np.dtype[Any] | None] = {}


def rows_to_tensors(tree: Any) -> Any:
    """Return a batch of rows as torch's loader returns it. Its tensors alias the arrays."""
    kind = type(tree)
    if kind is np.ndarray:
        return torch.from_numpy(tree)
    if kind is dict:
        return {key: rows_to_tensors(value) for key, value in tree.items()}
    if kind is OrderedDict:
        return OrderedDict((key, rows_to_tensors(value)) for key, value in tree.items())
    if kind is defaultdict:
        pairs = ((key, rows_to_tensors(value)) for key, value in tree.items())
        return defaultdict(tree.default_factory, pairs)
    if hasattr(kind, "_fields"):
        return kind._make(map(rows_to_tensors, tree))
    if kind in (tuple, list):
        return [rows_to_tensors(value) for value in tree]
    if kind is RaggedBatch:
        return RaggedBatch(rows_to_tensors(tree.padded), rows_to_tensors(tree.lengths))
    return tree  # None, which a tree of arrays may hold


# ---------------------------------------------------------------- parcels


def _collate(items: list[Any]) -> Any:
    """Collate a batch in a worker.

    In a worker, torch's function allocates the batch in shared memory of torch's own: here it is
    copied into the ring instead, so the function must not find itself in a worker.
    """
    info, _WORKER._worker_info = _WORKER._worker_info, None
    try:
        return torch_collate(items)
    finally:
        _WORKER._worker_info = info


def reducer(value: Any) -> Any:
    """Reduce a tensor for a pickler to an array, which travels beside the pickle.

    Tensors that NumPy has no array for go as bytes. Others (sparse, quantized, subclasses, on a
    device) are left to torch.
    """
    if type(value) is not torch.Tensor:
        return NotImplemented
    tensor = value
    if (
        tensor.device.type != "cpu"
        or tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.is_neg()
        or tensor.is_conj()
        or (tensor.requires_grad and not tensor.is_leaf)
    ):
        return NotImplemented
    dtype, needs_grad = tensor.dtype, tensor.requires_grad
    tensor = tensor.detach()
    order = _dense_order(tensor)
    if order is None:
        tensor, order = tensor.contiguous(), tuple(range(tensor.dim()))
    dense = tensor.permute(order)
    view = None
    if _numpy_dtype(dtype) is None:
        view, dense = dtype, dense.unsqueeze(-1).view(torch.uint8)
    return _rebuild_tensor, (dense.numpy(), order, view, needs_grad)


def _dense_order(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """Return the order of dimensions in which the tensor is contiguous; None if there is none.

    A channels-last tensor has one: it keeps its strides.
    """
    order = tuple(sorted(range(tensor.dim()), key=lambda d: -tensor.stride(d)))
    if tensor.is_contiguous():
        return tuple(range(tensor.dim()))
    return order if tensor.permute(order).is_contiguous() else None


def _rebuild_tensor(
    array: Any, order: tuple[int, ...], dtype: torch.dtype | None, requires_grad: bool
) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if dtype is not None:
        tensor = tensor.view(dtype).squeeze(-1)
    if order != tuple(range(len(order))):
        places = [0] * len(order)
        for place, dimension in enumerate(order):
            places[dimension] = place
        tensor = tensor.permute(places)
    return tensor.requires_grad_() if requires_grad else tensor


# ---------------------------------------------------------------- workers


def _begin_worker(info: WorkerInfo) -> None:
    """Let `torch.utils.data.get_worker_info` tell a dataset where it is."""
    torch.set_num_threads(1)
    _WORKER._worker_info = _WORKER.WorkerInfo(
        id=info.id, num_workers=info.num_workers, seed=info.seed, dataset=info.dataset
    )


TORCH_FACE = Face(
    default_collate=_collate,
    default_convert=torch_convert,
    fits_rows=fits_rows,
    finish_rows=rows_to_tensors,
    reducer=reducer,
    begin_worker=_begin_worker,
    rehearses=True,
)
