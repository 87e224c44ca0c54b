"""Names that were retired when the packages were rebuilt stay retired: no file names them again.

The changelog lists the paths that moved; everything else, sources, tests, pages and packaging, uses
the names of today. A new name that happens to equal a retired one belongs into none of these lists:
take it out here, and say so in the commit.
"""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Module paths, by package.
MODULES: dict[str, str] = {
    "shm_echo": "arguments delivery submit",
    "shm_echo.ring": "build _core _fast",
    "shm_echo.control": "access codec connection dial door endpoint forking frames handshake line "
    "link listener loop messages processes service sessions socketfile states tcp tokens",
    "shm_echo.demo": "continuity news outcome",
    "shm_echo.mechestim": "choice spinning",
    "shm_echo.mechestim.accounting": "amounts current looking session",
    "shm_echo.mechestim.costs": "contraction contraction_sizes creation dense einsum einsum_info "
    "einsum_path fft fft_sizes indexing interpolation linalg linalg_sizes matrix_chain norms "
    "pointwise polynomials reductions results sampling sampling_sizes shaping sizes sorting "
    "statistics stats windows",
    "shm_echo.mechestim.local": "caller fast gaussian refusal special",
    "shm_echo.mechestim.registry": "signatures",
    "shm_echo.mechestim.remote": "arena array callbacks channel contents context dial dtype_texts "
    "failures files flat frees functions helpers making operators pipe protocols random records "
    "scalar_types session turns values",
    "shm_echo.mechestim.service": "accounts arena aside board budgets catalogue ceiling crew "
    "employment extras failures foreign gate generators greeting limits pieces principals printing "
    "randomness resizing seats shortcuts sizes steps stream values warden warned worker",
    "mechestim": "accounting choice costs distributions local registry remote service spinning "
    "symmetry wire",
    "tests.fuzz": "inside",
    "tests.transports": "ways",
}
# Classes, functions and methods, as identifiers of Python anywhere.
PYTHON = {
    "Aside",
    "CallbackFailed",
    "Continuity",
    "ContinuityChecker",
    "Crew",
    "Door",
    "LetsGo",
    "LineClosedError",
    "LARGEST_BUDGET",
    "LineTimeoutError",
    "LinkBrokenError",
    "ListeningSocket",
    "MOST_DIGITS",
    "MechestimService",
    "MemoryWay",
    "OwnersExhausted",
    "ProcessSeat",
    "Purse",
    "Seat",
    "SessionEnded",
    "ShmWay",
    "SlotGuard",
    "Submitter",
    "TcpListening",
    "ThreadSeat",
    "Warden",
    "_Company",
    "interject",
    "let_go_in_child",
    "long_numbers",
    "listen_at",
    "listen_at_port",
    "open_to_strangers",
    "peek_frame",
    "reach_port",
    "step_aside",
}
# Functions of the C core.
C = {
    "she_barred",
    "she_blocked",
    "she_look",
    "she_look_at_times",
    "she_nudge",
    "she_seen",
    "she_unblocked",
}
# MechestimService is an alias that warns; its definition and its test name it.
ALLOWED = {
    "MechestimService": {"shm_echo/mechestim/service/__init__.py", "tests/mechestim/service"},
}
THIS = Path(__file__).relative_to(ROOT).as_posix()


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:
        pytest.skip("the files of the project are listed by git, and this is no checkout")
    return [name for name in listed if name not in (THIS, "CHANGELOG.md")]


def texts(*patterns: str) -> Iterator[tuple[str, str]]:
    for name in tracked(*patterns):
        path = ROOT / name
        if path.is_file():
            yield name, path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("package", MODULES)
def test_no_file_names_a_module_path_that_moved(package: str) -> None:
    names = "|".join(MODULES[package].split())
    # The alias `mechestim` is a whole name, and no part of `shm_echo.mechestim`.
    inside = r"(?<![\w.])" if package == "mechestim" else r"(?<!\w)"
    dotted = re.compile(rf"{inside}{re.escape(package)}\.({names})(?![\w])")
    imported = re.compile(rf"from {re.escape(package)} import (?:\w+(?: as \w+)?, )*({names})\b")
    as_path = re.compile(rf"(?<![\w/]){package.replace('.', '/')}/({names})\.py")
    found = [
        f"{name}: {match[0]}"
        for name, text in texts("*.py", "*.pyi", "*.md", "*.toml", "*.ini", "*.yml", "*.c", "*.h")
        if "newsfragments" not in name
        for pattern in (dotted, as_path, imported)
        for match in pattern.finditer(text)
        if not still_there(package, match[1])
    ]
    assert found == []


def still_there(package: str, name: str) -> bool:
    """Return True if a module of that path exists: its old name is then some other module's."""
    base = ROOT / package.replace(".", "/") / name
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()


def test_no_python_file_uses_a_retired_identifier() -> None:
    found = []
    for name, text in texts("*.py", "*.pyi"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        used = {token.string for token in tokens if token.type == tokenize.NAME} & PYTHON
        found += [
            f"{name}: {word}"
            for word in sorted(used)
            if not any(name.startswith(place) for place in ALLOWED.get(word, ()))
        ]
    assert found == []


def test_no_page_shows_a_retired_identifier_as_code() -> None:
    words = re.compile(rf"`[^`\n]*\b({'|'.join(sorted(PYTHON | C))})\b[^`\n]*`")
    found = [
        f"{name}: {match[0]}"
        for name, text in texts("*.md")
        if "newsfragments" not in name
        for match in words.finditer(text)
    ]
    assert found == []


def test_no_c_file_uses_a_retired_function() -> None:
    words = re.compile(rf"\b({'|'.join(sorted(C))})\b")
    found = [
        f"{name}: {m[0]}"
        for name, text in texts("*.c", "*.h", "*.pml", "*.py")
        for m in words.finditer(text)
    ]
    assert found == []
