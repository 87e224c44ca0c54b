"""Window functions: weights that taper a signal."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import windows as cost
from shm_echo.mechestim.registry.rules.memory import creation

_SIZE, _SCRATCH = creation.window, creation.window_scratch

OPS: tuple[Op, ...] = (
    custom("bartlett", "n", cost.cosine, "Triangular window.", _SIZE, _SCRATCH),
    custom("blackman", "3*n", cost.blackman, "Blackman window.", _SIZE, _SCRATCH),
    custom("hamming", "n", cost.cosine, "Hamming window.", _SIZE, _SCRATCH),
    custom("hanning", "n", cost.cosine, "Hann window.", _SIZE, _SCRATCH),
    custom("kaiser", "3*n", cost.kaiser, "Kaiser window of a given beta.", _SIZE, _SCRATCH),
)
