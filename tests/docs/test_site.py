"""The built site: it is complete, and no page loads anything from another host.

`tox -e docs` builds the site and runs this with `--site FOLDER`. Elsewhere the tests build it by
themselves where mkdocs-material is installed, and are skipped where it is not.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Attributes whose address a browser loads by itself.
LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
# A link is loaded too, unless it only names a related page.
NOT_LOADED_LINKS = {"canonical", "next", "prev", "edit", "alternate", "author", "license"}

# Addresses in the theme's scripts, and the tests below that show that no page reaches them.
CONDITIONAL = {
    "https://unpkg.com/mermaid@": "loaded for an element of class mermaid only",
    "https://unpkg.com/resize-observer-polyfill": "named in a comment",
    "https://api.github.com/": "asked only where the site links a repository there",
}


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = request.config.getoption("--site")
    if given is not None:
        return Path(given)
    if not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("the extra docs is not installed: tox -e docs runs this")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """Collects what a page loads, shows and calls its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.classes: set[str] = set()
        self.headings: list[int] = []
        self.without_alt: list[str] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.classes.update(values.get("class", "").split())
        self.styles.append(values.get("style", ""))
        self.loaded += [values[name] for name in LOADED.get(tag, ()) if name in values]
        if tag == "link" and not NOT_LOADED_LINKS & set(values.get("rel", "").split()):
            self.loaded.append(values.get("href", ""))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img" and "alt" not in values:
            self.without_alt.append(values.get("src", ""))


def pages(site: Path) -> Iterator[tuple[str, Page]]:
    for path in sorted(site.rglob("*.html")):
        yield path.relative_to(site).as_posix(), Page(path.read_text())


def is_elsewhere(address: str) -> bool:
    """Return True if an address names a host, which a page of ours never does."""
    return re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE) is not None


def in_css(text: str) -> list[str]:
    """The addresses that a style sheet loads."""
    return [
        found.strip("\"' ")
        for found in re.findall(r"url\(([^)]*)\)", text)
        + re.findall(r"@import\s+[\"']([^\"']+)", text)
    ]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    found = [
        f"{name}: {address}"
        for name, page in pages(site)
        for address in [*page.loaded, *(a for style in page.styles for a in in_css(style))]
        if is_elsewhere(address)
    ]
    assert found == []


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert len(sheets) > 2
    found = [
        f"{path.name}: {address}"
        for path in sheets
        for address in in_css(path.read_text())
        if is_elsewhere(address)
    ]
    assert found == []


def test_scripts_name_other_hosts_only_where_no_page_leads(site: Path) -> None:
    """Comments apart: licences and sources are named there."""
    scripts = sorted(site.rglob("*.js"))
    assert scripts
    comments = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)
    found = [
        f"{path.name}: {address}"
        for path in scripts
        for address in re.findall(
            r"[\"'`](?:https?:)?//[\w.-]+\.[a-z]{2,}[^\"'`\s]*", comments.sub("", path.read_text())
        )
        if not address[1:].startswith(tuple(CONDITIONAL))
    ]
    assert found == []
    for name, page in pages(site):
        assert "mermaid" not in page.classes, name


def test_the_site_links_a_repository_only_if_the_project_names_one(site: Path) -> None:
    named = "[project.urls]" in (ROOT / "pyproject.toml").read_text()
    assert ("md-source" in Page((site / "index.html").read_text()).classes) is named


def test_images_have_texts_and_headings_follow_each_other(site: Path) -> None:
    for name, page in pages(site):
        assert page.without_alt == [], name
        for before, after in zip(page.headings, page.headings[1:], strict=False):
            assert after <= before + 1, f"{name}: a heading of level {after} follows {before}"


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "changelog.html",
        "contributing/index.html",
        "explanation/architecture.html",
        "explanation/benchmarks.html",
        "how-to/index.html",
        "reference/api/mechestim.html",
        "reference/api/shm-echo.html",
        "reference/cli.html",
        "reference/operations.html",
        "tutorials/index.html",
        # Addresses of 0.1 that moved.
        "getting-started.html",
        "mechestim/operations.html",
    ],
)
def test_the_page_is_there(site: Path, name: str) -> None:
    assert (site / name).is_file()


def test_every_operation_has_an_anchor(site: Path) -> None:
    from shm_echo.mechestim.registry import OPS

    text = (site / "reference/operations.html").read_text()
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert set(OPS) - anchors == set()


def test_every_public_name_is_in_the_api_pages(site: Path) -> None:
    import shm_echo
    from shm_echo import control, errors, mechestim, metrics
    from shm_echo.mechestim import service
    from shm_echo.mechestim.registry import OPS, Category

    homes = mechestim._HOMES
    public = {
        "shm_echo": set(shm_echo.__all__) - {"__version__", *errors.__all__, *metrics.__all__},
        "shm_echo.errors": set(errors.__all__),
        "shm_echo.metrics": {"SampleInfo", "HistSnapshot", "ProducerInfo"},
        "shm_echo.control": set(control.__all__),
        "shm_echo.mechestim": {name for name, home in homes.items() if home != "errors"},
        "shm_echo.mechestim.errors": {name for name, home in homes.items() if home == "errors"},
        "shm_echo.mechestim.flops": set(mechestim.flops.__all__),
        "shm_echo.mechestim.service": set(service.__all__),
    }
    expected = {f"{module}.{name}" for module, names in public.items() for name in names}
    # A distribution is an object of a private class; writing into arrays is a method.
    expected |= {
        f"shm_echo.mechestim.{op.name}".replace(".stats.", ".stats._")
        for op in OPS.values()
        if op.category is not Category.UNSUPPORTED
        and op.name != "random.Generator.bit_generator"  # an attribute, without a docstring
    }
    text = "".join(path.read_text() for path in (site / "reference/api").glob("*.html"))
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert sorted(expected - anchors) == []


def test_the_api_pages_show_no_markup_of_another_language(site: Path) -> None:
    """Docstrings are Markdown: a role of reStructuredText would be shown as it stands."""
    found = [
        f"{path.name}: {role}"
        for path in (site / "reference/api").glob("*.html")
        for role in re.findall(r":(?:class|meth|func|mod|attr|data|exc):<code>", path.read_text())
    ]
    assert found == []
