"""Writing into arrays: one operation per element of the target, for any source."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op, Rule
from shm_echo.mechestim.registry.rules.flops import indexing as cost
from shm_echo.mechestim.registry.rules.memory import bounds, shaping

_TARGET = "numel(target)"


def _write(name: str, rule: Rule, summary: str, target: str, numpy: str = "") -> Op:
    scratch = shaping.along_scratch if name == "put_along_axis" else bounds.written
    return custom(
        name, _TARGET, rule, summary, bounds.none, scratch, numpy=numpy or name, writes=(target,)
    )


OPS: tuple[Op, ...] = (
    _write("copyto", cost.copyto, "Copies one array into another, where a mask allows.", "dst"),
    _write("fill_diagonal", cost.fill_diagonal, "Writes the main diagonal.", "a"),
    _write("ndarray.__setitem__", cost.setitem, "Writes the elements that an index selects.",
           "self"),
    _write("ndarray.fill", cost.fill, "Writes one value into every element.", "self"),
    _write("place", cost.place, "Writes values where a mask is true.", "arr"),
    _write("put", cost.put, "Writes values at flat indices.", "a"),
    _write("put_along_axis", cost.put_along_axis, "Writes values at indices along an axis.", "arr"),
    _write("putmask", cost.putmask, "Writes values where a mask is true, by position.", "a"),
)  # fmt: skip
