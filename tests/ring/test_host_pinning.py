"""The ring's memory is page-locked for a GPU, and no longer than the server runs.

No GPU is at hand where these tests run: modules that record the calls stand in for PyTorch and
cuda-python. The last tests take the real PyTorch, if it is installed.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shm_echo import AddressInUseError, Server, ShmTransport
from shm_echo.ring.host_pinning import CudaLibrary
from shm_echo.ring.segment import Segment
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered

PORTABLE = 1
REFUSED = 712  # cudaErrorHostMemoryAlreadyRegistered


class FakeCuda:
    """What both libraries lead to: it records the calls, and answers as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.register_result = 0
        self.unregister_result = 0
        self.start_result = 0

    def register(self, address: int, size: int, flags: int) -> int:
        self.calls.append(("register", address, size, flags))
        return self.register_result

    def unregister(self, address: int) -> int:
        self.calls.append(("unregister", address))
        return self.unregister_result

    def registered(self) -> tuple[int, int]:
        """Return address and size of the one range that was registered."""
        ((_, address, size, flags),) = (call for call in self.calls if call[0] == "register")
        assert flags == PORTABLE
        return address, size


def fake_torch(cuda: FakeCuda) -> ModuleType:
    module: Any = ModuleType("torch")
    runtime = SimpleNamespace(
        cudaHostRegister=cuda.register,
        cudaHostUnregister=cuda.unregister,
        cudaGetErrorString=lambda result: f"torch's text of {result}",
    )
    module.cuda = SimpleNamespace(cudart=lambda: runtime)
    return module  # type: ignore[no-any-return]


def fake_cuda_python(cuda: FakeCuda, name: str) -> ModuleType:
    """Return cuda-python's module: its functions return tuples, and a name is bytes."""
    module: Any = ModuleType(name)
    module.cudaFree = lambda address: (cuda.start_result,)
    module.cudaHostRegister = lambda *args: (cuda.register(*args),)
    module.cudaHostUnregister = lambda *args: (cuda.unregister(*args),)
    module.cudaGetErrorName = lambda result: (0, f"cudaError{result}".encode())
    return module  # type: ignore[no-any-return]


MODULES = ("torch", "cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, FakeCuda], None]:
    """Nothing is installed, but what the test installs under one of the names."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)

    def put(library: str, cuda: FakeCuda) -> None:
        if library == "torch":
            monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda))
            return
        parents = {"cuda.bindings.runtime": ("cuda", "cuda.bindings"), "cuda.cudart": ("cuda",)}
        for name in parents[library]:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, library, fake_cuda_python(cuda, library))

    return put


def server(**options: Any) -> Server:
    return Server(EXAMPLE, batch_size=2, pin_host_memory=True, **options)


def bounds(array: np.ndarray) -> tuple[int, int]:
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


# ---------------------------------------------------------------- the whole ring, while it runs


@pytest.mark.parametrize("library", ["torch", "cuda.bindings.runtime", "cuda.cudart"])
@pytest.mark.parametrize("transport", [None, "pinned"])
def test_the_ring_is_registered_at_the_start_and_unregistered_at_the_end(
    install: Any, library: str, transport: str | None
) -> None:
    cuda = FakeCuda()
    install(library, cuda)
    way = None if transport is None else ShmTransport(f"{transport}-{os.getpid()}")
    with server(transport=way) as running:
        address, size = cuda.registered()
        for lap in range(4):  # every buffer, and the first one again
            for n in (0, 1):
                running.submit(numbered(2 * lap + n))
            sample = running.sample()
            assert sample is not None
            for leaf in sample.batch.values():
                first, last = bounds(leaf)
                assert address <= first < last <= address + size
            del sample, leaf
        assert [call[0] for call in cuda.calls] == ["register"]
    running.close()
    assert cuda.calls[1:] == [("unregister", address)]


def test_a_server_in_one_process_pins_when_its_first_use_starts_it(install: Any) -> None:
    cuda = FakeCuda()
    install("torch", cuda)
    made = server()
    assert cuda.calls == []
    made.submit(numbered(0))
    cuda.registered()
    made.close()
    assert len(cuda.calls) == 2


def test_a_server_that_is_dropped_unregisters(install: Any) -> None:
    cuda = FakeCuda()
    install("torch", cuda)
    made = server().start()
    address, _ = cuda.registered()
    del made
    gc.collect()
    assert cuda.calls[1:] == [("unregister", address)]


def test_without_the_argument_no_library_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("torch", "cuda"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with Server(EXAMPLE, batch_size=2) as running:
        running.submit(numbered(0))


def test_the_library_that_the_program_uses_already_comes_first(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Starting CUDA in a second library would cost device memory again."""
    cuda = FakeCuda()
    install("cuda.bindings.runtime", cuda)
    monkeypatch.delitem(sys.modules, "torch")
    (tmp_path / "torch.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with server():
        cuda.registered()


# ---------------------------------------------------------------- what can't be pinned


def test_without_a_library_the_start_fails_and_names_both(install: Any) -> None:
    before = open_descriptors()
    made = server(transport=ShmTransport(f"unpinned-{os.getpid()}"))
    with pytest.raises(RuntimeError, match="PyTorch or cuda-python.*torch: .*; cuda-python: "):
        made.start()
    assert open_descriptors() == before


def test_the_error_has_the_reason_of_each_library(install: Any) -> None:
    cuda = FakeCuda()
    cuda.start_result = 35
    install("torch", cuda)
    install("cuda.bindings.runtime", cuda)

    def no_driver() -> None:
        raise RuntimeError("no NVIDIA driver\nsecond line of advice")

    sys.modules["torch"].cuda.cudart = no_driver
    with pytest.raises(
        RuntimeError,
        match=r"\(torch: no NVIDIA driver; cuda-python: CUDA does not start: cudaError35\)$",
    ):
        server().start()
    assert cuda.calls == []


def test_a_library_without_a_gpu_leaves_the_pinning_to_the_other(install: Any) -> None:
    without, with_gpu = FakeCuda(), FakeCuda()
    install("torch", without)
    sys.modules["torch"].cuda.cudart = None  # calling it fails, as in a build without CUDA
    install("cuda.bindings.runtime", with_gpu)
    with server():
        with_gpu.registered()
    assert without.calls == []


@pytest.mark.parametrize(
    ("library", "text"),
    [("torch", "through torch.*torch's text of 712"), ("cuda.cudart", "cuda-python.*cudaError712")],
)
def test_a_refused_registration_fails_the_start_and_leaves_nothing(
    install: Any, library: str, text: str
) -> None:
    cuda = FakeCuda()
    cuda.register_result = REFUSED
    install(library, cuda)
    before = open_descriptors()
    name = f"refused-{os.getpid()}"
    made = server(transport=ShmTransport(name))
    with pytest.raises(RuntimeError, match=rf"cudaHostRegister .* \([\d,]+ bytes, .*{text}"):
        made.start()
    assert [call[0] for call in cuda.calls] == ["register"]
    assert open_descriptors() == before
    with Server(EXAMPLE, 2, ShmTransport(name)):  # the address is free
        pass


def test_a_start_that_fails_later_unregisters(install: Any) -> None:
    cuda = FakeCuda()
    install("torch", cuda)
    name = f"taken-{os.getpid()}"
    with Server(EXAMPLE, 2, ShmTransport(name)):
        with pytest.raises(AddressInUseError):
            server(transport=ShmTransport(name)).start()
    address, _ = cuda.registered()
    assert cuda.calls[1:] == [("unregister", address)]


def test_an_interrupt_inside_the_registration_leaves_nothing_registered(install: Any) -> None:
    cuda = FakeCuda()
    install("torch", cuda)

    def interrupted(*args: int) -> int:
        cuda.register(*args)
        raise KeyboardInterrupt

    sys.modules["torch"].cuda.cudart().cudaHostRegister = interrupted
    with pytest.raises(KeyboardInterrupt):
        server().start()
    assert [call[0] for call in cuda.calls] == ["register", "unregister"]


@pytest.mark.parametrize("way", ["a result", "an exception"])
def test_a_failure_to_unregister_is_logged_and_the_server_closes(
    install: Any, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    cuda = FakeCuda()
    cuda.unregister_result = REFUSED
    install("torch", cuda)
    if way == "an exception":
        cuda.unregister = lambda address: 1 // 0  # type: ignore[method-assign]
        install("torch", cuda)
    with caplog.at_level(logging.WARNING, "shm_echo.ring"), server() as running:
        pass
    assert running.closed
    (record,) = caplog.records
    told = {"a result": "torch's text of 712", "an exception": "ZeroDivisionError"}[way]
    assert told in record.getMessage()


def test_the_child_of_a_fork_leaves_the_registration_to_its_parent() -> None:
    cuda = FakeCuda()
    runtime = CudaLibrary("stand-in", cuda.register, cuda.unregister, str)
    segment = Segment.allocate(4096, "private")
    segment.pin(runtime)
    child = os.fork()
    if child == 0:
        try:
            segment.close()
        finally:
            os._exit(len(cuda.calls))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    segment.close()
    assert [call[0] for call in cuda.calls] == ["register", "unregister"]


# ---------------------------------------------------------------- the real PyTorch, if installed


def test_the_real_pytorch_says_that_there_is_no_gpu() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RuntimeError, match=r"needs a GPU.*\(torch: .*(CUDA|NVIDIA)"):
        server().start()


def test_pytorch_finds_the_batches_pinned() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    with server(writable=True) as running:
        for n in (0, 1):
            running.submit(numbered(n))
        sample = running.sample()
        assert sample is not None
        assert torch.from_numpy(sample.batch["x"]).is_pinned()
