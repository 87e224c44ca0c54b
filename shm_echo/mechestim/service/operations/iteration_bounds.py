"""Bounds of the iterations of a request, where neither its price nor its size shows them.

A few arguments count steps: the order of `diff`, the decimals of `round`, the operands whose best
order `multi_dot` searches. NumPy takes any number there, and some of its loops hold the interpreter
lock until they end. Each rule has the signature of its operation and returns a number of steps of a
microsecond or less. The older random distributions draw until a number fits: their rules bound the
draws by the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.local.array import plain

__all__ = ["MOST", "RULES", "is_long"]

MOST = 10**6

_FEW = 10**4
_SEARCHES = frozenset({"einsum", "einsum_path", "session.path"})
_QUICKLY_SEARCHED = 7  # operands, or these and the subscripts
_LOOK_AT_ALL = frozenset({"is_symmetric", "ndarray.flat.set", "ndarray.tobytes", "session.fetch"})
_QUICKLY_SEEN = 1 << 20  # bytes
_FOR_EVER = 2**63 - 1
_STEEPEST = 1025.0  # from here on 2 ** (a - 1) is infinite, and no number is ever accepted
_CONCENTRATED = 1e15  # above this no angle differs from the mean, and none is ever accepted

Rule = Callable[..., int]


def _diff(a: Any, n: Any = 1, *_: Any, **__: Any) -> int:
    return int(n)


def _round(a: Any, decimals: Any = 0, *_: Any, **__: Any) -> int:
    return abs(int(decimals)) // 500  # of nanoseconds


def _multi_dot(arrays: Any, *_: Any, **__: Any) -> int:
    return len(arrays) ** 3 // 12


def _seed_sequence(*_: Any, pool_size: Any = 4, **__: Any) -> int:
    return int(pool_size) ** 2


def _zipf(a: Any, size: Any = None) -> int:
    """Numbers above 2**63 are thrown away: of those drawn, one in 43 * (a - 1) is left."""
    if float(np.max(a)) >= _STEEPEST:
        return _FOR_EVER
    least = float(np.min(a))
    if not 1.0 < least < 1.01:
        return 0
    drawn = np.size(a) if size is None else int(np.prod(size))
    return int(drawn / (43 * (least - 1)) / 20)


def _vonmises(mu: Any, kappa: Any, size: Any = None) -> int:
    return _FOR_EVER if float(np.max(kappa)) > _CONCENTRATED else 0


def _of_a_state(rule: Rule) -> Rule:
    def shifted(_: Any, *args: Any, **kwargs: Any) -> int:
        return rule(*args, **kwargs)

    return shifted


def _jumped(generator: Any, jumps: Any = 1) -> int:
    return 1000 * int(jumps) if isinstance(generator, np.random.MT19937) else 0


RULES: dict[str, Rule] = {
    "around": _round,
    "diff": _diff,
    "generator.jumped": _jumped,
    "linalg.multi_dot": _multi_dot,
    "ndarray.__round__": _round,
    "ndarray.round": _round,
    "random.RandomState.vonmises": _of_a_state(_vonmises),
    "random.RandomState.zipf": _of_a_state(_zipf),
    "random.SeedSequence": _seed_sequence,
    "random.vonmises": _vonmises,
    "random.zipf": _zipf,
    "round": _round,
}


def is_long(name: str, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Check that the operation ends. Return True if it takes long for its price and size.

    Raises:
        QuotaExceededError: it would take more than `MOST` steps; nothing has run.
    """
    if name in _SEARCHES:
        operands = args[0] if name == "session.path" and args else args
        return isinstance(operands, (list, tuple)) and len(operands) > _QUICKLY_SEARCHED
    if name in _LOOK_AT_ALL:
        return any(getattr(value, "nbytes", 0) > _QUICKLY_SEEN for value in args[:1])
    rule = RULES.get(name)
    if rule is None:
        return False
    try:
        steps = rule(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
    except Exception:
        return False  # arguments that make no sense: NumPy says so
    if steps > MOST:
        raise QuotaExceededError("max_steps", allowed=MOST, wanted=steps)
    return steps > _FEW
