"""The report in Chinese, as HTML and in a browser."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from meden.cli import demo_page
from meden.language import Own
from meden.report.charts import axis_title, chart, label, scatter
from meden.report.document import Column, Report, ReportTable, Section, TableRow, Tile
from meden.report.markdown import markdown
from meden.report.page import render
from tests.language.english import english
from tests.report.browser import CHROMIUM, Browser
from tests.report.studies import EVIL, study


def shown(page: str) -> str:
    """Return the text of a page, without scripts, styles, code and facts."""
    page = re.sub(r"(?s)<(script|style|code|dd)[ >].*?</\1>", " | ", page)
    return unescape(re.sub(r"<[^>]*>", "\n", page).replace(EVIL, ""))


@pytest.fixture
def path(chinese, tmp_path: Path) -> Path:
    baselines = {"constant": 0.5, "linear": 0.1, "trees": 0.2, "plain": 0.3, "plain_stopped": 0.1}
    made = study(diverged=(3,), task="regression", target="loss", baselines=baselines)
    return made.report(tmp_path / "report.html")


def test_a_page_is_chinese(path) -> None:
    page = path.read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    assert english(shown(page)) == []
    assert "学习曲线" in page and ">复制<" in page and 'data-copied="已复制"' in page
    assert re.search(r"<dt>目标</dt><dd>loss（回归）</dd>", page)
    labels = re.findall(r'"(?:text|hovertext|ticktext|hovertemplate)": ("(?:[^"\\]|\\.)*"|\[[^\]]*\])', page)
    assert len(labels) > 10
    assert english(" | ".join(labels).encode().decode("unicode_escape")) == []


def test_addresses_of_sections_are_those_of_the_english_page(path, monkeypatch) -> None:
    ids = re.findall(r'<section id="([^"]*)"', path.read_text(encoding="utf-8"))
    assert "score-against-strength" in ids
    monkeypatch.setenv("MEDEN_LANG", "en")
    report = Report(title="One run", lead="", sections=(Section(title="Learning curves"),))
    english_page = render(report)
    monkeypatch.setenv("MEDEN_LANG", "zh")
    assert re.findall("id=.*?>", english_page) == re.findall("id=.*?>", render(report))


def test_names_in_a_report_stay(chinese) -> None:
    columns = (Column("column", False), Column(Own("loss")), Column("severity", False, worded=True))
    drawn = chart(
        Own("best"),
        [scatter(x=[1], y=[1], hovertext=["loss<br>held-out loss 1"], name="chosen")],
        x=axis_title(Own("epoch")),
        y=axis_title("epoch") | {"ticktext": [label(Own("chosen")), label("chosen")]},
    )
    section = Section(
        title="Learning curves", charts=(drawn,), table=ReportTable(columns, (TableRow(("best", 1, "warning")),))
    )
    report = Report(title="Check of loss", lead="", tiles=(Tile("target", Own("loss")),), sections=(section,))
    text = markdown(report)
    assert "# loss 的检查" in text and "**目标**: loss" in text and "HTML 报告里可以看到：best" in text
    assert "| 列 | loss | 严重程度 |" in text and "| best | 1 | 警告 |" in text
    page = render(report)
    assert '"ticktext": ["chosen", "\\u6240\\u9009"]' in page
    assert '["loss\\u003cbr\\u003e\\u7559\\u51fa\\u635f\\u5931 1"]' in page
    assert '"xaxis": {' in page and '"text": "epoch"' in page and '"text": "\\u8f6e\\u6b21"' in page


def test_the_demo_has_no_english_section(chinese) -> None:
    accuracy = dict.fromkeys(("k nearest neighbours", "logistic regression", "support vector machine"), 90.0)
    accuracy |= {demo_page.PLAIN: 89.0, demo_page.ONE: 93.0, demo_page.CHOSEN: 94.0}
    parts = [
        demo_page.Outcome(
            accuracy={name: value + seed for name, value in accuracy.items()},
            without={"dropout": 93.0, "mixing images and smoothing labels": 92.0 + seed},
            curves={demo_page.PLAIN: [80.0, 89.0], demo_page.ONE: [85.0, 93.0]},
            params={"dropout": 0.1},
        )
        for seed in range(3)
    ]
    evidence = demo_page.Evidence.of(parts, 100, 1697)
    report = Report(
        title="Each split",
        lead=demo_page.intro(evidence),
        sections=tuple(demo_page.sections(evidence)),
        text=tuple(demo_page.verdict(evidence)),
    )
    assert english(markdown(report)) == []


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it(path, tmp_path_factory) -> None:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        assert browser.complaints() == []
        assert browser.evaluate("document.documentElement.lang") == "zh-CN"
        titles = browser.evaluate("[...document.querySelectorAll('.ytitle')].map(t => t.textContent)")
        assert any("损失" in title for title in titles)
        button = "document.querySelector('button[data-do=copy]')"
        browser.evaluate("navigator.clipboard.writeText = () => Promise.resolve()")
        browser.click("button[data-do=copy]")
        assert browser.evaluate(f"{button}.textContent") == "已复制"
