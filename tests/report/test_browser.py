"""The page as a person meets it, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from meden.cli.rows import without_formulas
from meden.report import Code, Column, Key, Report, ReportTable, Section, TableRow, write
from meden.space import Choice, LogUniform
from meden.study.check import check
from meden.study.page import study_report
from meden.study.results import BASELINES
from tests.report.browser import CHROMIUM, Browser
from tests.report.drawn import charts
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
    for reverse in (False, True):
        browser.click("th:nth-child(3) button")
        values = browser.evaluate(column)
        assert values[-1] == "" and [float(v) for v in values[:-1]] == sorted(map(float, values[:-1]), reverse=reverse)


@pytest.mark.parametrize("width", [1400, 900, 390])
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


CELLS = ["=1+1", "+cmd", "-2+3", "@x", "\uff1d1", "-0.5", 'say "a, b"', "two\nlines", "\tx", "plain", ""]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of chart, a table that is too wide and too long, and code."""
    wide = (Column("=name", numeric=False), *(Column(f"column {i}") for i in range(30)))
    rows = tuple(TableRow((text, -1.5, None, *range(28))) for text in CELLS * 4)
    sections = (
        *(Section(title=kind, keys=(Key("a <b>", "●", "#123456"),), charts=(c,)) for kind, c in charts().items()),
        Section(title="Table", table=ReportTable(wide, rows)),
        Section(title="Code", codes=(Code("first", "x = 1"), Code("second", EVIL))),
    )
    return write(Report(title="All", lead="All.", sections=sections), tmp_path_factory.mktemp("all") / "all.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 390])
def test_every_kind_of_chart_is_drawn(browser: Browser, gallery: Path, width: int, scheme: str) -> None:
    browser.size(width, 900)
    browser.scheme(scheme)
    browser.open(gallery)
    assert browser.complaints() == [] and browser.requests() == [gallery.as_uri()]
    assert browser.evaluate("document.querySelectorAll('figure .cartesianlayer .trace').length") > len(charts())
    assert browser.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures_stand_alone(browser: Browser, gallery: Path, tmp_path: Path, kind: str) -> None:
    browser.open(gallery)
    picture = browser.download(f"#gains button[data-do={kind}]", tmp_path)
    assert picture.name == f"loss-of-each-model.{kind}"
    if kind == "png":
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
    else:
        text = "".join(ElementTree.parse(picture).getroot().itertext())
        assert all(part in text for part in ("Loss of each model", "● a <b>", "plain", "nats"))
    assert browser.complaints() == [] and browser.requests() == [gallery.as_uri()]


def test_a_table_is_saved_as_csv_that_runs_no_formula(browser: Browser, gallery: Path, tmp_path: Path) -> None:
    browser.open(gallery)
    found = pd.read_csv(browser.download("#table button[data-do=csv]", tmp_path), keep_default_na=False)
    wanted = without_formulas(pd.DataFrame({"=name": CELLS * 4}))
    numbers = {"'-0.5": "-0.5"}  # a number is none
    assert found.columns[0] == "'=name" and len(found.columns) == 31
    assert found["'=name"].tolist() == [numbers.get(text, text) for text in wanted["'=name"]]
    assert set(found["column 0"]) == {-1.5} and set(found["column 1"]) == {""}


def test_code_is_copied(browser: Browser, gallery: Path) -> None:
    browser.open(gallery)
    browser.evaluate("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    browser.click("#code .code:nth-of-type(2) button")
    assert browser.evaluate("window.copied") == EVIL
    assert browser.evaluate("document.querySelector('#code .code:nth-of-type(2) button').textContent") == "Copied"
    browser.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
    browser.click("#code .code button")
    assert browser.evaluate("window.getSelection().toString()") == "x = 1"


def test_contents_stand_beside_the_report_where_there_is_room(browser: Browser, gallery: Path) -> None:
    box = "document.querySelector('nav').getBoundingClientRect()"
    browser.size(1400, 900)
    browser.open(gallery)
    assert browser.evaluate("document.querySelector('nav details').open")
    browser.click("nav li:last-child a")
    assert browser.evaluate("location.hash") == "#code" and browser.evaluate(f"{box}.top") == 0
    assert browser.evaluate("document.querySelector('#code').getBoundingClientRect().top") < 900
    browser.size(390, 900)
    browser.open(gallery)
    assert not browser.evaluate("document.querySelector('nav details').open")


def test_rows_are_one_line_and_headers_stay_and_a_wide_table_says_so(browser: Browser, gallery: Path) -> None:
    browser.size(1400, 900)
    browser.open(gallery)
    heights = "[...document.querySelectorAll('#table tbody tr')].map(row => row.offsetHeight)"
    found = browser.evaluate(heights)
    assert max(found) - min(found) <= 1, "the last has no line below it"
    assert not browser.evaluate("document.querySelector('#table .hint').hidden")
    browser.evaluate("document.querySelector('#table .box').scrollTop = 300")
    tops = "['.box', 'th'].map(name => document.querySelector(`#table ${name}`).getBoundingClientRect().top)"
    box, header = browser.evaluate(tops)
    assert abs(box - header) <= 2


@pytest.mark.parametrize("num_searched", [2, 4, 6])
def test_no_column_of_a_study_is_cut_off(browser: Browser, tmp_path: Path, num_searched: int) -> None:
    browser.size(1400, 900)
    names = ("l2", "l1", "lr", "max_norm", "label_smoothing", "ema_decay")
    space = dict.fromkeys(names[:num_searched], LogUniform(1e-4, 0.5))
    made = study(12, space=space, diverged=(3,), baselines=dict.fromkeys(BASELINES, 0.1))
    browser.open(study_report(made, tmp_path / "report.html"))
    assert browser.evaluate("[...document.querySelectorAll('.box')].every(box => box.scrollWidth <= box.clientWidth)")
    assert browser.evaluate("[...document.querySelectorAll('.hint')].every(hint => hint.hidden)")


@pytest.mark.parametrize("width", [1400, 390])
def test_a_study_with_everything_is_drawn(browser: Browser, tmp_path: Path, width: int) -> None:
    made = study(40, num_folds=4, baselines=dict.fromkeys(BASELINES, 0.1))
    browser.size(width, 900)
    browser.open(page := study_report(made, tmp_path / "report.html"))
    assert browser.complaints() == [] and browser.requests() == [page.as_uri()]
    drawn = browser.evaluate("document.querySelectorAll('figure .main-svg .cartesianlayer').length")
    assert drawn == browser.evaluate("document.querySelectorAll('figure').length") > 8
    assert browser.evaluate("document.querySelectorAll('#what-mattered .bars .point').length") > 0
    assert browser.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1400, 390])
def test_a_check_with_hostile_names_is_drawn(browser: Browser, tmp_path: Path, width: int) -> None:
    draw = np.random.default_rng(0)
    names = np.array([EVIL, "<i>b</i>", "$c$"])
    labels = np.arange(240) % 3
    frame = pd.DataFrame(draw.standard_normal((240, 4)) + 6 * np.eye(4)[labels], columns=[EVIL, "<b>", "$x$", "{{d}}"])
    labels[:12] = (labels[:12] + 1) % 3  # wrong ones
    frame = frame.assign(part=np.where(draw.random(240) < 0.3, "test", "train"), target=names[labels])
    frame.loc[frame["part"] == "test", "<b>"] += 3
    again = frame.iloc[20:29].assign(part=lambda copied: copied["part"].map({"train": "test", "test": "train"}))
    made = check(pd.concat([frame, again]), target="target", split="part")
    assert {"rows_across", "label_suspects", "split_drift"} <= {finding.code for finding in made.findings}
    path = made.report(tmp_path / "check.html")
    browser.size(width, 900)
    before = browser.dialogs
    browser.open(path)
    assert browser.complaints() == [] and browser.dialogs == before and browser.requests() == [path.as_uri()]
    drawn = "document.querySelectorAll('figure .main-svg .cartesianlayer').length"
    assert browser.evaluate("document.querySelectorAll('figure').length") == browser.evaluate(drawn) == 2
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_the_browser_would_have_told(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(f"<script>console.error('x')</script><img src='http://127.0.0.1:9/x.png'>{EVIL}")
    before = browser.dialogs
    browser.open(page)
    assert browser.complaints() and browser.dialogs > before
    assert "http://127.0.0.1:9/x.png" in browser.requests()
