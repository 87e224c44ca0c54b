"""Tables for the stubs: the type of each name, its base and its result."""

from __future__ import annotations

METHOD_RETURNS = {
    "__setitem__": "None", "dump": "None", "dumps": "bytes", "fill": "None", "item": "Any",
    "nonzero": "tuple[ndarray, ...]", "partition": "None", "put": "None", "resize": "None",
    "setfield": "None", "setflags": "None", "sort": "None", "tobytes": "bytes", "tofile": "None",
    "tolist": "Any",
}  # fmt: skip

METHOD_SUMMARIES = {
    "byteswap": "The elements with their bytes in reverse order.",
    "dump": "Writes a pickle to a file.",
    "dumps": "A pickle, as bytes.",
    "flatten": "A copy in one dimension.",
    "getfield": "Some bytes of each element as another type.",
    "item": "One element as a Python number.",
    "setfield": "Writes into some bytes of each element.",
    "setflags": "Sets whether the array may be written to.",
    "to_device": "The array itself: the CPU is the only device.",
    "tobytes": "The elements' bytes.",
    "tofile": "Writes the elements' bytes to a file.",
    "tolist": "Nested lists of Python numbers.",
    "view": "The same memory as another type.",
}

# The base class of each scalar type; bases come first.
SCALARS = {
    "generic": "ndarray", "number": "generic", "integer": "number", "signedinteger": "integer",
    "unsignedinteger": "integer", "inexact": "number", "floating": "inexact",
    "complexfloating": "inexact", "flexible": "generic", "character": "flexible",
    "bool_": "generic", "int8": "signedinteger", "int16": "signedinteger",
    "int32": "signedinteger", "int64": "signedinteger", "longlong": "signedinteger",
    "uint8": "unsignedinteger", "uint16": "unsignedinteger", "uint32": "unsignedinteger",
    "uint64": "unsignedinteger", "ulonglong": "unsignedinteger", "float16": "floating",
    "float32": "floating", "float64": "floating", "longdouble": "floating",
    "complex64": "complexfloating", "complex128": "complexfloating",
    "clongdouble": "complexfloating", "datetime64": "generic", "timedelta64": "signedinteger",
    "str_": "character", "bytes_": "character", "object_": "generic", "void": "flexible",
}  # fmt: skip

SCALAR_ALIASES = {
    "bool": "bool_", "byte": "int8", "ubyte": "uint8", "short": "int16", "ushort": "uint16",
    "intc": "int32", "uintc": "uint32", "intp": "int64", "uintp": "uint64", "int_": "int64",
    "uint": "uint64", "long": "int64", "ulong": "uint64", "half": "float16", "single": "float32",
    "double": "float64", "csingle": "complex64", "cdouble": "complex128",
}  # fmt: skip

_PAIR = "tuple[ndarray, ndarray]"
_MANY = "tuple[ndarray, ...]"
_LIST = "list[ndarray]"

# The results of operations that return no array.
RETURNS = {
    **dict.fromkeys(("divmod", "frexp", "modf", "histogram", "polydiv"), _PAIR),
    **dict.fromkeys(
        ("broadcast_arrays", "diag_indices", "diag_indices_from", "ix_", "mask_indices",
         "meshgrid", "nonzero", "tril_indices", "tril_indices_from", "triu_indices",
         "triu_indices_from", "unravel_index", "unstack"), _MANY),
    **dict.fromkeys(("array_split", "dsplit", "hsplit", "split", "vsplit"), _LIST),
    **dict.fromkeys(
        ("allclose", "array_equal", "array_equiv", "can_cast", "iscomplexobj", "isdtype",
         "isfortran", "isrealobj", "isscalar", "issubdtype", "iterable", "may_share_memory",
         "shares_memory"), "_bool"),
    **dict.fromkeys(
        ("copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"), "None"),
    **dict.fromkeys(("base_repr", "binary_repr", "mintypecode", "typename"), "str"),
    **dict.fromkeys(
        ("apply_along_axis", "apply_over_axes", "atleast_1d", "atleast_2d", "atleast_3d",
         "average", "common_type", "fromfunction", "frompyfunc", "gradient", "intersect1d",
         "linspace", "min_scalar_type", "piecewise", "polyfit", "promote_types", "result_type",
         "unique", "where"), "Any"),
    "broadcast_shapes": "tuple[int, ...]",
    "einsum_path": "tuple[list[tuple[int, ...]], PathInfo]",
    "histogram2d": "tuple[ndarray, ndarray, ndarray]",
    "histogramdd": "tuple[ndarray, list[ndarray]]",
    "ndim": "int",
    "shape": "tuple[int, ...]",
    "size": "int",
    "unique_all": "UniqueAllResult",
    "unique_counts": "UniqueCountsResult",
    "unique_inverse": "UniqueInverseResult",
    "linalg.eig": "EigResult",
    "linalg.eigh": "EighResult",
    "linalg.lstsq": "tuple[ndarray, ndarray, int, ndarray]",
    "linalg.qr": "Any",
    "linalg.slogdet": "SlogdetResult",
    "linalg.svd": "Any",
    "random.bytes": "builtins.bytes",
    "random.default_rng": "Generator",
    "random.get_state": "Any",
    "random.seed": "None",
    "random.set_state": "None",
    "random.shuffle": "None",
    "random.Generator.bytes": "builtins.bytes",
    "random.Generator.shuffle": "None",
    "random.Generator.spawn": "list[Generator]",
    "random.RandomState.bytes": "builtins.bytes",
    "random.RandomState.get_state": "Any",
    "random.RandomState.seed": "None",
    "random.RandomState.set_state": "None",
    "random.RandomState.shuffle": "None",
}  # fmt: skip
