"""`DataLoader` for PyTorch: a `torch.utils.data.DataLoader` whose workers write batches in place.

A training program switches by its import:

```python
from shm_echo.torch import DataLoader
```

This package is the only one that imports torch.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "shm_echo.torch needs PyTorch: pip install 'shm-echo[torch]'", name="torch"
    ) from None

from shm_echo.torch.data_loader import DataLoader

__all__ = ["DataLoader"]
