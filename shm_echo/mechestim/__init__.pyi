"""mechestim: a NumPy-compatible library that counts FLOPs and enforces a budget.

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from shm_echo.mechestim import errors as errors
from shm_echo.mechestim import fft as fft
from shm_echo.mechestim import flops as flops
from shm_echo.mechestim import linalg as linalg
from shm_echo.mechestim import random as random
from shm_echo.mechestim import stats as stats
from shm_echo.mechestim.accounting.account import OpRecord as OpRecord
from shm_echo.mechestim.accounting.context import BudgetContext as BudgetContext
from shm_echo.mechestim.accounting.context import budget as budget
from shm_echo.mechestim.accounting.live import budget_live as budget_live
from shm_echo.mechestim.accounting.namespaces import namespace as namespace
from shm_echo.mechestim.accounting.settings import configure as configure
from shm_echo.mechestim.accounting.summaries import budget_reset as budget_reset
from shm_echo.mechestim.accounting.summaries import budget_summary as budget_summary
from shm_echo.mechestim.accounting.summaries import budget_summary_dict as budget_summary_dict
from shm_echo.mechestim.costs.flops.einsum import PathInfo as PathInfo
from shm_echo.mechestim.costs.flops.einsum import StepInfo as StepInfo
from shm_echo.mechestim.errors import BudgetExhaustedError as BudgetExhaustedError
from shm_echo.mechestim.errors import MechEstimError as MechEstimError
from shm_echo.mechestim.errors import MechEstimWarning as MechEstimWarning
from shm_echo.mechestim.errors import NoBudgetContextError as NoBudgetContextError
from shm_echo.mechestim.errors import SymmetryError as SymmetryError
from shm_echo.mechestim.errors import SymmetryLossWarning as SymmetryLossWarning
from shm_echo.mechestim.errors import TimeExhaustedError as TimeExhaustedError
from shm_echo.mechestim.errors import UnsupportedFunctionError as UnsupportedFunctionError
from shm_echo.mechestim.symmetry.info import SymmetryInfo as SymmetryInfo

_bool = builtins.bool
_Function = TypeVar("_Function", bound=Callable[..., Any])


class ndarray:
    """An array that counts FLOPs; made by array() and by every other function."""

    def __init__(self, shape: Any, dtype: Any = ..., buffer: Any = ..., offset: Any = ..., strides: Any = ..., order: Any = ...) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @shape.setter
    def shape(self, value: Any) -> None: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def T(self) -> ndarray: ...
    @property
    def mT(self) -> ndarray: ...
    @property
    def real(self) -> ndarray: ...
    @real.setter
    def real(self, value: Any) -> None: ...
    @property
    def imag(self) -> ndarray: ...
    @imag.setter
    def imag(self, value: Any) -> None: ...
    @property
    def flat(self) -> Any: ...
    @flat.setter
    def flat(self, value: Any) -> None: ...
    @property
    def base(self) -> Any: ...
    @property
    def data(self) -> memoryview: ...
    @property
    def flags(self) -> Any: ...
    @property
    def ctypes(self) -> Any: ...
    @property
    def device(self) -> str: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, value: Any, /) -> _bool: ...
    def __getitem__(self, key: Any, /) -> ndarray: ...
    def __bool__(self) -> _bool: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __complex__(self) -> complex: ...
    def __index__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> ndarray: ...
    def __deepcopy__(self, memo: Any, /) -> ndarray: ...
    def __array__(self, dtype: Any = ..., /, *, copy: Any = ...) -> Any: ...
    def __add__(self, other: Any, /) -> ndarray: ...
    def __radd__(self, other: Any, /) -> ndarray: ...
    def __iadd__(self, other: Any, /) -> ndarray: ...
    def __sub__(self, other: Any, /) -> ndarray: ...
    def __rsub__(self, other: Any, /) -> ndarray: ...
    def __isub__(self, other: Any, /) -> ndarray: ...
    def __mul__(self, other: Any, /) -> ndarray: ...
    def __rmul__(self, other: Any, /) -> ndarray: ...
    def __imul__(self, other: Any, /) -> ndarray: ...
    def __truediv__(self, other: Any, /) -> ndarray: ...
    def __rtruediv__(self, other: Any, /) -> ndarray: ...
    def __itruediv__(self, other: Any, /) -> ndarray: ...
    def __floordiv__(self, other: Any, /) -> ndarray: ...
    def __rfloordiv__(self, other: Any, /) -> ndarray: ...
    def __ifloordiv__(self, other: Any, /) -> ndarray: ...
    def __mod__(self, other: Any, /) -> ndarray: ...
    def __rmod__(self, other: Any, /) -> ndarray: ...
    def __imod__(self, other: Any, /) -> ndarray: ...
    def __pow__(self, other: Any, /) -> ndarray: ...
    def __rpow__(self, other: Any, /) -> ndarray: ...
    def __ipow__(self, other: Any, /) -> ndarray: ...
    def __matmul__(self, other: Any, /) -> ndarray: ...
    def __rmatmul__(self, other: Any, /) -> ndarray: ...
    def __imatmul__(self, other: Any, /) -> ndarray: ...
    def __and__(self, other: Any, /) -> ndarray: ...
    def __rand__(self, other: Any, /) -> ndarray: ...
    def __iand__(self, other: Any, /) -> ndarray: ...
    def __or__(self, other: Any, /) -> ndarray: ...
    def __ror__(self, other: Any, /) -> ndarray: ...
    def __ior__(self, other: Any, /) -> ndarray: ...
    def __xor__(self, other: Any, /) -> ndarray: ...
    def __rxor__(self, other: Any, /) -> ndarray: ...
    def __ixor__(self, other: Any, /) -> ndarray: ...
    def __lshift__(self, other: Any, /) -> ndarray: ...
    def __rlshift__(self, other: Any, /) -> ndarray: ...
    def __ilshift__(self, other: Any, /) -> ndarray: ...
    def __rshift__(self, other: Any, /) -> ndarray: ...
    def __rrshift__(self, other: Any, /) -> ndarray: ...
    def __irshift__(self, other: Any, /) -> ndarray: ...
    def __divmod__(self, other: Any, /) -> tuple[ndarray, ndarray]: ...
    def __rdivmod__(self, other: Any, /) -> tuple[ndarray, ndarray]: ...
    def __eq__(self, other: Any, /) -> ndarray: ...  # type: ignore[override]
    def __ne__(self, other: Any, /) -> ndarray: ...  # type: ignore[override]
    def __lt__(self, other: Any, /) -> ndarray: ...
    def __le__(self, other: Any, /) -> ndarray: ...
    def __gt__(self, other: Any, /) -> ndarray: ...
    def __ge__(self, other: Any, /) -> ndarray: ...
    def __neg__(self) -> ndarray: ...
    def __pos__(self) -> ndarray: ...
    def __abs__(self) -> ndarray: ...
    def __invert__(self) -> ndarray: ...
    def __setitem__(self, key: Any, value: Any, /) -> None:
        """Writes the elements that an index selects. Costs numel(target)."""
    def all(self, /, axis: Any=None, out: Any=None, keepdims: Any=False, *, where: Any=True) -> ndarray:
        """Whether all elements are true. Costs numel(input)."""
    def any(self, /, axis: Any=None, out: Any=None, keepdims: Any=False, *, where: Any=True) -> ndarray:
        """Whether any element is true. Costs numel(input)."""
    def argmax(self, /, axis: Any=None, out: Any=None, *, keepdims: Any=False) -> ndarray:
        """Position of the largest element. Costs numel(input)."""
    def argmin(self, /, axis: Any=None, out: Any=None, *, keepdims: Any=False) -> ndarray:
        """Position of the smallest element. Costs numel(input)."""
    def argpartition(self, kth: Any, /, axis: Any=-1, kind: Any='introselect', order: Any=None) -> ndarray:
        """Indices that would partition. Costs n per slice."""
    def argsort(self, /, axis: Any=-1, kind: Any=None, order: Any=None, *, stable: Any=None) -> ndarray:
        """Indices that would sort. Costs n*ceil(log2(n)) per slice."""
    def astype(self, /, dtype: Any, order: Any='K', casting: Any='unsafe', subok: Any=True, copy: Any=True) -> ndarray:
        """A copy of another type. Free."""
    def byteswap(self, /, inplace: Any=False) -> ndarray:
        """The elements with their bytes in reverse order. Free."""
    def choose(self, /, choices: Any, out: Any=None, mode: Any='raise') -> ndarray:
        """Elements picked from several arrays by an array of numbers. Free."""
    def clip(self, /, min: Any=None, max: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Elements moved into an interval. Costs numel(input)."""
    def compress(self, /, condition: Any, axis: Any=None, out: Any=None) -> ndarray:
        """Slices along an axis where a condition holds. Free."""
    def conj(self, /) -> ndarray:
        """Complex conjugate. Costs numel(output)."""
    def conjugate(self, /) -> ndarray:
        """Complex conjugate. Costs numel(output)."""
    def copy(self, /, order: Any='C') -> ndarray:
        """A copy. Free."""
    def cumprod(self, /, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
        """Running product. Costs numel(input)."""
    def cumsum(self, /, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
        """Running sum. Costs numel(input)."""
    def diagonal(self, /, offset: Any=0, axis1: Any=0, axis2: Any=1) -> ndarray:
        """A diagonal, as a view. Free."""
    def dot(self, other: Any, /, out: Any=None) -> ndarray:
        """Dot product over the last axis of a and the last but one of b. Costs 2*m*k*n; numel(output) with a 0-d operand."""
    def dump(self, /, file: Any) -> None:
        """Writes a pickle to a file. Free."""
    def dumps(self, /) -> bytes:
        """A pickle, as bytes. Free."""
    def fill(self, /, value: Any) -> None:
        """Writes one value into every element. Costs numel(target)."""
    def flatten(self, /, order: Any='C') -> ndarray:
        """A copy in one dimension. Free."""
    def getfield(self, /, dtype: Any, offset: Any=0) -> ndarray:
        """Some bytes of each element as another type. Free."""
    def item(self, /, *args: Any) -> Any:
        """One element as a Python number. Free."""
    def max(self, /, axis: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Largest element. Costs numel(input)."""
    def mean(self, /, axis: Any=None, dtype: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Arithmetic mean. Costs numel(input)."""
    def min(self, /, axis: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Smallest element. Costs numel(input)."""
    def nonzero(self, /) -> tuple[ndarray, ...]:
        """Indices of the elements that are not 0. Free."""
    def partition(self, kth: Any, /, axis: Any=-1, kind: Any='introselect', order: Any=None) -> None:
        """A copy with the k-th element in its place. Costs n per slice."""
    def prod(self, /, axis: Any=None, dtype: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Product. Costs numel(input)."""
    def put(self, indices: Any, values: Any, /, mode: Any='raise') -> None:
        """Writes values at flat indices. Costs numel(target)."""
    def ravel(self, /, order: Any='C') -> ndarray:
        """One dimension; a view if possible. Free."""
    def repeat(self, repeats: Any, /, axis: Any=None) -> ndarray:
        """Every element several times. Free."""
    def reshape(self, /, *shape: Any, order: Any='C', copy: Any=None) -> ndarray:
        """Another shape; a view if possible. Free."""
    def resize(self, /, *new_shape: Any, refcheck: Any=True) -> None:
        """Another shape and size, repeating the array. Free."""
    def round(self, /, decimals: Any=0, out: Any=None) -> ndarray:
        """Rounded to so many decimals. Costs numel(output)."""
    def searchsorted(self, v: Any, /, side: Any='left', sorter: Any=None) -> ndarray:
        """Where elements belong in a sorted array. Costs m*ceil(log2(n))."""
    def setfield(self, val: Any, /, dtype: Any, offset: Any=0) -> None:
        """Writes into some bytes of each element. Free."""
    def setflags(self, /, *, write: Any=None, align: Any=None, uic: Any=None) -> None:
        """Sets whether the array may be written to. Free."""
    def sort(self, /, axis: Any=-1, kind: Any=None, order: Any=None, *, stable: Any=None) -> None:
        """A sorted copy. Costs n*ceil(log2(n)) per slice."""
    def squeeze(self, /, axis: Any=None) -> ndarray:
        """A view without axes of length 1. Free."""
    def std(self, /, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, **kwargs: Any) -> ndarray:
        """Standard deviation. Costs 2*numel(input)."""
    def sum(self, /, axis: Any=None, dtype: Any=None, out: Any=None, **kwargs: Any) -> ndarray:
        """Sum. Costs numel(input)."""
    def swapaxes(self, axis1: Any, axis2: Any, /) -> ndarray:
        """A view with two axes exchanged. Free."""
    def take(self, indices: Any, /, axis: Any=None, out: Any=None, mode: Any='raise') -> ndarray:
        """Slices named by indices. Free."""
    def to_device(self, device: Any, /, *, stream: Any=None) -> ndarray:
        """The array on another device, of which there is none. Free."""
    def tobytes(self, /, order: Any='C') -> bytes:
        """The elements' bytes. Free."""
    def tofile(self, fid: Any, /, sep: Any='', format: Any='%s') -> None:
        """Writes the elements' bytes to a file. Free."""
    def tolist(self, /) -> Any:
        """Nested lists of Python numbers. Free."""
    def trace(self, /, offset: Any=0, axis1: Any=0, axis2: Any=1, dtype: Any=None, out: Any=None) -> ndarray:
        """Sum along a diagonal. Costs min(m, n) per matrix."""
    def transpose(self, /, *axes: Any) -> ndarray:
        """A view with axes in another order. Free."""
    def var(self, /, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, **kwargs: Any) -> ndarray:
        """Variance. Costs 2*numel(input)."""
    def view(self, /, *args: Any, **kwargs: Any) -> ndarray:
        """The same memory as another type. Free."""


class SymmetricTensor(ndarray):
    """An array that is known to be symmetric along groups of axes."""

    @property
    def symmetric_axes(self) -> list[tuple[int, ...]]: ...
    @property
    def symmetry_info(self) -> SymmetryInfo | None: ...
    def is_symmetric(self, axes: Any = None, *, atol: float = 1e-06, rtol: float = 1e-05) -> _bool: ...


def as_symmetric(data: Any, symmetric_axes: Any) -> SymmetricTensor:
    """Declares that data is symmetric along axes, after checking that it is."""
def is_symmetric(data: Any, symmetric_axes: Any, *, atol: float = 1e-06, rtol: float = 1e-05) -> _bool:
    """Whether data is symmetric along axes, within a tolerance."""


class ufunc:
    """An operation that works element by element, with its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def reduce(self, array: Any, /, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ..., where: Any = True) -> ndarray: ...
    def accumulate(self, array: Any, /, axis: Any = 0, dtype: Any = None, out: Any = None) -> ndarray: ...
    def reduceat(self, array: Any, /, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> ndarray: ...
    def outer(self, A: Any, B: Any, /, **kwargs: Any) -> ndarray: ...
    def at(self, a: Any, indices: Any, b: Any = None, /) -> None: ...


class UniqueAllResult(NamedTuple):
    values: ndarray
    indices: ndarray
    inverse_indices: ndarray
    counts: ndarray
class UniqueCountsResult(NamedTuple):
    values: ndarray
    counts: ndarray
class UniqueInverseResult(NamedTuple):
    values: ndarray
    inverse_indices: ndarray


class dtype:
    """The type of an array's elements."""

    def __init__(self, dtype: Any, align: _bool = False, copy: _bool = False) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def char(self) -> str: ...
    @property
    def str(self) -> builtins.str: ...
    @property
    def name(self) -> builtins.str: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def type(self) -> Any: ...
    def __getattr__(self, name: builtins.str) -> Any: ...
class finfo:
    """The limits of a floating-point type."""

    def __init__(self, dtype: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
class iinfo:
    """The limits of an integer type."""

    def __init__(self, type: Any) -> None: ...
    @property
    def min(self) -> int: ...
    @property
    def max(self) -> int: ...
    @property
    def bits(self) -> int: ...
class errstate:
    """How floating-point errors are handled inside a with block."""

    def __init__(self, *, call: Any = ..., all: Any = None, divide: Any = None, over: Any = None, under: Any = None, invalid: Any = None) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exc: Any) -> None: ...
    def __call__(self, func: _Function, /) -> _Function: ...
class ndindex:
    """Walks through the indices of a shape."""

    def __init__(self, *shape: Any) -> None: ...
    def __iter__(self) -> Iterator[tuple[int, ...]]: ...
    def __next__(self) -> tuple[int, ...]: ...
class ndenumerate:
    """Walks through the indices and elements of an array."""

    def __init__(self, arr: Any) -> None: ...
    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Any]]: ...
    def __next__(self) -> tuple[tuple[int, ...], Any]: ...
class vectorize:
    """A Python function that broadcasts over arrays. Free."""

    def __init__(self, pyfunc: Any = ..., otypes: Any = None, doc: Any = None, excluded: Any = None, cache: _bool = False, signature: Any = None) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
class printoptions:
    """How arrays print inside a with block."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __enter__(self) -> dict[str, Any]: ...
    def __exit__(self, *exc: Any) -> None: ...
def get_printoptions() -> dict[str, Any]:
    """How arrays print."""
def set_printoptions(**options: Any) -> None:
    """Sets how arrays print."""


pi: Final[float]
e: Final[float]
inf: Final[float]
nan: Final[float]
euler_gamma: Final[float]
newaxis: Final[None]
little_endian: Final[_bool]
True_: Final[Any]
False_: Final[Any]
backend: Final[str]
__version__: Final[str]
exceptions: Any
s_: Any
index_exp: Any
r_: Any
c_: Any
mgrid: Any
ogrid: Any


class generic(ndarray):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class number(generic):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class integer(number):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class signedinteger(integer):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class unsignedinteger(integer):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class inexact(number):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class floating(inexact):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class complexfloating(inexact):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class flexible(generic):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class character(flexible):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class bool_(generic):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class int8(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class int16(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class int32(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class int64(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class longlong(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class uint8(unsignedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class uint16(unsignedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class uint32(unsignedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class uint64(unsignedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class ulonglong(unsignedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class float16(floating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class float32(floating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class float64(floating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class longdouble(floating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class complex64(complexfloating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class complex128(complexfloating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class clongdouble(complexfloating):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class datetime64(generic):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class timedelta64(signedinteger):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class str_(character):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class bytes_(character):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class object_(generic):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...
class void(flexible):
    def __init__(self, value: Any = ..., *args: Any) -> None: ...


bool = bool_
byte = int8
ubyte = uint8
short = int16
ushort = uint16
intc = int32
uintc = uint32
intp = int64
uintp = uint64
int_ = int64
uint = uint64
long = int64
ulong = uint64
half = float16
single = float32
double = float64
csingle = complex64
cdouble = complex128


def abs(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Absolute value; the modulus of complex numbers. Costs numel(output)."""
def absolute(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Absolute value; the modulus of complex numbers. Costs numel(output)."""
def acos(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose cosine is given, in radians. Costs numel(output)."""
def acosh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic cosine. Costs numel(output)."""
def add(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Sum of two arrays. Costs numel(output)."""
def all(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., *, where: Any=...) -> ndarray:
    """Whether all elements are true. Costs numel(input)."""
def allclose(a: Any, b: Any, rtol: Any=1e-05, atol: Any=1e-08, equal_nan: Any=False) -> _bool:
    """Whether two arrays are equal within a tolerance. Costs numel(broadcast(a,b))."""
def amax(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Largest element. Costs numel(input)."""
def amin(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Smallest element. Costs numel(input)."""
def angle(z: Any, deg: Any=False) -> ndarray:
    """Angle of complex numbers, in radians or degrees. Costs numel(output)."""
def any(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., *, where: Any=...) -> ndarray:
    """Whether any element is true. Costs numel(input)."""
def append(arr: Any, values: Any, axis: Any=None) -> ndarray:
    """Values put behind an array. Free."""
def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of vectors applied to every slice along an axis. Free."""
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """A function of an array and an axis applied over several axes. Free."""
def arange(start_or_stop: Any, /, stop: Any=None, step: Any=1, *, dtype: Any=None, device: Any=None, like: Any=None) -> ndarray:
    """Numbers from start to stop in steps. Free."""
def arccos(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose cosine is given, in radians. Costs numel(output)."""
def arccosh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic cosine. Costs numel(output)."""
def arcsin(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose sine is given, in radians. Costs numel(output)."""
def arcsinh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic sine. Costs numel(output)."""
def arctan(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose tangent is given, in radians. Costs numel(output)."""
def arctan2(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle of the point (x2, x1), in the right quadrant. Costs numel(output)."""
def arctanh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic tangent. Costs numel(output)."""
def argmax(a: Any, axis: Any=None, out: Any=None, *, keepdims: Any=...) -> ndarray:
    """Position of the largest element. Costs numel(input)."""
def argmin(a: Any, axis: Any=None, out: Any=None, *, keepdims: Any=...) -> ndarray:
    """Position of the smallest element. Costs numel(input)."""
def argpartition(a: Any, kth: Any, axis: Any=-1, kind: Any='introselect', order: Any=None) -> ndarray:
    """Indices that would partition. Costs n per slice."""
def argsort(a: Any, axis: Any=-1, kind: Any=None, order: Any=None, *, stable: Any=None) -> ndarray:
    """Indices that would sort. Costs n*ceil(log2(n)) per slice."""
def argwhere(a: Any) -> ndarray:
    """Indices of the elements that are not 0, a row each. Free."""
def around(a: Any, decimals: Any=0, out: Any=None) -> ndarray:
    """Rounded to so many decimals. Costs numel(output)."""
def array(object: Any, dtype: Any=None, *, copy: Any=True, order: Any='K', subok: Any=False, ndmin: Any=0, ndmax: Any=0, like: Any=None) -> ndarray:
    """An array of what is given, copied. Free."""
def array_equal(a1: Any, a2: Any, equal_nan: Any=False) -> _bool:
    """Whether two arrays have the same shape and elements. Costs numel(broadcast(a,b))."""
def array_equiv(a1: Any, a2: Any) -> _bool:
    """Whether two arrays, broadcast together, have the same elements. Costs numel(broadcast(a,b))."""
def array_split(ary: Any, indices_or_sections: Any, axis: Any=0) -> list[ndarray]:
    """Parts of an array, the last ones shorter if need be. Free."""
def asanyarray(a: Any, dtype: Any=None, order: Any=None, *, device: Any=None, copy: Any=None, like: Any=None) -> ndarray:
    """An array of what is given, subclasses kept. Free."""
def asarray(a: Any, dtype: Any=None, order: Any=None, *, device: Any=None, copy: Any=None, like: Any=None) -> ndarray:
    """An array of what is given, copied only if needed. Free."""
def asarray_chkfinite(a: Any, dtype: Any=None, order: Any=None) -> ndarray:
    """asarray that refuses NaN and infinities. Free."""
def ascontiguousarray(a: Any, dtype: Any=None, *, like: Any=None) -> ndarray:
    """An array with rows next to each other. Free."""
def asfortranarray(a: Any, dtype: Any=None, *, like: Any=None) -> ndarray:
    """An array with columns next to each other. Free."""
def asin(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose sine is given, in radians. Costs numel(output)."""
def asinh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic sine. Costs numel(output)."""
def astype(x: Any, dtype: Any, /, *, copy: Any=True, device: Any=None) -> ndarray:
    """A copy of another type. Free."""
def atan(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle whose tangent is given, in radians. Costs numel(output)."""
def atan2(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Angle of the point (x2, x1), in the right quadrant. Costs numel(output)."""
def atanh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Inverse hyperbolic tangent. Costs numel(output)."""
def atleast_1d(*arys: Any) -> Any:
    """Arrays of one dimension or more. Free."""
def atleast_2d(*arys: Any) -> Any:
    """Arrays of two dimensions or more. Free."""
def atleast_3d(*arys: Any) -> Any:
    """Arrays of three dimensions or more. Free."""
def average(a: Any, axis: Any=None, weights: Any=None, returned: Any=False, *, keepdims: Any=...) -> Any:
    """Weighted mean. Costs numel(input)."""
def bartlett(M: Any) -> ndarray:
    """Triangular window. Costs n."""
def base_repr(number: Any, base: Any=2, padding: Any=0) -> str:
    """An integer written in some base. Free."""
def binary_repr(num: Any, width: Any=None) -> str:
    """An integer written in binary. Free."""
def bincount(x: Any, /, weights: Any=None, minlength: Any=0) -> ndarray:
    """How often each non-negative integer occurs. Costs numel(x)."""
def bitwise_and(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """And of binary digits. Costs numel(output)."""
def bitwise_count(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Number of ones in the binary digits of each integer. Costs numel(output)."""
def bitwise_invert(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Every binary digit turned over. Costs numel(output)."""
def bitwise_left_shift(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Binary digits moved to the left. Costs numel(output)."""
def bitwise_not(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Every binary digit turned over. Costs numel(output)."""
def bitwise_or(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Or of binary digits. Costs numel(output)."""
def bitwise_right_shift(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Binary digits moved to the right. Costs numel(output)."""
def bitwise_xor(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Exclusive or of binary digits. Costs numel(output)."""
def blackman(M: Any) -> ndarray:
    """Blackman window. Costs 3*n."""
def block(arrays: Any) -> ndarray:
    """An array put together from nested blocks. Free."""
def bmat(obj: Any, ldict: Any=None, gdict: Any=None) -> ndarray:
    """A matrix put together from blocks. Free."""
def broadcast_arrays(*args: Any, subok: Any=False) -> tuple[ndarray, ...]:
    """Arrays stretched to their common shape, without copies. Free."""
def broadcast_shapes(*args: Any) -> tuple[int, ...]:
    """The common shape of several shapes. Free."""
def broadcast_to(array: Any, shape: Any, subok: Any=False) -> ndarray:
    """An array stretched to a shape, without a copy. Free."""
def can_cast(from_: Any, to: Any, casting: Any='safe') -> _bool:
    """Whether a cast is allowed by a rule. Free."""
def cbrt(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Cube root. Costs numel(output)."""
def ceil(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Smallest integer not below each element. Costs numel(output)."""
def choose(a: Any, choices: Any, out: Any=None, mode: Any='raise') -> ndarray:
    """Elements picked from several arrays by an array of numbers. Free."""
def clip(a: Any, a_min: Any=..., a_max: Any=..., out: Any=None, *, min: Any=..., max: Any=..., **kwargs: Any) -> ndarray:
    """Elements moved into an interval. Costs numel(input)."""
def column_stack(tup: Any) -> ndarray:
    """Vectors as the columns of a matrix. Free."""
def common_type(*arrays: Any) -> Any:
    """The inexact type that several arrays share. Free."""
def compress(condition: Any, a: Any, axis: Any=None, out: Any=None) -> ndarray:
    """Slices along an axis where a condition holds. Free."""
def concat(arrays: Any, /, axis: Any=0, out: Any=None, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined along an axis. Free."""
def concatenate(arrays: Any, /, axis: Any=0, out: Any=None, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined along an axis. Free."""
def conj(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Complex conjugate. Costs numel(output)."""
def conjugate(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Complex conjugate. Costs numel(output)."""
def convolve(a: Any, v: Any, mode: Any='full') -> ndarray:
    """Discrete convolution of two vectors. Costs n*m."""
def copy(a: Any, order: Any='K', subok: Any=False) -> ndarray:
    """A copy. Free."""
def copysign(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """x1 with the sign of x2. Costs numel(output)."""
def copyto(dst: Any, src: Any, casting: Any='same_kind', where: Any=True) -> None:
    """Copies one array into another, where a mask allows. Costs numel(target)."""
def corrcoef(x: Any, y: Any=None, rowvar: Any=True, *, dtype: Any=None) -> ndarray:
    """Correlation coefficients of variables. Costs f^2*s."""
def correlate(a: Any, v: Any, mode: Any='valid') -> ndarray:
    """Cross-correlation of two vectors. Costs n*m."""
def cos(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Cosine of angles in radians. Costs numel(output)."""
def cosh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Hyperbolic cosine. Costs numel(output)."""
def count_nonzero(a: Any, axis: Any=None, *, keepdims: Any=False) -> ndarray:
    """Number of elements that are not 0. Costs numel(input)."""
def cov(m: Any, y: Any=None, rowvar: Any=True, bias: Any=False, ddof: Any=None, fweights: Any=None, aweights: Any=None, *, dtype: Any=None) -> ndarray:
    """Covariance matrix of variables. Costs f^2*s."""
def cross(a: Any, b: Any, axisa: Any=-1, axisb: Any=-1, axisc: Any=-1, axis: Any=None) -> ndarray:
    """Cross product of vectors. Costs numel(output)."""
def cumprod(a: Any, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
    """Running product. Costs numel(input)."""
def cumsum(a: Any, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
    """Running sum. Costs numel(input)."""
def cumulative_prod(x: Any, /, *, axis: Any=None, dtype: Any=None, out: Any=None, include_initial: Any=False) -> ndarray:
    """Running product, with an optional 1 in front. Costs numel(input)."""
def cumulative_sum(x: Any, /, *, axis: Any=None, dtype: Any=None, out: Any=None, include_initial: Any=False) -> ndarray:
    """Running sum, with an optional 0 in front. Costs numel(input)."""
def deg2rad(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Degrees to radians. Costs numel(output)."""
def degrees(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Radians to degrees. Costs numel(output)."""
def delete(arr: Any, obj: Any, axis: Any=None) -> ndarray:
    """A copy without some slices. Free."""
def diag(v: Any, k: Any=0) -> ndarray:
    """A diagonal of a matrix, or a matrix with a given diagonal. Free."""
def diag_indices(n: Any, ndim: Any=2) -> tuple[ndarray, ...]:
    """Indices of the diagonal of a square array. Free."""
def diag_indices_from(arr: Any) -> tuple[ndarray, ...]:
    """Indices of the diagonal of an array. Free."""
def diagflat(v: Any, k: Any=0) -> ndarray:
    """A matrix with all elements on a diagonal. Free."""
def diagonal(a: Any, offset: Any=0, axis1: Any=0, axis2: Any=1) -> ndarray:
    """A diagonal, as a view. Free."""
def diff(a: Any, n: Any=1, axis: Any=-1, prepend: Any=..., append: Any=...) -> ndarray:
    """Differences of neighbours along an axis. Costs numel(input)."""
def digitize(x: Any, bins: Any, right: Any=False) -> ndarray:
    """Index of the bin that each element falls into. Costs n*ceil(log2(len(bins)))."""
def divide(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Quotient of two arrays. Costs numel(output)."""
def divmod(x1: Any, x2: Any, /, out: Any=(None, None), *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> tuple[ndarray, ndarray]:
    """Floored quotient and remainder at once. Costs numel(output)."""
def dot(a: Any, b: Any, out: Any=None) -> ndarray:
    """Dot product over the last axis of a and the last but one of b. Costs 2*m*k*n; numel(output) with a 0-d operand."""
def dsplit(ary: Any, indices_or_sections: Any) -> list[ndarray]:
    """Parts of an array along the third axis. Free."""
def dstack(tup: Any) -> ndarray:
    """Arrays joined along the third axis. Free."""
def ediff1d(ary: Any, to_end: Any=None, to_begin: Any=None) -> ndarray:
    """Differences of neighbours, flattened. Costs numel(input)."""
def einsum(subscripts: Any, /, *operands: Any, out: Any=None, dtype: Any=None, order: Any='K', casting: Any='safe', optimize: Any='auto', symmetric_axes: Any=None) -> ndarray:
    """Einstein summation along the cheapest path; the path that is priced is the one that runs. Costs sum over the steps of the path: product of all lengths * (2 if any is summed, else 1), times unique/total elements of the step's result."""
def einsum_path(subscripts: Any, /, *operands: Any, optimize: Any='auto') -> tuple[list[tuple[int, ...]], PathInfo]:
    """The path that einsum takes, and what each step costs. Free."""
def empty(shape: Any, dtype: Any=None, order: Any='C', *, device: Any=None, like: Any=None) -> ndarray:
    """An array whose elements are not set. Free."""
def empty_like(prototype: Any, /, dtype: Any=None, order: Any='K', subok: Any=True, shape: Any=None, *, device: Any=None) -> ndarray:
    """An array like another one, elements not set. Free."""
def equal(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements are equal. Costs numel(output)."""
def exp(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """e to the power of each element. Costs numel(output)."""
def exp2(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """2 to the power of each element. Costs numel(output)."""
def expand_dims(a: Any, axis: Any) -> ndarray:
    """A view with a new axis of length 1. Free."""
def expm1(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """exp(x) - 1, precise near 0. Costs numel(output)."""
def extract(condition: Any, arr: Any) -> ndarray:
    """Elements where a condition holds, flattened. Free."""
def eye(N: Any, M: Any=None, k: Any=0, dtype: Any=float, order: Any='C', *, device: Any=None, like: Any=None) -> ndarray:
    """Ones on a diagonal, zeros elsewhere. Free."""
def fabs(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Absolute value of real numbers, as floats. Costs numel(output)."""
def fill_diagonal(a: Any, val: Any, wrap: Any=False) -> None:
    """Writes the main diagonal. Costs numel(target)."""
def fix(x: Any, out: Any=None) -> ndarray:
    """Rounded towards zero. Costs numel(output)."""
def flatnonzero(a: Any) -> ndarray:
    """Flat indices of the elements that are not 0. Free."""
def flip(m: Any, axis: Any=None) -> ndarray:
    """A view in reverse order. Free."""
def fliplr(m: Any) -> ndarray:
    """A view with columns in reverse order. Free."""
def flipud(m: Any) -> ndarray:
    """A view with rows in reverse order. Free."""
def float_power(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """x1 to the power x2, in double precision at least. Costs numel(output)."""
def floor(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Largest integer not above each element. Costs numel(output)."""
def floor_divide(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Largest integer not above the quotient. Costs numel(output)."""
def fmax(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Larger of two elements; a NaN loses. Costs numel(output)."""
def fmin(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Smaller of two elements; a NaN loses. Costs numel(output)."""
def fmod(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Remainder with the sign of x1. Costs numel(output)."""
def frexp(x: Any, /, out: Any=(None, None), *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> tuple[ndarray, ndarray]:
    """Each number as a fraction and a power of 2. Costs numel(output)."""
def from_dlpack(x: Any, /, *, device: Any=None, copy: Any=None) -> ndarray:
    """An array that shares another library's memory. Free."""
def frombuffer(buffer: Any, dtype: Any=None, count: Any=-1, offset: Any=0, *, like: Any=None) -> ndarray:
    """An array over the bytes of a buffer. Free."""
def fromfile(file: Any, dtype: Any=None, count: Any=-1, sep: Any='', offset: Any=0, *, like: Any=None) -> ndarray:
    """An array of a file's numbers. Free."""
def fromfunction(function: Any, shape: Any, *, dtype: Any=float, like: Any=None, **kwargs: Any) -> Any:
    """An array computed from its coordinates. Free."""
def fromiter(iter: Any, dtype: Any, count: Any=-1, *, like: Any=None) -> ndarray:
    """An array of what an iterator gives. Free."""
def frompyfunc(func: Any, /, nin: Any, nout: Any, **kwargs: Any) -> Any:
    """A Python function that works element by element, giving objects. Free."""
def fromregex(file: Any, regexp: Any, dtype: Any, encoding: Any=None) -> ndarray:
    """An array of what a pattern finds in a text file. Free."""
def fromstring(string: Any, dtype: Any=float, count: Any=-1, *, sep: Any, like: Any=None) -> ndarray:
    """An array of the numbers in a text. Free."""
def full(shape: Any, fill_value: Any, dtype: Any=None, order: Any='C', *, device: Any=None, like: Any=None) -> ndarray:
    """An array filled with one value. Free."""
def full_like(a: Any, fill_value: Any, dtype: Any=None, order: Any='K', subok: Any=True, shape: Any=None, *, device: Any=None) -> ndarray:
    """An array like another one, filled with one value. Free."""
def gcd(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Greatest common divisor. Costs numel(output)."""
def geomspace(start: Any, stop: Any, num: Any=50, endpoint: Any=True, dtype: Any=None, axis: Any=0) -> ndarray:
    """Numbers evenly spaced on a log scale. Costs num."""
def gradient(f: Any, *varargs: Any, axis: Any=None, edge_order: Any=1) -> Any:
    """Slope by differences of both neighbours. Costs numel(input)."""
def greater(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where x1 is larger than x2. Costs numel(output)."""
def greater_equal(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where x1 is larger than x2 or equal to it. Costs numel(output)."""
def hamming(M: Any) -> ndarray:
    """Hamming window. Costs n."""
def hanning(M: Any) -> ndarray:
    """Hann window. Costs n."""
def heaviside(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """0, x2 or 1 where x1 is negative, 0 or positive. Costs numel(output)."""
def histogram(a: Any, bins: Any=10, range: Any=None, density: Any=None, weights: Any=None) -> tuple[ndarray, ndarray]:
    """Number of elements in each bin. Costs n*ceil(log2(bins))."""
def histogram2d(x: Any, y: Any, bins: Any=10, range: Any=None, density: Any=None, weights: Any=None) -> tuple[ndarray, ndarray, ndarray]:
    """Number of points in each cell of a plane. Costs n*(ceil(log2(bx))+ceil(log2(by)))."""
def histogram_bin_edges(a: Any, bins: Any=10, range: Any=None, weights: Any=None) -> ndarray:
    """Edges of the bins that a histogram would use. Costs numel(a)."""
def histogramdd(sample: Any, bins: Any=10, range: Any=None, density: Any=None, weights: Any=None) -> tuple[ndarray, list[ndarray]]:
    """Number of points in each cell of a space. Costs n*sum_i(ceil(log2(b_i)))."""
def hsplit(ary: Any, indices_or_sections: Any) -> list[ndarray]:
    """Parts of an array along the second axis. Free."""
def hstack(tup: Any, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined side by side. Free."""
def hypot(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Length of the hypotenuse over two legs. Costs numel(output)."""
def i0(x: Any) -> ndarray:
    """Modified Bessel function of the first kind, order 0. Costs numel(output)."""
def identity(n: Any, dtype: Any=None, *, like: Any=None) -> ndarray:
    """A square matrix with ones on its diagonal. Free."""
def imag(val: Any) -> ndarray:
    """Imaginary part. Costs numel(output)."""
def in1d(element: Any, test_elements: Any, assume_unique: Any=False, invert: Any=False, *, kind: Any=None) -> ndarray:
    """Which elements are among others. Costs (n+m)*ceil(log2(n+m))."""
def indices(dimensions: Any, dtype: Any=int, sparse: Any=False) -> ndarray:
    """Coordinates of every place of a grid. Free."""
def inner(a: Any, b: Any, /) -> ndarray:
    """Inner product over the last axes. Costs 2*numel(output)*k; numel(output) with a 0-d operand."""
def insert(arr: Any, obj: Any, values: Any, axis: Any=None) -> ndarray:
    """A copy with values put in. Free."""
def interp(x: Any, xp: Any, fp: Any, left: Any=None, right: Any=None, period: Any=None) -> ndarray:
    """Piecewise linear interpolation. Costs n*ceil(log2(m))."""
def intersect1d(ar1: Any, ar2: Any, assume_unique: Any=False, return_indices: Any=False) -> Any:
    """Elements that both arrays have. Costs (n+m)*ceil(log2(n+m))."""
def invert(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Every binary digit turned over. Costs numel(output)."""
def isclose(a: Any, b: Any, rtol: Any=1e-05, atol: Any=1e-08, equal_nan: Any=False) -> ndarray:
    """Which elements of two arrays are equal within a tolerance. Costs numel(output)."""
def iscomplex(x: Any) -> ndarray:
    """Which elements have an imaginary part that is not 0. Costs numel(output)."""
def iscomplexobj(x: Any) -> _bool:
    """Whether an array is of a complex type. Costs numel(output)."""
def isdtype(dtype: Any, kind: Any) -> _bool:
    """Whether a type is of a kind. Free."""
def isfinite(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements are neither NaN nor infinite. Free."""
def isfortran(a: Any) -> _bool:
    """Whether columns lie next to each other in memory. Free."""
def isin(element: Any, test_elements: Any, assume_unique: Any=False, invert: Any=False, *, kind: Any=None) -> ndarray:
    """Which elements are among others. Costs (n+m)*ceil(log2(n+m))."""
def isinf(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements are infinite. Free."""
def isnan(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements are NaN. Free."""
def isnat(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which dates are not a time. Costs numel(output)."""
def isneginf(x: Any, out: Any=None) -> ndarray:
    """Which elements are minus infinity. Costs numel(output)."""
def isposinf(x: Any, out: Any=None) -> ndarray:
    """Which elements are plus infinity. Costs numel(output)."""
def isreal(x: Any) -> ndarray:
    """Which elements have an imaginary part of 0. Costs numel(output)."""
def isrealobj(x: Any) -> _bool:
    """Whether an array is of a type that is not complex. Costs numel(output)."""
def isscalar(element: Any) -> _bool:
    """Whether something is a number or text, not an array. Free."""
def issubdtype(arg1: Any, arg2: Any) -> _bool:
    """Whether a type is below another in the hierarchy. Free."""
def iterable(y: Any) -> _bool:
    """Whether something can be walked through. Free."""
def ix_(*args: Any) -> tuple[ndarray, ...]:
    """Index arrays that select a cross product. Free."""
def kaiser(M: Any, beta: Any) -> ndarray:
    """Kaiser window of a given beta. Costs 3*n."""
def kron(a: Any, b: Any) -> ndarray:
    """Kronecker product. Costs numel(output)."""
def lcm(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Least common multiple. Costs numel(output)."""
def ldexp(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """x1 times 2 to the power x2. Costs numel(output)."""
def left_shift(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Binary digits moved to the left. Costs numel(output)."""
def less(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where x1 is smaller than x2. Costs numel(output)."""
def less_equal(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where x1 is smaller than x2 or equal to it. Costs numel(output)."""
def lexsort(keys: Any, axis: Any=-1) -> ndarray:
    """Indices that sort by several keys. Costs k*n*ceil(log2(n))."""
def linspace(start: Any, stop: Any, num: Any=50, endpoint: Any=True, retstep: Any=False, dtype: Any=None, axis: Any=0, *, device: Any=None) -> Any:
    """Evenly spaced numbers between two ends. Free."""
def log(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Natural logarithm. Costs numel(output)."""
def log10(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Logarithm to base 10. Costs numel(output)."""
def log1p(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """log(1 + x), precise near 0. Costs numel(output)."""
def log2(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Logarithm to base 2. Costs numel(output)."""
def logaddexp(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """log(exp(x1) + exp(x2)), safe from overflow. Costs numel(output)."""
def logaddexp2(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """log2(2**x1 + 2**x2), safe from overflow. Costs numel(output)."""
def logical_and(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where both elements are true. Costs numel(output)."""
def logical_not(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements are false. Costs numel(output)."""
def logical_or(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where one element or both are true. Costs numel(output)."""
def logical_xor(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Where exactly one element is true. Costs numel(output)."""
def logspace(start: Any, stop: Any, num: Any=50, endpoint: Any=True, base: Any=10.0, dtype: Any=None, axis: Any=0) -> ndarray:
    """Numbers whose logarithms are evenly spaced. Costs num."""
def mask_indices(n: Any, mask_func: Any, k: Any=0) -> tuple[ndarray, ...]:
    """Indices of the places that a mask function leaves. Free."""
def matmul(x1: Any, x2: Any, /, out: Any=None, *, axes: Any=..., axis: Any=..., keepdims: Any=False, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Matrix product, over the broadcast batch. Costs 2*m*k*n per pair of matrices."""
def matrix_transpose(x: Any, /) -> ndarray:
    """A view with the last two axes exchanged. Free."""
def matvec(x1: Any, x2: Any, /, out: Any=None, *, axes: Any=..., axis: Any=..., keepdims: Any=False, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Products of matrices and vectors, over the broadcast batch. Costs 2*m*n per matrix."""
def max(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Largest element. Costs numel(input)."""
def maximum(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Larger of two elements; a NaN wins. Costs numel(output)."""
def may_share_memory(a: Any, b: Any, /, max_work: Any=0) -> _bool:
    """Whether two arrays might overlap, by their bounds. Free."""
def mean(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., *, where: Any=...) -> ndarray:
    """Arithmetic mean. Costs numel(input)."""
def median(a: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, keepdims: Any=False) -> ndarray:
    """Middle element, or the mean of the two in the middle. Costs numel(input)."""
def meshgrid(*xi: Any, copy: Any=True, sparse: Any=False, indexing: Any='xy') -> tuple[ndarray, ...]:
    """Coordinate matrices from coordinate vectors. Free."""
def min(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Smallest element. Costs numel(input)."""
def min_scalar_type(a: Any, /) -> Any:
    """The smallest type that holds a number. Free."""
def minimum(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Smaller of two elements; a NaN wins. Costs numel(output)."""
def mintypecode(typechars: Any, typeset: Any='GDFgdf', default: Any='d') -> str:
    """The smallest type code that holds several. Free."""
def mod(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Remainder with the sign of x2. Costs numel(output)."""
def modf(x: Any, /, out: Any=(None, None), *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> tuple[ndarray, ndarray]:
    """Fractional and integral part of each number. Costs numel(output)."""
def moveaxis(a: Any, source: Any, destination: Any) -> ndarray:
    """A view with axes moved elsewhere. Free."""
def multiply(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Product of two arrays, element by element. Costs numel(output)."""
def nan_to_num(x: Any, copy: Any=True, nan: Any=0.0, posinf: Any=None, neginf: Any=None) -> ndarray:
    """NaN and infinities replaced by numbers. Costs numel(output)."""
def nanargmax(a: Any, axis: Any=None, out: Any=None, *, keepdims: Any=...) -> ndarray:
    """Position of the largest element that is not NaN. Costs numel(input)."""
def nanargmin(a: Any, axis: Any=None, out: Any=None, *, keepdims: Any=...) -> ndarray:
    """Position of the smallest element that is not NaN. Costs numel(input)."""
def nancumprod(a: Any, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
    """Running product, with 1 for each NaN. Costs numel(input)."""
def nancumsum(a: Any, axis: Any=None, dtype: Any=None, out: Any=None) -> ndarray:
    """Running sum, with 0 for each NaN. Costs numel(input)."""
def nanmax(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Largest element that is not NaN. Costs numel(input)."""
def nanmean(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., *, where: Any=...) -> ndarray:
    """Arithmetic mean without the NaN. Costs numel(input)."""
def nanmedian(a: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, keepdims: Any=...) -> ndarray:
    """Middle element without the NaN. Costs numel(input)."""
def nanmin(a: Any, axis: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Smallest element that is not NaN. Costs numel(input)."""
def nanpercentile(a: Any, q: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, method: Any='linear', keepdims: Any=..., *, weights: Any=None) -> ndarray:
    """Percentiles without the NaN. Costs numel(input)."""
def nanprod(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Product without the NaN. Costs numel(input)."""
def nanquantile(a: Any, q: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, method: Any='linear', keepdims: Any=..., *, weights: Any=None) -> ndarray:
    """Quantiles without the NaN. Costs numel(input)."""
def nanstd(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, keepdims: Any=..., *, where: Any=..., mean: Any=..., correction: Any=...) -> ndarray:
    """Standard deviation without the NaN. Costs 2*numel(input)."""
def nansum(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Sum without the NaN. Costs numel(input)."""
def nanvar(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, keepdims: Any=..., *, where: Any=..., mean: Any=..., correction: Any=...) -> ndarray:
    """Variance without the NaN. Costs 2*numel(input)."""
def ndim(a: Any) -> int:
    """Number of axes. Free."""
def negative(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Each element with its sign changed. Costs numel(output)."""
def nextafter(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Next representable number after x1 towards x2. Costs numel(output)."""
def nonzero(a: Any) -> tuple[ndarray, ...]:
    """Indices of the elements that are not 0. Free."""
def not_equal(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements differ. Costs numel(output)."""
def ones(shape: Any, dtype: Any=None, order: Any='C', *, device: Any=None, like: Any=None) -> ndarray:
    """An array filled with ones. Free."""
def ones_like(a: Any, dtype: Any=None, order: Any='K', subok: Any=True, shape: Any=None, *, device: Any=None) -> ndarray:
    """An array like another one, filled with ones. Free."""
def outer(a: Any, b: Any, out: Any=None) -> ndarray:
    """Outer product of two vectors. Costs m*n."""
def packbits(a: Any, /, axis: Any=None, bitorder: Any='big') -> ndarray:
    """Eight answers in each byte. Free."""
def pad(array: Any, pad_width: Any, mode: Any='constant', **kwargs: Any) -> ndarray:
    """A copy with a border. Free."""
def partition(a: Any, kth: Any, axis: Any=-1, kind: Any='introselect', order: Any=None) -> ndarray:
    """A copy with the k-th element in its place. Costs n per slice."""
def percentile(a: Any, q: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, method: Any='linear', keepdims: Any=False, *, weights: Any=None) -> ndarray:
    """Values below which so many percent of the elements lie. Costs numel(input)."""
def permute_dims(a: Any, axes: Any=None) -> ndarray:
    """A view with axes in another order. Free."""
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Functions applied where their conditions hold. Free."""
def place(arr: Any, mask: Any, vals: Any) -> None:
    """Writes values where a mask is true. Costs numel(target)."""
def poly(seq_of_zeros: Any) -> ndarray:
    """Coefficients of the polynomial with given roots. Costs n^2."""
def polyadd(a1: Any, a2: Any) -> ndarray:
    """Sum of two polynomials. Costs max(n1,n2)."""
def polyder(p: Any, m: Any=1) -> ndarray:
    """Derivative of a polynomial. Costs n."""
def polydiv(u: Any, v: Any) -> tuple[ndarray, ndarray]:
    """Quotient and remainder of two polynomials. Costs n1*n2."""
def polyfit(x: Any, y: Any, deg: Any, rcond: Any=None, full: Any=False, w: Any=None, cov: Any=False) -> Any:
    """Polynomial that fits points best. Costs 2*m*(deg+1)^2."""
def polyint(p: Any, m: Any=1, k: Any=None) -> ndarray:
    """Antiderivative of a polynomial. Costs n."""
def polymul(a1: Any, a2: Any) -> ndarray:
    """Product of two polynomials. Costs n1*n2."""
def polysub(a1: Any, a2: Any) -> ndarray:
    """Difference of two polynomials. Costs max(n1,n2)."""
def polyval(p: Any, x: Any) -> ndarray:
    """Value of a polynomial at points. Costs 2*m*deg."""
def positive(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """A copy, with a plus sign in front. Costs numel(output)."""
def pow(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """x1 to the power x2. Costs numel(output)."""
def power(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """x1 to the power x2. Costs numel(output)."""
def prod(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Product. Costs numel(input)."""
def promote_types(type1: Any, type2: Any, /) -> Any:
    """The smallest type that two types cast to. Free."""
def ptp(a: Any, axis: Any=None, out: Any=None, keepdims: Any=...) -> ndarray:
    """Largest element less the smallest. Costs numel(input)."""
def put(a: Any, ind: Any, v: Any, mode: Any='raise') -> None:
    """Writes values at flat indices. Costs numel(target)."""
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """Writes values at indices along an axis. Costs numel(target)."""
def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """Writes values where a mask is true, by position. Costs numel(target)."""
def quantile(a: Any, q: Any, axis: Any=None, out: Any=None, overwrite_input: Any=False, method: Any='linear', keepdims: Any=False, *, weights: Any=None) -> ndarray:
    """Values below which a fraction of the elements lies. Costs numel(input)."""
def rad2deg(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Radians to degrees. Costs numel(output)."""
def radians(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Degrees to radians. Costs numel(output)."""
def ravel(a: Any, order: Any='C') -> ndarray:
    """One dimension; a view if possible. Free."""
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any='raise', order: Any='C') -> ndarray:
    """Flat indices from coordinates. Free."""
def real(val: Any) -> ndarray:
    """Real part. Costs numel(output)."""
def real_if_close(a: Any, tol: Any=100) -> ndarray:
    """Real part if every imaginary part is next to 0. Costs numel(output)."""
def reciprocal(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """1 divided by each element. Costs numel(output)."""
def remainder(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Remainder with the sign of x2. Costs numel(output)."""
def repeat(a: Any, repeats: Any, axis: Any=None) -> ndarray:
    """Every element several times. Free."""
def require(a: Any, dtype: Any=None, requirements: Any=None, *, like: Any=None) -> ndarray:
    """An array that meets demands on type and layout. Free."""
def reshape(a: Any, /, shape: Any, order: Any='C', *, copy: Any=None) -> ndarray:
    """Another shape; a view if possible. Free."""
def resize(a: Any, new_shape: Any) -> ndarray:
    """Another shape and size, repeating the array. Free."""
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The type that arithmetic on operands gives. Free."""
def right_shift(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Binary digits moved to the right. Costs numel(output)."""
def rint(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Nearest integer, as a float. Costs numel(output)."""
def roll(a: Any, shift: Any, axis: Any=None) -> ndarray:
    """A copy with elements shifted around an axis. Free."""
def rollaxis(a: Any, axis: Any, start: Any=0) -> ndarray:
    """A view with one axis moved back. Free."""
def roots(p: Any) -> ndarray:
    """Roots of a polynomial. Costs 10*n^3."""
def rot90(m: Any, k: Any=1, axes: Any=(0, 1)) -> ndarray:
    """A view rotated by right angles. Free."""
def round(a: Any, decimals: Any=0, out: Any=None) -> ndarray:
    """Rounded to so many decimals. Costs numel(output)."""
def row_stack(tup: Any, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined one below the other. Free."""
def searchsorted(a: Any, v: Any, side: Any='left', sorter: Any=None) -> ndarray:
    """Where elements belong in a sorted array. Costs m*ceil(log2(n))."""
def select(condlist: Any, choicelist: Any, default: Any=0) -> ndarray:
    """Elements from the first list entry whose condition holds. Free."""
def setdiff1d(ar1: Any, ar2: Any, assume_unique: Any=False) -> ndarray:
    """Elements that only the first array has. Costs (n+m)*ceil(log2(n+m))."""
def setxor1d(ar1: Any, ar2: Any, assume_unique: Any=False) -> ndarray:
    """Elements that exactly one array has. Costs (n+m)*ceil(log2(n+m))."""
def shape(a: Any) -> tuple[int, ...]:
    """Length of every axis. Free."""
def shares_memory(a: Any, b: Any, /, max_work: Any=-1) -> _bool:
    """Whether two arrays overlap. Free."""
def sign(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """-1, 0 or 1 by the sign of each element. Costs numel(output)."""
def signbit(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Which elements have their sign bit set. Costs numel(output)."""
def sin(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Sine of angles in radians. Costs numel(output)."""
def sinc(x: Any) -> ndarray:
    """sin(pi*x)/(pi*x), 1 at 0. Costs numel(output)."""
def sinh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Hyperbolic sine. Costs numel(output)."""
def size(a: Any, axis: Any=None) -> int:
    """Number of elements, in all or along an axis. Free."""
def sort(a: Any, axis: Any=-1, kind: Any=None, order: Any=None, *, stable: Any=None) -> ndarray:
    """A sorted copy. Costs n*ceil(log2(n)) per slice."""
def sort_complex(a: Any) -> ndarray:
    """Sorted by real part, then by imaginary part; always complex. Costs numel(output)."""
def spacing(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Distance to the next representable number. Costs numel(output)."""
def split(ary: Any, indices_or_sections: Any, axis: Any=0) -> list[ndarray]:
    """Equal parts of an array. Free."""
def sqrt(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Non-negative square root. Costs numel(output)."""
def square(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Each element times itself. Costs numel(output)."""
def squeeze(a: Any, axis: Any=None) -> ndarray:
    """A view without axes of length 1. Free."""
def stack(arrays: Any, axis: Any=0, out: Any=None, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined along a new axis. Free."""
def std(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, keepdims: Any=..., *, where: Any=..., mean: Any=..., correction: Any=...) -> ndarray:
    """Standard deviation. Costs 2*numel(input)."""
def subtract(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Difference of two arrays. Costs numel(output)."""
def sum(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, keepdims: Any=..., initial: Any=..., where: Any=...) -> ndarray:
    """Sum. Costs numel(input)."""
def swapaxes(a: Any, axis1: Any, axis2: Any) -> ndarray:
    """A view with two axes exchanged. Free."""
def take(a: Any, indices: Any, axis: Any=None, out: Any=None, mode: Any='raise') -> ndarray:
    """Slices named by indices. Free."""
def take_along_axis(arr: Any, indices: Any, axis: Any=-1) -> ndarray:
    """Elements named by indices along an axis. Free."""
def tan(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Tangent of angles in radians. Costs numel(output)."""
def tanh(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Hyperbolic tangent. Costs numel(output)."""
def tensordot(a: Any, b: Any, axes: Any=2) -> ndarray:
    """Product of tensors, summed over the given axes. Costs numel(output) * summed lengths * (2 if any axis is summed, else 1)."""
def tile(A: Any, reps: Any) -> ndarray:
    """An array repeated like tiles. Free."""
def trace(a: Any, offset: Any=0, axis1: Any=0, axis2: Any=1, dtype: Any=None, out: Any=None) -> ndarray:
    """Sum along a diagonal. Costs min(m, n) per matrix."""
def transpose(a: Any, axes: Any=None) -> ndarray:
    """A view with axes in another order. Free."""
def trapezoid(y: Any, x: Any=None, dx: Any=1.0, axis: Any=-1) -> ndarray:
    """Integral by the trapezoidal rule. Costs numel(input)."""
def trapz(y: Any, x: Any=None, dx: Any=1.0, axis: Any=-1) -> ndarray:
    """Integral by the trapezoidal rule. Costs numel(input)."""
def tri(N: Any, M: Any=None, k: Any=0, dtype: Any=float, *, like: Any=None) -> ndarray:
    """Ones on and below a diagonal. Free."""
def tril(m: Any, k: Any=0) -> ndarray:
    """A copy with zeros above a diagonal. Free."""
def tril_indices(n: Any, k: Any=0, m: Any=None) -> tuple[ndarray, ...]:
    """Indices of the lower triangle. Free."""
def tril_indices_from(arr: Any, k: Any=0) -> tuple[ndarray, ...]:
    """Indices of an array's lower triangle. Free."""
def trim_zeros(filt: Any, trim: Any='fb', axis: Any=None) -> ndarray:
    """A view without leading and trailing zeros. Free."""
def triu(m: Any, k: Any=0) -> ndarray:
    """A copy with zeros below a diagonal. Free."""
def triu_indices(n: Any, k: Any=0, m: Any=None) -> tuple[ndarray, ...]:
    """Indices of the upper triangle. Free."""
def triu_indices_from(arr: Any, k: Any=0) -> tuple[ndarray, ...]:
    """Indices of an array's upper triangle. Free."""
def true_divide(x1: Any, x2: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Quotient of two arrays. Costs numel(output)."""
def trunc(x: Any, /, out: Any=None, *, where: Any=True, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Each element with its fraction cut off. Costs numel(output)."""
def typename(char: Any) -> str:
    """A description of a type code. Free."""
def union1d(ar1: Any, ar2: Any) -> ndarray:
    """Elements that either array has. Costs (n+m)*ceil(log2(n+m))."""
def unique(ar: Any, return_index: Any=False, return_inverse: Any=False, return_counts: Any=False, axis: Any=None, *, equal_nan: Any=True, sorted: Any=True) -> Any:
    """Sorted distinct elements. Costs n*ceil(log2(n))."""
def unique_all(x: Any) -> UniqueAllResult:
    """Distinct elements with positions, inverse and counts. Costs n*ceil(log2(n))."""
def unique_counts(x: Any) -> UniqueCountsResult:
    """Distinct elements with their counts. Costs n*ceil(log2(n))."""
def unique_inverse(x: Any) -> UniqueInverseResult:
    """Distinct elements with the indices that rebuild the array. Costs n*ceil(log2(n))."""
def unique_values(x: Any) -> ndarray:
    """Distinct elements. Costs n*ceil(log2(n))."""
def unpackbits(a: Any, /, axis: Any=None, count: Any=None, bitorder: Any='big') -> ndarray:
    """One element for every bit. Free."""
def unravel_index(indices: Any, shape: Any, order: Any='C') -> tuple[ndarray, ...]:
    """Coordinates from flat indices. Free."""
def unstack(x: Any, /, *, axis: Any=0) -> tuple[ndarray, ...]:
    """The slices along an axis, as views. Free."""
def unwrap(p: Any, discont: Any=None, axis: Any=-1, *, period: Any=6.283185307179586) -> ndarray:
    """Angles without jumps of a period. Costs numel(input)."""
def vander(x: Any, N: Any=None, increasing: Any=False) -> ndarray:
    """Matrix of the powers of each element. Costs len(x)*(N-1)."""
def var(a: Any, axis: Any=None, dtype: Any=None, out: Any=None, ddof: Any=0, keepdims: Any=..., *, where: Any=..., mean: Any=..., correction: Any=...) -> ndarray:
    """Variance. Costs 2*numel(input)."""
def vdot(a: Any, b: Any, /) -> ndarray:
    """Dot product of two flattened arrays, the first conjugated. Costs 2*n."""
def vecdot(x1: Any, x2: Any, /, out: Any=None, *, axes: Any=..., axis: Any=..., keepdims: Any=False, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Dot products of vectors along an axis, the first conjugated. Costs 2*numel(broadcast input)."""
def vecmat(x1: Any, x2: Any, /, out: Any=None, *, axes: Any=..., axis: Any=..., keepdims: Any=False, casting: Any='same_kind', order: Any='K', dtype: Any=None, subok: Any=True, signature: Any=None) -> ndarray:
    """Products of vectors, conjugated, and matrices, over the broadcast batch. Costs 2*m*n per matrix."""
def vsplit(ary: Any, indices_or_sections: Any) -> list[ndarray]:
    """Parts of an array along the first axis. Free."""
def vstack(tup: Any, *, dtype: Any=None, casting: Any='same_kind') -> ndarray:
    """Arrays joined one below the other. Free."""
def where(condition: Any, x: Any=None, y: Any=None, /) -> Any:
    """Elements of x where a condition holds, of y elsewhere. Free."""
def zeros(shape: Any, dtype: Any=None, order: Any='C', *, device: Any=None, like: Any=None) -> ndarray:
    """An array filled with zeros. Free."""
def zeros_like(a: Any, dtype: Any=None, order: Any='K', subok: Any=True, shape: Any=None, *, device: Any=None) -> ndarray:
    """An array like another one, filled with zeros. Free."""
