"""Makes docs/reference/cli.md from the argparse parsers of the command line."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from shm_echo.cli import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

_CODE = re.compile(r"(--[a-z][a-z-]+|[A-Z]+(?:_[A-Z]+)+|__\w+__\.py|[a-z]+://(?:[\w./:]*\w)?)")

_HEAD = """# Command line

The package installs one command, `shm-echo`, with a sub-command for each task. `shm-echo --version`
prints the version; `shm-echo COMMAND --help` prints what this page says about a command.

| Command | Purpose |
|---|---|
"""
_FOOT = "\nThis page is made from the parsers of the commands by `tools/cli_page.py`.\n"


def page() -> str:
    """The text of the page."""
    parser, _ = main._parser()
    choices = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = [_HEAD]
    for command in choices._choices_actions:
        link = f"[`shm-echo {command.dest}`](#shm-echo-{command.dest})"
        parts.append(f"| {link} | {_sentence(command.help or '')} |\n")
    parts.extend(section(name, command) for name, command in choices.choices.items())
    return "".join(parts) + _FOOT


def files() -> dict[Path, str]:
    """The page by its path."""
    return {PAGE: page()}


def section(name: str, parser: argparse.ArgumentParser) -> str:
    """One command: its synopsis, its description, and a table of its arguments."""
    actions = [action for action in parser._actions if action.dest != "help"]
    rows = "".join(
        f"| {_anchored(name, action)} | {_cell(_help(parser, action))} |\n" for action in actions
    )
    return (
        f"\n## shm-echo {name}\n\n```sh\n{synopsis(name, actions)}\n```\n\n"
        f"{_cell(parser.description or '')}\n\n| Argument | Meaning |\n|---|---|\n{rows}"
    )


def synopsis(name: str, actions: list[argparse.Action]) -> str:
    """The command as it is typed: required options by name, all others as `[OPTIONS]`."""
    words = ["shm-echo", name, "[OPTIONS]"]
    for action in actions:
        if action.option_strings and action.required:
            words.append(_spelled(action))
        elif action.nargs == argparse.REMAINDER:
            words.append(f"[{action.metavar or action.dest} ...]")
        elif not action.option_strings:
            upper = str(action.metavar or action.dest).upper()
            words.append(f"[{upper}]" if action.nargs == "?" else upper)
    return " ".join(words)


def _spelled(action: argparse.Action) -> str:
    """An argument with the name of its value: `--actors N`, `-v, --verbose`, `URL`."""
    if not action.option_strings:
        return str(action.metavar or action.dest).upper()
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    return f"{names} {value}"


def _anchored(command: str, action: argparse.Action) -> str:
    longest = max(action.option_strings, key=len, default=action.dest)
    anchor = f"{command}-{longest.lstrip('-')}"
    return f'<a id="{anchor}" href="#{anchor}">`{_spelled(action).replace("|", chr(92) + "|")}`</a>'


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help text with its defaults filled in, as a sentence."""
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    required = " Required." if action.option_strings and action.required else ""
    return _sentence(text) + required


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _cell(text: str) -> str:
    """Plain text as Markdown, with the options, variables and addresses that it names in code."""
    parts = _CODE.split(text)  # what matches stands at the odd places
    for i, part in enumerate(parts):
        escaped = re.sub(r"[|*_]", r"\\\g<0>", part).replace("<", "&lt;")
        parts[i] = f"`{part}`" if i % 2 else escaped
    return "".join(parts)
