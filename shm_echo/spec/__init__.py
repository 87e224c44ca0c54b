"""What a sample looks like: the structure, shapes and dtypes that an example fixes.

`TreeSpec` is the one name that the rest of the package needs. Behind it, each in its own
module: `leaf` (one leaf: its dtype, its shape, what may be stored there), `keys` (dict keys as
text that is the same in every process), `structure` (the nodes above the leaves), `wire` (the
form in which two processes compare their examples) and `tree` (the class that joins them).
"""

from shm_echo.spec.leaf import LeafSpec
from shm_echo.spec.tree import TreeSpec

__all__ = ["LeafSpec", "TreeSpec"]
