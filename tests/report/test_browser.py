"""The page as a person meets it, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meden.space import Choice
from meden.study.page import study_report
from tests.report.browser import CHROMIUM, Browser
from tests.report.studies import EVIL, SPACE, any_network, study

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with hostile text in every place a user can fill."""
    space = {EVIL: Choice(EVIL, "</script>", "$x$ %{y} <b>b</b>"), "l2": SPACE["l2"]}
    hostile = {"space": space, "target": EVIL, "labels": (EVIL, "good"), "reason": EVIL}
    made = study(9, diverged=(1,), make_model=any_network, **hostile)
    return study_report(made, tmp_path_factory.mktemp("report") / "report.html", title=EVIL)


def test_no_complaint_no_request_no_dialog(browser: Browser, path: Path) -> None:
    browser.open(path)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.dialogs == 0
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.title") == EVIL


def test_every_chart_is_drawn_with_literal_labels(browser: Browser, path: Path) -> None:
    browser.open(path)
    charts = browser.evaluate("document.querySelectorAll('figure').length")
    assert charts == browser.evaluate("document.querySelectorAll('figure .main-svg .cartesianlayer').length") > 2
    titles = browser.evaluate("[...document.querySelectorAll('.xtitle')].map(t => t.textContent)")
    assert EVIL[:39] + "…" in titles
    ticks = browser.evaluate("[...document.querySelectorAll('.xtick text')].map(t => t.textContent)")
    assert {"</script>", "<script>alert…"} <= set(ticks)


def test_headers_sort_and_empty_cells_stay_last(browser: Browser, path: Path) -> None:
    browser.open(path)
    column = "[...document.querySelectorAll('tbody tr')].map(r => r.children[2].dataset.value)"
    click = "document.querySelectorAll('th button')[2].click()"
    for reverse in (False, True):
        browser.evaluate(click)
        values = browser.evaluate(column)
        assert values[-1] == "" and [float(v) for v in values[:-1]] == sorted(map(float, values[:-1]), reverse=reverse)


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(browser: Browser, path: Path, width: int) -> None:
    browser.size(width, 900)
    browser.open(path)
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_dark_scheme_reaches_page_and_charts(browser: Browser, path: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.open(path)
        style = "(selector, name) => getComputedStyle(document.querySelector(selector))[name]"
        where = (("body", "backgroundColor"), (".xtick text", "fill"), (".gridlayer path", "stroke"))
        colours[scheme] = [browser.evaluate(f"({style})('{selector}', '{name}')") for selector, name in where]
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))


def test_the_browser_would_have_told(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(f"<script>console.error('x')</script><img src='http://127.0.0.1:9/x.png'>{EVIL}")
    before = browser.dialogs
    browser.open(page)
    assert browser.complaints() and browser.dialogs > before
    assert "http://127.0.0.1:9/x.png" in browser.requests()
