"""Page-locks memory for a GPU, with a CUDA library that the user has installed.

From page-locked memory a copy to a GPU is one transfer that runs by itself; from ordinary memory
the driver copies piece by piece through a buffer of its own, and the caller waits. shm-echo is not
linked to CUDA: `find_cuda` takes PyTorch or cuda-python, whichever is installed and finds a GPU.
This module does not choose a device and allocates no memory of one.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["CudaLibrary", "HostPin", "find_cuda"]

_log = logging.getLogger("shm_echo.ring")

_SUCCESS = 0  # cudaSuccess, of the CUDA runtime's interface
# cudaHostRegisterPortable: the memory counts as page-locked in every CUDA context of the process,
# also in those made later, so that no device has to be named here.
_PORTABLE = 1


class CudaLibrary:
    """The four CUDA functions that pinning needs, as one installed library offers them.

    Args:
        name: the library, for messages.
        register: cudaHostRegister, from (address, bytes, flags).
        unregister: cudaHostUnregister, from (address).
        error_name: cudaGetErrorName or cudaGetErrorString, from a result that is not 0.

    The first two return the CUDA result: an int, or an enum that converts to one.
    """

    def __init__(
        self,
        name: str,
        register: Callable[[int, int, int], Any],
        unregister: Callable[[int], Any],
        error_name: Callable[[Any], str],
    ) -> None:
        self.name = name
        self.register = register
        self.unregister = unregister
        self.error_name = error_name


class HostPin:
    """The registration of one range of memory: made by `register`, ended by `release`.

    Args:
        cuda: the library that registers it.
        address: the first byte of the range.
        size: the length of the range in bytes.
    """

    def __init__(self, cuda: CudaLibrary, address: int, size: int) -> None:
        self._cuda = cuda
        self._address = address
        self._size = size
        self._owner: int | None = None  # pid of the process that registered the range

    def register(self) -> None:
        """Page-lock the range.

        Raises:
            RuntimeError: CUDA refused the registration.
        """
        # Noted before the call: an interrupt right after it must not leave the range registered.
        self._owner = os.getpid()
        result = self._cuda.register(self._address, self._size, _PORTABLE)
        if int(result) != _SUCCESS:
            self._owner = None
            raise RuntimeError(
                f"cudaHostRegister of the ring ({self._size:,} bytes, through {self._cuda.name}) "
                f"failed with {self._cuda.error_name(result)}"
            )

    def release(self) -> None:
        """End the registration, if there is one. The range must still be mapped."""
        owner, self._owner = self._owner, None
        if owner != os.getpid():  # CUDA does not work in the child of a fork
            return
        try:
            result = self._cuda.unregister(self._address)
            reason = None if int(result) == _SUCCESS else self._cuda.error_name(result)
        except Exception as error:  # at the interpreter's exit the library may be half gone
            reason = f"{type(error).__name__}: {error}"
        if reason is not None:  # the server is closing, and has to go on with that
            _log.warning(
                "cudaHostUnregister of the ring (through %s) failed: %s", self._cuda.name, reason
            )


def find_cuda() -> CudaLibrary:
    """Return the first CUDA library that is installed and finds a GPU.

    A library that the program has imported already comes first: its CUDA context exists, and costs
    no device memory a second time.

    Raises:
        RuntimeError: there is none; the message has the reason of each.
    """
    reasons = []
    for name, _, load in sorted(_LIBRARIES, key=lambda library: library[1].isdisjoint(sys.modules)):
        try:
            return load()
        except Exception as error:  # a broken installation fails in many ways, OSError among them
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            reasons.append(f"{name}: {first_line}")
    raise RuntimeError(
        "pin_host_memory=True needs a GPU, and PyTorch or cuda-python to reach it "
        f"({'; '.join(reasons)})"
    )


def _torch() -> CudaLibrary:
    torch = importlib.import_module("torch")
    runtime = torch.cuda.cudart()  # starts CUDA, or raises with the reason
    return CudaLibrary(
        "torch",
        runtime.cudaHostRegister,
        runtime.cudaHostUnregister,
        lambda result: str(runtime.cudaGetErrorString(result)),
    )


def _cuda_python() -> CudaLibrary:
    """Return the functions of cuda-python; each of its own returns a tuple with the result first.

    Raises:
        RuntimeError: CUDA does not start in this process.
    """
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ModuleNotFoundError:  # cuda-python 12.6 and older
        runtime = importlib.import_module("cuda.cudart")

    def error_name(result: Any) -> str:
        name = runtime.cudaGetErrorName(result)[1]
        return name.decode() if isinstance(name, bytes) else str(name)

    started = runtime.cudaFree(0)[0]  # frees nothing: the first call of the runtime starts CUDA
    if int(started) != _SUCCESS:
        raise RuntimeError(f"CUDA does not start: {error_name(started)}")
    return CudaLibrary(
        "cuda-python",
        lambda address, size, flags: runtime.cudaHostRegister(address, size, flags)[0],
        lambda address: runtime.cudaHostUnregister(address)[0],
        error_name,
    )


# A library's name, its modules (one of them is imported where the program uses it), and the
# function that takes the CUDA functions out of it.
_LIBRARIES: tuple[tuple[str, frozenset[str], Callable[[], CudaLibrary]], ...] = (
    ("torch", frozenset({"torch"}), _torch),
    ("cuda-python", frozenset({"cuda.bindings.runtime", "cuda.cudart"}), _cuda_python),
)
