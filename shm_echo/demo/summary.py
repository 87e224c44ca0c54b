"""The table at the end of the demo: an `Outcome` as aligned lines and a verdict."""

from __future__ import annotations

import signal

from shm_echo.demo.history import WINDOW
from shm_echo.demo.run_records import REQUIRED_IMPROVEMENT, Options, Outcome

__all__ = ["summarise"]


def summarise(outcome: Outcome, options: Options) -> str:
    """Return the table as text, without a final newline."""
    rows = [*_training(outcome), *_stream(outcome)]
    if outcome.deaths or options.kill_actors:
        rows += _deaths(outcome)
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, _verdict(outcome)])


def _training(outcome: Outcome) -> list[tuple[str, str]]:
    history = outcome.history
    return [
        ("time", f"{history.elapsed:.1f} s"),
        ("episodes", f"{len(history.returns):,}"),
        (f"mean return, first {WINDOW}", _number(history.first_mean)),
        (f"mean return, last {WINDOW}", _number(history.last_mean)),
        ("policy versions published", f"{outcome.versions:,}"),
    ]


def _stream(outcome: Outcome) -> list[tuple[str, str]]:
    history, found = outcome.history, outcome.delivery
    seconds = max(history.elapsed, 1e-9)
    return [
        ("transitions", f"{history.transitions:,} ({history.transitions / seconds:,.0f}/s)"),
        ("samples", f"{found.received:,} ({found.received / seconds:,.0f}/s)"),
        ("lost", str(found.lost)),
        ("torn", str(found.torn)),
        ("duplicated", str(found.duplicated)),
        ("never sent", str(found.unsent)),
    ]


def _deaths(outcome: Outcome) -> list[tuple[str, str]]:
    killed = sum(death.signal == signal.SIGKILL for death in outcome.deaths)
    inside = sum(death.sends.inside for death in outcome.deaths)
    return [
        ("actors killed", f"{killed} (inside a send: {inside})"),
        ("overtook while refilling", str(outcome.delivery.overtook)),
    ]


def _verdict(outcome: Outcome) -> str:
    improvement = outcome.history.improvement
    if improvement is None:
        learnt = f"not enough episodes to compare: {len(outcome.history.returns)} of {2 * WINDOW}"
    else:
        word = "improved" if outcome.improved else "did not improve enough"
        learnt = f"{word}: {improvement:.1f}x the return ({REQUIRED_IMPROVEMENT:g}x is asked for)"
    whole = "nothing" if outcome.delivery.intact else "SOMETHING"
    return f"{learnt}; {whole} was lost or torn"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
