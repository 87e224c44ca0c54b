"""The output of the demo: figures, lines, table and plot."""

from __future__ import annotations

import dataclasses
import io
import logging
import signal
from pathlib import Path

import pytest

from shm_echo.demo.delivery_audit import DeliveryReport
from shm_echo.demo.fleet import Death
from shm_echo.demo.history import History, Throughput
from shm_echo.demo.ledger import Sends
from shm_echo.demo.log_capture import LogCapture
from shm_echo.demo.run_records import Options, Outcome, Progress
from shm_echo.demo.summary import summarise
from shm_echo.demo.view import PlainView, progress_view

INTACT = DeliveryReport(received=1000, torn=0, duplicated=0, lost=0, unsent=0, overtook=0)


def history(*returns: float) -> History:
    one = History()
    one.add_batch(list(returns), samples=10, transitions=320)
    return one


def outcome(*returns: float, delivery: DeliveryReport = INTACT) -> Outcome:
    return Outcome(history(*returns), delivery, versions=7, deaths=[])


def progress(one: History) -> Progress:
    return Progress(
        history=one, producers=2, ring_fill=0.25, version=3, lag=1.5, deaths=0, last_log=""
    )


def test_means_are_taken_over_fifty_episodes_each() -> None:
    one = history(*[10.0] * 50, *[500.0] * 7, *[30.0] * 50)

    assert (one.first_mean, one.last_mean, one.improvement) == (10.0, 30.0, 3.0)


def test_there_is_no_improvement_before_first_and_last_episodes_are_apart() -> None:
    one = history(*[10.0] * 99)

    assert one.improvement is None


@pytest.mark.parametrize(("last", "improved"), [(30.0, True), (29.9, False)])
def test_three_times_the_return_is_an_improvement(last: float, improved: bool) -> None:
    one = outcome(*[10.0] * 50, *[last] * 50)

    assert one.improved is improved
    assert one.succeeded is improved


def test_an_improvement_with_a_lost_sample_is_no_success() -> None:
    lost = DeliveryReport(received=999, torn=0, duplicated=0, lost=1, unsent=0, overtook=0)
    one = outcome(*[10.0] * 50, *[100.0] * 50, delivery=lost)

    assert one.improved
    assert not one.succeeded
    assert "SOMETHING was lost or torn" in summarise(one, Options())


def test_the_table_names_the_facts_of_the_run() -> None:
    one = outcome(*[10.0] * 50, *[45.0] * 50)
    one.deaths.append(Death(actor=0, pid=123, signal=signal.SIGKILL, sends=Sends(5, 4)))

    lines = {line.strip() for line in summarise(one, Options()).splitlines()}
    words = {" ".join(line.split()) for line in lines}

    assert "mean return, first 50 10.0" in words
    assert "mean return, last 50 45.0" in words
    assert "policy versions published 7" in words
    assert "actors killed 1 (inside a send: 1)" in words
    assert "improved: 4.5x the return (3x is asked for); nothing was lost or torn" in words


def test_the_table_reports_a_run_that_was_too_short() -> None:
    assert "not enough episodes to compare: 3 of 100" in summarise(outcome(1, 2, 3), Options())


def test_plain_progress_is_one_line_per_two_seconds() -> None:
    now = 100.0
    stream = io.StringIO()
    view = PlainView(stream, clock=lambda: now)
    for now in [100.0, 100.1, 101.9, 102.0, 103.9, 104.1]:  # noqa: B007 (the clock reads it)
        view(progress(history(20.0)))

    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "producers 2" in lines[0]
    assert "ring fill 25%" in lines[0]
    assert "mean return 20.0" in lines[0]


def test_a_file_gets_no_control_characters() -> None:
    stream = io.StringIO()
    with progress_view(stream) as show:
        show(progress(History()))

    assert stream.getvalue().strip().isprintable()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    for variable, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}.items():
        monkeypatch.setenv(variable, value)  # independent of the terminal that runs the tests
    stream = Terminal()
    with progress_view(stream) as show:
        show(progress(history(20.0)))

    assert "mean return" in stream.getvalue()
    assert "20.0" in stream.getvalue()


def test_the_plot_is_a_png_even_of_a_run_without_events(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from shm_echo.demo.plot import write_plot

    busy = history(*[10.0] * 60)
    busy.throughput.append(Throughput(at=1.0, samples=10, transitions=320))
    busy.note_deaths(2)
    for name, one in {"empty": History(), "busy": busy}.items():
        path = tmp_path / f"{name}.png"
        write_plot(one, path)
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_deaths_are_noted_once() -> None:
    one = History()
    one.note_deaths(1)
    one.note_deaths(1)
    one.note_deaths(3)

    assert len(one.death_times) == 3


def test_the_librarys_warnings_go_into_the_view_while_it_runs_and_to_the_log_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("shm_echo")
    stream = io.StringIO()
    with LogCapture() as log_capture:
        logger.warning("producer %s has died", 7)
    logger.warning("back to normal")
    PlainView(stream)(dataclasses.replace(progress(History()), last_log=log_capture.latest))

    assert "producer 7 has died" in stream.getvalue()
    assert caplog.messages == ["back to normal"]
