"""Making arrays: all free."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import free
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.memory import bounds, shaping
from shm_echo.mechestim.registry.rules.memory import creation as size

OPS: tuple[Op, ...] = (
    free("arange", "Numbers from start to stop in steps.", size.arange),
    free("array", "A copy of the input as an array.", size.array, size.array),
    free("asanyarray", "The input as an array; subclasses pass through.", size.array, size.array),
    free("asarray", "The input as an array, copied only if needed.", size.array, size.array),
    free("asarray_chkfinite", "asarray that rejects NaN and infinities.", size.array, size.array),
    free("ascontiguousarray", "An array with rows next to each other.", size.array, size.array),
    free("asfortranarray", "An array with columns next to each other.", size.array, size.array),
    free("astype", "A copy of another type.", size.astype),
    free("copy", "A copy.", bounds.elements_copied),
    free("diag_indices", "Indices of the diagonal of a square array.", size.diag_indices),
    free("diag_indices_from", "Indices of the diagonal of an array.", size.diag_indices_from),
    free("empty", "An array whose elements are not set.", size.filled),
    free("empty_like", "An array like another one, elements not set.", size.filled_like),
    free("eye", "Ones on a diagonal, zeros elsewhere.", size.eye),
    free("from_dlpack", "An array that shares another library's memory.", bounds.none),
    free("frombuffer", "An array over the bytes of a buffer.", size.frombuffer),
    free("fromfile", "An array of a file's numbers.", bounds.none),
    free("fromiter", "An array of the items of an iterator.", size.fromiter, size.fromiter),
    free("fromregex", "An array of a pattern's matches in a text file.", bounds.none),
    free("fromstring", "An array of the numbers in a text.", size.fromstring, size.fromstring),
    free("full", "An array filled with one value.", size.full),
    free("full_like", "An array like another one, filled with one value.", size.full_like),
    free("identity", "A square matrix with ones on its diagonal.", size.identity),
    free("indices", "Coordinates of every point of a grid.", size.indices),
    free("ix_", "Index arrays that select a cross product.", shaping.ix, shaping.ix),
    free("linspace", "Evenly spaced numbers between two ends.", size.linspace, size.linspace),
    free("mask_indices", "Indices at which a mask function leaves a nonzero element.",
         size.mask_indices, size.square_mask, callbacks=("mask_func",)),
    free("meshgrid", "Coordinate matrices from coordinate vectors.", size.meshgrid),
    free("ones", "An array filled with ones.", size.filled),
    free("ones_like", "An array like another one, filled with ones.", size.named_like),
    free("require", "An array that meets requirements on type and layout.", size.array, size.array),
    free("tri", "Ones on and below a diagonal.", size.eye, size.eye),
    free("tril", "A copy with zeros above a diagonal.", size.triangle, size.triangle_mask),
    free("tril_indices", "Indices of the lower triangle.", size.triangle_indices,
         size.triangle_indices),
    free("tril_indices_from", "Indices of an array's lower triangle.", size.triangle_indices_from,
         size.triangle_indices_from),
    free("triu", "A copy with zeros below a diagonal.", size.triangle, size.triangle_mask),
    free("triu_indices", "Indices of the upper triangle.", size.triangle_indices,
         size.triangle_indices),
    free("triu_indices_from", "Indices of an array's upper triangle.", size.triangle_indices_from,
         size.triangle_indices_from),
    free("zeros", "An array filled with zeros.", size.filled),
    free("zeros_like", "An array like another one, filled with zeros.", size.named_like),
)  # fmt: skip
