"""Specs of samples: the structure, shapes and dtypes that an example fixes.

The rest of the package uses `TreeSpec`, in the module `tree`. It joins `leaf` (dtype and shape of
one leaf, and the values that it accepts), `keys` (dict keys as text that is the same in every
process), `structure` (the nodes above the leaves), `wire` (the form in which two processes compare
their examples) and `rebuild` (an example made from that form).
"""

from shm_echo.spec.leaf import LeafSpec
from shm_echo.spec.tree import TreeSpec

__all__ = ["LeafSpec", "TreeSpec"]
