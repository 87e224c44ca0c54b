"""The answer of handles to `copy` and `pickle`: a sentence, instead of a second owner.

A handle owns something that exists once: a connection, a ring, a claim, a count. A copy of it would
end the original when it ends itself, and what it owns cannot be written into a pickle.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

__all__ = ["Uncopyable", "reject_copy"]


class Uncopyable:
    """A base class whose instances `copy.copy`, `copy.deepcopy` and `pickle` reject.

    Attributes:
        _copying_advice: the reason, and what to do instead: the end of the error message.
    """

    __slots__ = ()

    _copying_advice: ClassVar[str]

    def __reduce__(self) -> Any:
        name = type(self).__name__
        reject_copy(f"{'an' if name[0] in 'AEIOU' else 'a'} {name}", self._copying_advice)


def reject_copy(handle: str, advice: str) -> NoReturn:
    """Raise the error of a handle that is copied or pickled.

    Raises:
        TypeError: always.
    """
    raise TypeError(f"{handle} can be neither copied nor pickled: {advice}")
