"""Bounds of the iterations of a request that neither its price nor its size shows.

A few arguments count steps: the order of `diff`, the decimals of `round`, the operands whose best
order `multi_dot` searches. NumPy takes any number there, and some of its loops hold the interpreter
lock until they end. Each rule has the signature of its operation and returns a number of steps of
at most a microsecond each. The legacy random distributions draw until a number is accepted: their
rules estimate the draws from the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.local.array import plain

__all__ = ["MAX_STEPS", "RULES", "is_long"]

MAX_STEPS = 10**6  # of a microsecond: a loop holds the interpreter lock for about a second at most

_MAX_SHORT_STEPS = 10**4  # 10 ms; with more, the operation needs a long slot
_PATH_SEARCHES = frozenset({"einsum", "einsum_path", "session.path"})
# Arguments up to which a search for the best path is short: up to 7 operands, or up to 6 and the
# subscripts. The time of a search grows steeply with the operands.
_MAX_SHORT_SEARCH = 7
# Calls that read or write every element of their first argument, and make no array.
_FULL_SCANS = frozenset({"is_symmetric", "ndarray.flat.set", "ndarray.tobytes", "session.fetch"})
_MAX_SHORT_SCAN = 1 << 20  # bytes
_ENDLESS = 2**63 - 1  # steps of a loop that never ends
_ZIPF_OVERFLOW = 1025.0  # from this exponent on, 2 ** (a - 1) is infinite: zipf accepts no draw
_VONMISES_UNDERFLOW = 1e15  # above this kappa, every angle rounds to the mean: no draw is accepted

Rule = Callable[..., int]


def _diff(a: Any, n: Any = 1, *_: Any, **__: Any) -> int:
    return int(n)  # one subtraction of arrays for each order


def _round(a: Any, decimals: Any = 0, *_: Any, **__: Any) -> int:
    return abs(int(decimals)) // 500  # NumPy multiplies by 10 for each decimal: 2 ns each


def _multi_dot(arrays: Any, *_: Any, **__: Any) -> int:
    return len(arrays) ** 3 // 12  # n**3 / 6 iterations in Python, of half a microsecond each


def _seed_sequence(*_: Any, pool_size: Any = 4, **__: Any) -> int:
    return int(pool_size) ** 2  # every word of the pool is mixed into every other one


def _zipf(a: Any, size: Any = None) -> int:
    """Return the steps of `zipf`, which rejects draws above 2**63.

    It accepts a share of 1 - 2**(-63 * (a - 1)), which is about 43 * (a - 1) for `a` close to 1.
    """
    if float(np.max(a)) >= _ZIPF_OVERFLOW:
        return _ENDLESS
    least = float(np.min(a))
    if not 1.0 < least < 1.01:  # from 1.01 on, zipf accepts a third of its draws
        return 0
    accepted = np.size(a) if size is None else int(np.prod(size))
    return int(accepted / (43 * (least - 1)) / 20)  # 20 draws take a microsecond


def _vonmises(mu: Any, kappa: Any, size: Any = None) -> int:
    return _ENDLESS if float(np.max(kappa)) > _VONMISES_UNDERFLOW else 0


def _as_method(rule: Rule) -> Rule:
    """Return the rule for a method, whose first argument is the generator."""

    def shifted(_: Any, *args: Any, **kwargs: Any) -> int:
        return rule(*args, **kwargs)

    return shifted


def _jumped(generator: Any, jumps: Any = 1) -> int:
    # MT19937 takes about a millisecond for each jump; the other kinds take all jumps at once.
    return 1000 * int(jumps) if isinstance(generator, np.random.MT19937) else 0


RULES: dict[str, Rule] = {
    "around": _round,
    "diff": _diff,
    "generator.jumped": _jumped,
    "linalg.multi_dot": _multi_dot,
    "ndarray.__round__": _round,
    "ndarray.round": _round,
    "random.RandomState.vonmises": _as_method(_vonmises),
    "random.RandomState.zipf": _as_method(_zipf),
    "random.SeedSequence": _seed_sequence,
    "random.vonmises": _vonmises,
    "random.zipf": _zipf,
    "round": _round,
}


def is_long(name: str, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Return True if the operation takes longer than its price and size suggest.

    Args:
        name: The operation, method or session call.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        QuotaExceededError: It would take more than `MAX_STEPS` steps; it has not run.
    """
    if name in _PATH_SEARCHES:
        operands = args[0] if name == "session.path" and args else args
        return isinstance(operands, (list, tuple)) and len(operands) > _MAX_SHORT_SEARCH
    if name in _FULL_SCANS:
        return any(getattr(value, "nbytes", 0) > _MAX_SHORT_SCAN for value in args[:1])
    rule = RULES.get(name)
    if rule is None:
        return False
    try:
        steps = rule(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
    except Exception:
        return False  # invalid arguments: NumPy raises the error that the client expects
    if steps > MAX_STEPS:
        raise QuotaExceededError("max_steps", allowed=MAX_STEPS, wanted=steps)
    return steps > _MAX_SHORT_STEPS
