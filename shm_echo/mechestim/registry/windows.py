"""Window functions: weights that taper a signal."""

from __future__ import annotations

from shm_echo.mechestim.costs import windows as cost
from shm_echo.mechestim.costs.creation import window, window_scratch
from shm_echo.mechestim.registry.build import custom
from shm_echo.mechestim.registry.op import Op

OPS: tuple[Op, ...] = (
    custom("bartlett", "n", cost.cosine, "Triangular window.", window, window_scratch),
    custom("blackman", "3*n", cost.blackman, "Blackman window.", window, window_scratch),
    custom("hamming", "n", cost.cosine, "Hamming window.", window, window_scratch),
    custom("hanning", "n", cost.cosine, "Hann window.", window, window_scratch),
    custom("kaiser", "3*n", cost.kaiser, "Kaiser window of a given beta.", window, window_scratch),
)
