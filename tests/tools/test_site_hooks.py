"""The hooks of the site's build: addresses from pyproject.toml, pages from the root."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="mkdocs comes with the extra 'docs'")

from tools import site_hooks

TEXT = """\
See [the ring](docs/explanation/ring.md#holes), [changes](CHANGELOG.md), [the licence](LICENSE),
[a heading](#here) and [elsewhere](https://example.org/x.md). ![A picture](docs/demo.png)
"""


def test_links_between_pages_lead_to_pages() -> None:
    text = site_hooks.relinked(TEXT, "contributing/index.md", None)
    assert "[the ring](../explanation/ring.md#holes)" in text
    assert "[changes](../changelog.md)" in text
    assert "![A picture](../demo.png)" in text
    assert "[a heading](#here)" in text
    assert "[elsewhere](https://example.org/x.md)" in text


def test_a_link_to_another_file_needs_a_repository() -> None:
    without = site_hooks.relinked(TEXT, "changelog.md", None)
    assert ", the licence," in without
    having = site_hooks.relinked(TEXT, "changelog.md", "https://example.org/repo/")
    assert "[the licence](https://example.org/repo/blob/HEAD/LICENSE)" in having


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", {}),
        ('urls = { Repository = "https://example.org" }', {"repository": "https://example.org"}),
    ],
)
def test_addresses_are_those_of_the_project(
    tmp_path: Path, table: str, expected: dict[str, str]
) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(f'[project]\nname = "x"\n{table}\n')
    assert site_hooks.project_urls(pyproject) == expected


def test_a_drawing_is_put_inline_with_its_words() -> None:
    html = '<p><img alt="A &amp; B" src="../assets/diagrams/slot-states.svg" /></p>'
    page = site_hooks.on_page_content(html)
    assert 'aria-label="A &amp; B"' in page
    assert "<svg" in page
    assert "<img" not in page


def test_examples_in_docstrings_become_code() -> None:
    pytest.importorskip("griffe", reason="griffe comes with the extra 'docs'")
    from tools.griffe_doctests import fenced

    before = "One line.\n\n>>> f(1)\n[1, 2]\n>>> f(2)\n3\n\nThe end."
    after = "One line.\n\n```pycon\n>>> f(1)\n[1, 2]\n>>> f(2)\n3\n```\n\nThe end."
    assert fenced(before) == after
    assert fenced("No example >>> here.") == "No example >>> here."
