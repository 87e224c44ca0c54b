"""Cases of `fft`."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.cases_unary import DTYPES
from tests.mechestim.parity.specs import Case, arr, case

ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")


def cases() -> Iterator[Case]:
    """Return every case of this file; the cases of `fftshift` are with the views."""
    for short in ONE_AXIS:
        name = f"fft.{short}"
        for dtype in DTYPES:
            yield case(name, arr(6, dtype=dtype))
        for shape in ((1,), (5,), (3, 4), (2, 0, 3), (2, 3, 4)):
            yield case(name, arr(*shape))
        yield case(name, arr(3, 4, layout="F"), axis=0)
        yield case(name, arr(3, 4, layout="reversed"))
        yield case(name, arr(3, 4), 6)
        yield case(name, arr(3, 4), n=2, axis=0)
        yield case(name, arr(3, 4), None, 1, "ortho")
        yield case(name, arr(8), norm="forward")
        yield case(name, arr(8), norm="nonsense")
        yield case(name, arr(8), n=0)
        yield case(name, arr(8), n=-3)
        yield case(name, arr(8), n=2.5)
        yield case(name, arr(8), axis=3)
        yield case(name, arr(0))
        yield case(name, arr())
        yield case(name, 2.0)
        yield case(name, [1.0, 2.0, 3.0, 4.0])
        yield case(name, a=arr(4))
        yield case(name, ["a"])
        real = short in ("irfft", "hfft")
        length = {"rfft": 5, "ihfft": 5, "irfft": 14, "hfft": 14}.get(short, 8)
        yield case(name, arr(8), out=arr(length, dtype="float64" if real else "complex128"))
        yield case(name, arr(8), out=arr(3, dtype="complex128"))
    for short in SEVERAL:
        name = f"fft.{short}"
        for dtype in ("int8", "float32", "float64", "complex64", "complex128"):
            yield case(name, arr(4, 6, dtype=dtype))
        yield case(name, arr(2, 3, 4))
        yield case(name, arr(2, 3, 4, layout="F"))
        yield case(name, arr(4, 6), (3, 8))
        yield case(name, arr(4, 6), s=(3, 8), axes=(0, 1))
        yield case(name, arr(2, 3, 4), axes=(0, 2))
        yield case(name, arr(2, 3, 4), axes=(1, 1))
        yield case(name, arr(4, 6), norm="ortho")
        yield case(name, arr(4, 6), s=(3,), axes=(0, 1))
        yield case(name, arr(4, 6), axes=(0, 5))
        yield case(name, arr(4, 6), norm="nonsense")
        yield case(name, arr(6))
        yield case(name, arr())
        yield case(name, arr(0, 4))
        yield case(name, [[1.0, 2.0], [3.0, 4.0]])
        yield case(name, arr(4, 6), s=(0, 4), axes=(0, 1))
    for name in ("fft.fftfreq", "fft.rfftfreq"):
        yield case(name, 5)
        yield case(name, 6, d=0.5)
        yield case(name, 2.5)
        yield case(name, 0)
        yield case(name, -3)
