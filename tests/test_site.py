"""The site is built strictly; it asks nobody else for anything, its links lead somewhere, and its search finds."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

import meden
from tests.report.browser import CHROMIUM, Browser

ROOT = Path(__file__).parents[1]
LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
LANGUAGES = ("", "zh/")
PLACES = (
    "index.html",
    "howto/any-trainer.html",
    "reference/search.html",
    "tutorials/tables.html",
    "zh/explain/couplings.html",
    "zh/leaks.html",
    "zh/reference/search.html",
)
"""Pages of each kind, the last two in English."""


class Page(HTMLParser):
    """What a page of the site loads, links to, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.anchors |= {known[name] for name in ("id", "name") if name in known}
        if tag in LOADING and known.get("rel") not in ("canonical", "alternate", "prev", "next"):
            self.loads.append(known.get(LOADING[tag], ""))
        if tag == "a" and "href" in known:
            self.links.append(known["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("mkdocs", "material", "mkdocstrings", "mkdocs_static_i18n", "jieba"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def outside(pages: dict[Path, Page]) -> list[tuple[str, str]]:
    """Return what pages load from elsewhere, with the page."""
    return [(path.name, url) for path, page in pages.items() for url in page.loads if re.match(r"(https?:)?//", url)]


def broken(pages: dict[Path, Page], site: Path) -> list[tuple[str, str]]:
    """Return links and files of the site that lead nowhere, with the page."""
    found = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the server's root
            continue
        for url in page.links + page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or not target.is_relative_to(site):
                found.append((str(path.relative_to(site)), url))
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append((str(path.relative_to(site)), url))
    return found


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 80 and outside(pages) == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles and [text for text in styles if re.search(r"url\(\s*['\"]?(https?:)?//|@import", text)] == []


def test_no_link_is_broken(site: Path, pages: dict[Path, Page]) -> None:
    assert broken(pages, site.resolve()) == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<script src="//cdn.example/a.js"></script><a href="no.html"></a><a href="#no"></a><a href="#p" id="p"></a>'
    )
    pages = {page: Page(page.read_text())}
    assert outside(pages) == [("page.html", "//cdn.example/a.js")]
    assert broken(pages, tmp_path) == [("page.html", "no.html"), ("page.html", "#no")]


@pytest.mark.parametrize("query", ["weight decay", "early stopping", "过拟合"])
def test_the_search_finds(site: Path, query: str) -> None:
    entries = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    found = [entry["location"] for entry in entries if query in (entry["title"] + entry["text"]).lower()]
    assert len(found) > 3
    chinese = not query.isascii()
    assert any(place.startswith("zh/") == chinese for place in found)
    if chinese:  # a word of its own, between marks that the search divides by
        words = [re.split(r"[\W]+", entry["title"] + " " + entry["text"]) for entry in entries]
        assert any(query in found for found in words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_leads_to_the_same_page_of_the_other_language(
    site: Path, pages: dict[Path, Page], language: str
) -> None:
    page = pages[site / language / "howto/tune.html"]
    other = "../../howto/tune.html" if language else "../zh/howto/tune.html"
    assert other in page.links


def test_the_reference_shows_no_file_in_the_place_of_a_function(site: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")}
    assert [path.name for path, text in texts.items() if 'class="doc doc-object doc-module"' in text] == []
    assert 'class="doc doc-object doc-function"' in texts[site / "reference/search.html"]


def test_examples_of_the_reference_are_code(site: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")}
    assert [name for name, text in texts.items() if "<summary>Example</summary>" in text] == []


def test_attributes_of_the_estimators_have_their_own_types(site: Path) -> None:
    text = re.sub("<[^>]+>", "", (site / "reference/integrations.html").read_text(encoding="utf-8"))
    shown = dict(re.findall(r"\b([a-z_]+_)\s+\(([^()]+)\)\s+\u2013", text))
    assert shown["support_"] == "NDArray[bool_]" and shown["selection_"] == "InputSelection"
    assert shown["n_features_in_"] == "int" and shown["mixture_"] == "Mixture"


def test_a_page_without_chinese_says_so(site: Path) -> None:
    said = {name: "本页只有英文" in (site / name).read_text(encoding="utf-8") for name in PLACES}
    assert said == {name: name in ("zh/leaks.html", "zh/reference/search.html") for name in PLACES}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_ask_for_nothing(site: Path, browser: Browser, scheme: str) -> None:
    browser.scheme(scheme)
    browser.open(site / "index.html")
    browser.evaluate("localStorage.clear()")  # the scheme of an earlier visit
    for place in PLACES:
        for width in (360, 768, 1440):
            browser.size(width, 900)
            browser.open(site / place)
            assert browser.evaluate("document.documentElement.scrollWidth") == width, (place, width)
            shown = browser.evaluate("document.body.dataset.mdColorScheme")
            assert shown == {"light": "default", "dark": "slate"}[scheme]
            assert browser.complaints() == []
            assert [url for url in browser.requests() if not url.startswith(site.as_uri())] == []


@pytest.mark.browser
def test_the_search_finds_without_a_server(site: Path, browser: Browser) -> None:
    browser.size(1440, 900)
    for place in ("index.html", "zh/howto/tune.html"):
        browser.open(site / place)
        for query in ("weight decay", "early stopping", "过拟合"):
            browser.evaluate("document.querySelector('.md-search__input').value = ''")
            browser.click(".md-search__input")
            browser.send("Input.insertText", text=query)
            browser.send("Input.dispatchKeyEvent", type="keyUp", key="Shift")  # inserted text alone asks for nothing
            asked = quote(query.split()[0][:1])
            found = "[...document.querySelectorAll('.md-search-result__item > a')].map(a => a.search)"
            shown = f"{found}.some(text => text.startsWith('?h={asked}'))"
            waiting = f"const look = () => {shown} ? done() : setTimeout(look, 50); look()"
            browser.evaluate(f"new Promise((done, failed) => {{setTimeout(failed, 60000); {waiting}}})")
        assert browser.complaints() == []


def test_every_public_name_is_in_the_reference() -> None:
    spec = importlib.util.spec_from_file_location("meden_site", ROOT / "tools/site.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    listed = {name for page in made.PAGES for name in made.listed(page)}
    public = {name for name in meden.__all__ if inspect.isclass(getattr(meden, name)) or callable(getattr(meden, name))}
    assert len(public) > 40 and public - listed == set()
