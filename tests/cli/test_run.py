"""`shm-echo run`: a program under a budget that it cannot lift, and the ways in which it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.mechestim_server import ROOT
from tests.support.terminal import Terminal
from tests.support.waiting import WATCHDOG

COMMAND = [sys.executable, "-m", "shm_echo.cli.main", "run"]


def program(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def run(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*COMMAND, *args],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )


SEED = """
    import mechestim as me, sys
    assert me.backend == "remote" and "numpy" not in sys.modules
    with me.BudgetContext(flop_budget=10**6, quiet=True) as budget:
        x = me.ones((256,))
        W = me.ones((256, 256))
        h = me.einsum('ij,j->i', W, x)
        print(h.sum(), budget.flops_used, sys.argv[1:])
    sys.exit(3)
"""


@pytest.mark.parametrize("isolation", ["threads", "process"])
def test_the_program_is_a_client_and_its_summary_is_printed_at_the_end(
    tmp_path: Path, isolation: str
) -> None:
    options = ["--flop-budget", "1e6", "--isolation", isolation]
    done = run(*options, program(tmp_path, SEED), "one", "--two")
    assert done.returncode == 3, done.stderr
    assert done.stdout == "65536.0 131328 ['one', '--two']\n"
    assert done.stderr == textwrap.dedent(
        """\
        mechestim FLOP Budget Summary
        =============================
          Total budget:       1,000,000
          Used:                 131,328  (13.1%)
          Remaining:            868,672  (86.9%)

          By operation:
            einsum                131,072  ( 99.8%)  [1 call]
            sum                       256  (  0.2%)  [1 call]
        """
    )


def test_the_program_cannot_lift_the_budget(tmp_path: Path) -> None:
    text = """
        import mechestim as me
        x = me.ones((1000,))
        done = 0
        for _ in range(5):
            with me.BudgetContext(flop_budget=10**12, flop_multiplier=1e-9, quiet=True):
                try:
                    x + x
                    done += 1
                except me.BudgetExhaustedError as error:
                    print(done, error.flops_remaining, error.of_the_server)
                    break
        try:
            with me.BudgetContext(flop_budget=10, quiet=True):
                x + x
        except me.BudgetExhaustedError as error:
            print(error.of_the_server)
    """
    done = run("--flop-budget", "2500", program(tmp_path, text))
    assert (done.returncode, done.stdout) == (0, "2 500 True\nFalse\n"), done.stderr
    assert "(80.0%)" in done.stderr


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run("--flop-budget", "1e6", str(tmp_path / "nothing.py"))
    assert done.returncode == 2
    assert done.stderr == f"shm-echo run: the program {tmp_path}/nothing.py does not exist\n"


def test_a_folder_is_a_program_only_if_it_has_a_main(tmp_path: Path) -> None:
    done = run("--flop-budget", "1e6", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"shm-echo run: {tmp_path} is a folder without a __main__.py\n"
    (tmp_path / "__main__.py").write_text("print('ran')")
    assert run("--flop-budget", "1e6", str(tmp_path)).stdout == "ran\n"


def test_a_budget_must_be_given(tmp_path: Path) -> None:
    done = run(program(tmp_path, SEED))
    assert done.returncode == 2
    assert "--flop-budget" in done.stderr


def test_a_program_that_fails_says_why_itself(tmp_path: Path) -> None:
    done = run("--flop-budget", "1e6", program(tmp_path, "raise SystemExit('no way')"))
    assert done.returncode == 1
    assert done.stderr.startswith("no way\nmechestim FLOP Budget Summary\n")


def test_a_program_that_a_signal_ends_gives_a_status_that_says_so(tmp_path: Path) -> None:
    text = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run("--flop-budget", "1e6", program(tmp_path, text)).returncode == 128 + 9


def test_the_wall_time_ends_the_session_and_the_program_gets_an_error(tmp_path: Path) -> None:
    # On a busy machine it may be reminded to end before it has done so by itself.
    text = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        import mechestim as me
        try:
            x = me.ones((10,))
            while True:
                x + x
        except ConnectionError as error:
            print(error)
    """
    done = run("--flop-budget", "1e15", "--wall-time", "1.5", program(tmp_path, text))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("has ended: its wall time of 1.5 s is over (wall_time_s)\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_forwarded_and_the_summary_is_still_printed(
    tmp_path: Path, number: signal.Signals
) -> None:
    text = """
        import os, signal, sys, mechestim as me

        def ended(number, frame):  # not with print: the other one may be under way still
            os.write(1, b"signal %d\\n" % number)
            sys.exit(7)

        signal.signal(signal.SIGTERM, ended)
        signal.signal(signal.SIGINT, ended)
        me.ones((10,)) + 1
        os.write(1, b"ready\\n")
        signal.pause()
    """
    running = subprocess.Popen(
        [*COMMAND, "--flop-budget", "1e6", program(tmp_path, text)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    out, err = running.communicate(timeout=WATCHDOG)
    assert (running.returncode, out) == (7, f"signal {int(number)}\n")
    assert "add " in err


def test_ctrl_c_at_a_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    text = """
        import signal, mechestim as me
        known = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, known)
        me.ones((10,)) + 1
        print("ready", flush=True)
        interrupted = 0
        while signal.sigwait(known) == signal.SIGINT:
            interrupted += 1
            print("interrupted", flush=True)
        print("interrupted in all:", interrupted, flush=True)
    """
    with Terminal([*COMMAND, "--flop-budget", "1e6", program(tmp_path, text)]) as terminal:
        terminal.read_until(b"ready")
        terminal.type(b"\x03")
        terminal.read_until(b"interrupted")
        # The command takes SIGINT first, and would have passed it on before this.
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait() == 0
        assert b"interrupted in all: 1\r\n" in terminal.said
        assert b"Remaining" in terminal.said


def test_a_syntax_error_is_reported_by_python_before_the_summary(tmp_path: Path) -> None:
    done = run("--flop-budget", "1e6", program(tmp_path, "def f(:"))
    assert done.returncode == 1
    assert "SyntaxError: " in done.stderr.partition("mechestim FLOP Budget Summary\n")[0]
    assert "shm_echo" not in done.stderr


def test_a_program_that_ends_at_once_keeps_its_status_and_its_summary(tmp_path: Path) -> None:
    text = "import os, mechestim as me; me.ones((10,)) + 1; os._exit(3)"
    done = run("--flop-budget", "1e6", program(tmp_path, text))
    assert done.returncode == 3
    assert "add " in done.stderr


def test_all_arguments_after_the_program_are_the_programs(tmp_path: Path) -> None:
    path = program(tmp_path, "import sys; print(sys.argv[1:])")
    done = run("--flop-budget", "1e6", path, "a", "--flop-budget", "2", "-h", "--", "b")
    assert (done.returncode, done.stdout) == (0, "['a', '--flop-budget', '2', '-h', '--', 'b']\n")


def test_a_program_whose_name_begins_with_a_hyphen_is_no_option_of_python(tmp_path: Path) -> None:
    (tmp_path / "-V").write_text("print('ran')")
    done = subprocess.run(
        [*COMMAND, "--flop-budget", "1e6", "--", "-V"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
