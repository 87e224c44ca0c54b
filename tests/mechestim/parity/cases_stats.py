"""Cases of `stats`."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mechestim.parity.specs import Case, L, arr, case

SHAPES = {
    "norm": (),
    "uniform": (),
    "expon": (),
    "cauchy": (),
    "logistic": (),
    "laplace": (),
    "lognorm": (0.5,),
    "truncnorm": (-1.0, 2.0),
}


def cases() -> Iterator[Case]:
    """Return every case of this file."""
    for distribution, shapes in SHAPES.items():
        for function in ("pdf", "cdf", "ppf"):
            name = f"stats.{distribution}.{function}"
            fill = "probability" if function == "ppf" else "mixed"
            for given in (
                arr(3, 4, fill=fill),
                arr(fill=fill),
                arr(0),
                0.25,
                [0.25, 0.5],
                arr(3, dtype="int8"),
                arr(8, fill="odd"),
                arr(3, 4, layout="F", fill=fill),
            ):
                yield case(name, given, *shapes)
            yield case(name, arr(3, fill=fill), *shapes, 0.5, 2.0)
            yield case(
                name, arr(2, 3, fill=fill), *shapes, loc=arr(3), scale=arr(2, 1, fill="positive")
            )
            yield case(name, arr(2, fill=fill), *shapes, scale=-1.0)
            yield case(name, arr(2, fill=fill), *shapes, loc=arr(3))
            yield case(name, arr(2, fill=fill), *shapes, nonsense=1)
            yield case(name, arr(2, dtype="complex64"), *shapes)
            yield case(name, L(["a"]), *shapes)
            yield case(name)
