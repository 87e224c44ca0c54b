"""Functions of NumPy that mechestim does not support, each with an alternative.

Files, settings of the process, and business days: none of them is arithmetic on arrays, and the
first two reach outside the program that is being measured.
"""

from __future__ import annotations

from shm_echo.mechestim.registry.build import unsupported
from shm_echo.mechestim.registry.op import Op

_FILES = "it reads or writes files, which mechestim does not measure; "
_LOAD = _FILES + "read the data with Python or NumPy and pass it to mechestim.array"
_SAVE = _FILES + "call tolist() or tobytes() and write the result with Python"
_SETTING = "it changes or reads a setting of the whole process; "
_ERRSTATE = _SETTING + "use `with mechestim.errstate(...)` around the operations concerned"
_BUFFER = _SETTING + "buffer sizes have no effect on FLOPs, so leave the call out"
_TEXT = "it formats text; "
_BUSINESS = "calendars of business days are not arithmetic on arrays; "
_DAYS = _BUSINESS + "work the days out with the datetime module"
_BUILD = "it describes how NumPy was built, which a program that is measured need not know; "

OPS: tuple[Op, ...] = (
    unsupported("array2string", "Text of an array.", _TEXT
                + "use str(x) or repr(x), inside `with mechestim.printoptions(...)` if need be"),
    unsupported("array_repr", "Text that shows an array's type.", _TEXT + "use repr(x)"),
    unsupported("array_str", "Text of an array's elements.", _TEXT + "use str(x)"),
    unsupported("asmatrix", "An array as a matrix object.",
                "matrix objects are left out; use arrays of two dimensions and the operator @"),
    unsupported("busday_count", "Number of business days between dates.", _DAYS),
    unsupported("busday_offset", "A date some business days later.", _DAYS),
    unsupported("busdaycalendar", "A calendar of business days.", _DAYS),
    unsupported("datetime_as_string", "Dates as text.", _TEXT
                + "use x.astype(str), or isoformat() of the items"),
    unsupported("datetime_data", "Unit of a date type.",
                "date types cannot be taken apart; compare x.dtype with the type you expect"),
    unsupported("format_float_positional", "A number as text without an exponent.", _TEXT
                + "use Python's format(), as in f'{x:f}'"),
    unsupported("format_float_scientific", "A number as text with an exponent.", _TEXT
                + "use Python's format(), as in f'{x:e}'"),
    unsupported("genfromtxt", "An array from a text file.", _LOAD),
    unsupported("get_include", "Directory of NumPy's C headers.", _BUILD
                + "call numpy.get_include()"),
    unsupported("getbufsize", "Size of the buffer of ufuncs.", _BUFFER),
    unsupported("geterr", "The handling of floating-point errors.", _ERRSTATE),
    unsupported("geterrcall", "Function called on floating-point errors.", _ERRSTATE),
    unsupported("is_busday", "True where a date is a business day.", _DAYS),
    unsupported("load", "Arrays from a file.", _LOAD),
    unsupported("loadtxt", "An array from a text file.", _LOAD),
    unsupported("matrix", "A matrix object.",
                "matrix objects are left out; use arrays of two dimensions and the operator @"),
    unsupported("memmap", "An array over a file.", _LOAD),
    unsupported("nested_iters", "Iterators nested in one another.",
                "it hands out elements without counting; nest loops over views or use "
                "mechestim.ndindex"),
    unsupported("save", "Writes an array to a file.", _SAVE),
    unsupported("savetxt", "Writes an array to a text file.", _SAVE),
    unsupported("savez", "Writes arrays to one file.", _SAVE),
    unsupported("savez_compressed", "Writes arrays to one compressed file.", _SAVE),
    unsupported("setbufsize", "Sets the size of the buffer of ufuncs.", _BUFFER),
    unsupported("seterr", "Sets how floating-point errors are handled.", _ERRSTATE),
    unsupported("seterrcall", "Sets a function called on floating-point errors.", _ERRSTATE),
    unsupported("show_config", "Prints how NumPy was built.", _BUILD + "call numpy.show_config()"),
    unsupported("show_runtime", "Prints what NumPy runs on.", _BUILD + "call numpy.show_runtime()"),
)  # fmt: skip
