"""Hooks of the documentation's build; `mkdocs.yml` names this file.

- The repository's address comes from `[project.urls]` of `pyproject.toml`; without that table
  the site links no repository.
- `CONTRIBUTING.md` and `CHANGELOG.md`, which stand at the root of the repository, become pages.
- The drawings are put into the pages as they are, so that they follow the page's colours.
- The theme's search dialog gets a name.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# Pages of the site that are kept at the root of the repository: address, then file.
ROOT_PAGES = {"contributing/index.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_DRAWING = re.compile(r'<p><img alt="([^"]*)" src="[^"]*/diagrams/([\w-]+)\.svg" ?/?></p>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take addresses from `pyproject.toml`."""
    urls = project_urls(ROOT / "pyproject.toml")
    repository = urls.get("repository") or urls.get("source")
    if repository:
        config.repo_url = repository
        config.repo_name = repository.rstrip("/").rpartition("/")[2]
    config.site_url = urls.get("documentation") or config.site_url
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand at the root of the repository."""
    for address, name in ROOT_PAGES.items():
        text = (ROOT / name).read_text()
        content = relinked(text, address, config.repo_url)
        files.append(File.generated(config, address, content=content))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Put the drawings inline."""
    return _DRAWING.sub(_inline, html)


def on_post_page(output: str, **_: Any) -> str:
    """Name the search dialog, which the theme leaves without a name for screen readers."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"', 1)


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for pages that are no Markdown, such as 404.html."""
    return on_post_page(output_content)


def project_urls(pyproject: Path) -> dict[str, str]:
    """`[project.urls]`, with labels in lower case; empty where there is no such table."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return {label.lower(): url for label, url in project.get("urls", {}).items()}


def relinked(text: str, address: str, repository: str | None) -> str:
    """A Markdown file of the root as the page at `address`.

    Links to other pages lead there. Links to other files of the repository lead to the repository;
    without one, their words stay.
    """
    pages = {name: page for page, name in ROOT_PAGES.items()}
    folder = str(PurePosixPath(address).parent)

    def link(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        path, hash_mark, anchor = target.partition("#")
        if re.match(r"\w+:", target) or not path:
            return match[0]
        page = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is not None:
            return f"{mark}[{words}]({os.path.relpath(page, folder)}{hash_mark}{anchor})"
        if repository is None:
            return words
        return f"{mark}[{words}]({repository.rstrip('/')}/blob/HEAD/{path}{hash_mark}{anchor})"

    return _LINK.sub(link, text)


def _inline(match: re.Match[str]) -> str:
    words, name = match.groups()  # the words are HTML already
    svg = (ROOT / "docs" / "assets" / "diagrams" / f"{name}.svg").read_text()
    # A drawing that is wider than the page is scrolled, also with the keyboard.
    return f'<div class="drawing-frame" role="group" aria-label="{words}" tabindex="0">{svg}</div>'
