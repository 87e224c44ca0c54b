"""Parts of the stubs beside operations: classes, constants and heads of files.

Written by hand; `tools.mechestim_stubs` puts it together with the registry. A test compares
the names with those that the library really has.
"""

# ruff: noqa: E501

from __future__ import annotations

TOP = '''"""mechestim: a NumPy-compatible library that counts FLOPs and enforces a budget.

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
'''

SUBMODULE = '''"""{summary}

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from shm_echo.mechestim import ndarray

_bool = builtins.bool
'''

SUMMARIES = {
    "linalg": "Linear algebra, as in numpy.linalg, counted.",
    "fft": "Discrete Fourier transforms, as in numpy.fft, counted.",
    "random": "Random numbers, as in numpy.random, counted.",
    "stats": "Continuous distributions, as in scipy.stats, counted.",
}

_OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
    "lshift", "rshift",
)  # fmt: skip


def operators() -> str:
    """The operators of an array: plain, reflected and in place."""
    lines = []
    for name in _OPERATORS:
        for form in (name, f"r{name}", f"i{name}"):
            lines.append(f"    def __{form}__(self, other: Any, /) -> ndarray: ...\n")
    lines += [f"    def __{form}__(self, other: Any, /) -> tuple[ndarray, ndarray]: ...\n"
              for form in ("divmod", "rdivmod")]  # fmt: skip
    for name in ("eq", "ne"):
        lines.append(
            f"    def __{name}__(self, other: Any, /) -> ndarray: ...  # type: ignore[override]\n"
        )
    lines += [
        f"    def __{n}__(self, other: Any, /) -> ndarray: ...\n" for n in ("lt", "le", "gt", "ge")
    ]
    lines += [f"    def __{n}__(self) -> ndarray: ...\n" for n in ("neg", "pos", "abs", "invert")]
    return "".join(lines)


ARRAY = '''
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
'''

CLASSES = '''

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
'''

LINALG = '''

class LinAlgError(ValueError):
    """A decomposition that does not converge, or a matrix that has no inverse."""
class EigResult(NamedTuple):
    eigenvalues: ndarray
    eigenvectors: ndarray
class EighResult(NamedTuple):
    eigenvalues: ndarray
    eigenvectors: ndarray
class SlogdetResult(NamedTuple):
    sign: ndarray
    logabsdet: ndarray


'''

RANDOM = '''

class SeedSequence:
    """Entropy from which bit generators are seeded."""

    def __init__(self, entropy: Any = None, *, spawn_key: Any = (), pool_size: int = 4, n_children_spawned: int = 0) -> None: ...
    def generate_state(self, n_words: int, dtype: Any = ...) -> Any: ...
    def spawn(self, n_children: int) -> list[SeedSequence]: ...
class BitGenerator:
    """A source of random bits."""

    def __init__(self, seed: Any = None) -> None: ...
    @property
    def state(self) -> Any: ...
    @state.setter
    def state(self, value: Any) -> None: ...
    def spawn(self, n_children: int) -> list[BitGenerator]: ...
class MT19937(BitGenerator): ...
class PCG64(BitGenerator): ...
class PCG64DXSM(BitGenerator): ...
class Philox(BitGenerator): ...
class SFC64(BitGenerator): ...
def get_bit_generator() -> BitGenerator:
    """The source of the module functions' random bits."""
def set_bit_generator(bitgen: BitGenerator) -> None:
    """Sets the source of the module functions' random bits."""


'''

CONSTRUCTORS = {
    "Generator": '    """Random numbers from a source of bits."""\n\n'
    "    def __init__(self, bit_generator: BitGenerator) -> None: ...\n"
    "    @property\n    def bit_generator(self) -> BitGenerator: ...\n",
    "RandomState": '    """Random numbers as older programs draw them."""\n\n'
    "    def __init__(self, seed: Any = None) -> None: ...\n",
}
