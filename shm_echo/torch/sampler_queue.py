"""The keys that a sampler of torch gives, on their way to the workers.

torch draws a fixed number of batches ahead of the loop. A sampler that uses the global generator
shares it with the training loop: only if it is asked at the same moments, both get the numbers that
they get with torch's own loader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from shm_echo.loader.sampler_order import BatchSamplerOrder, SamplerOrder

__all__ = ["KeyOrder", "ListOrder", "QueuedSampler", "SamplerQueue"]


class SamplerQueue(Iterator[Any]):
    """The keys of one epoch, some of them drawn ahead.

    Args:
        keys: gives the keys.

    Example:
        >>> from shm_echo.torch.sampler_queue import SamplerQueue
        >>> queue = SamplerQueue(iter([[0, 1], [2]]))
        >>> queue.draw(1)
        >>> list(queue)
        [[0, 1], [2]]
    """

    def __init__(self, keys: Iterator[Any]) -> None:
        self._keys = keys
        self._drawn: deque[Any] = deque()
        self._error: Exception | None = None

    def draw(self, count: int) -> None:
        """Ask the sampler for keys. Its exception is kept for the turn of the key that it lost."""
        if self._error is not None:
            return
        for _ in range(count):
            try:
                self._drawn.append(next(self._keys))
            except StopIteration:
                self._keys = iter(())
                return
            except Exception as error:
                self._error = error
                return

    def __next__(self) -> Any:
        if self._drawn:
            return self._drawn.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            self._keys = iter(())
            raise error
        return next(self._keys)


class QueuedSampler:
    """A sampler of torch, for the order of the loader.

    Args:
        sampler: the sampler.
        generator: the generator of the loader.

    Attributes:
        sampler, generator: as given. A position is stored with the states of all generators that
            are attributes here or of the sampler.
        ahead: the number of keys that are drawn in `iter()`.
        batch_size: its attribute of that name; None if it is no int.
        last: the keys of the epoch that was begun last.
        given: an iterator of the sampler that the next `iter()` takes over.
    """

    def __init__(self, sampler: Any, generator: Any = None) -> None:
        self.sampler, self.generator = sampler, generator
        self.ahead = 0
        self.last = SamplerQueue(iter(()))
        self.given: Iterator[Any] | None = None
        size = getattr(sampler, "batch_size", None)
        self.batch_size: int | None = size if type(size) is int and size > 0 else None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> SamplerQueue:
        given, self.given = self.given, None
        self.last = SamplerQueue(iter(self.sampler) if given is None else given)
        self.last.draw(self.ahead)
        return self.last


class ListOrder(BatchSamplerOrder):
    """The order of torch's batch sampler."""

    def __init__(self, sampler: QueuedSampler) -> None:
        super().__init__(sampler)
        self._described = _names(sampler.sampler)

    def description(self) -> dict[str, Any]:
        return {"kind": "torch", **self._described}


class KeyOrder(SamplerOrder):
    """The order of torch's sampler where there is no batching."""

    def __init__(self, sampler: QueuedSampler) -> None:
        super().__init__(sampler, batch_size=None)
        self._described = _names(sampler.sampler)

    def description(self) -> dict[str, Any]:
        return {"kind": "torch", "batch_size": None, **self._described}


def _names(sampler: Any) -> dict[str, Any]:
    """Return what must be equal where a stored position is taken up again."""
    inner = getattr(sampler, "sampler", None)
    sizes = {"batch_size": getattr(sampler, "batch_size", None)}
    sizes["drop_last"] = getattr(sampler, "drop_last", None)
    return {
        "batch_sampler": _type_name(sampler),
        "sampler": None if inner is None else _type_name(inner),
        **{name: size for name, size in sizes.items() if isinstance(size, int)},
    }


def _type_name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
