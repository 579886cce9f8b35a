"""The page of a learning curve, in a real browser: both curves and what lies beyond them are drawn, names stay text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from meden import LearningCurve, Recipe, as_dataset
from meden.models import MLP
from meden.study.data_summary import DataSummary
from meden.study.model_reference import ModelReference
from meden.study.selection import Score
from meden.study.size_curve import SizeCurve
from tests.report.browser import CHROMIUM, Browser
from tests.report.studies import EVIL

SIZES = np.geomspace(80, 1280, 8).round()


def made(*, breaks: bool = False) -> LearningCurve:
    random = np.random.default_rng(0)
    shared = 0.01 * random.normal(size=(5, 1))
    scatter = 0.15 * random.normal(size=(2, 5, 8)) / SIZES**0.5
    chosen = SizeCurve("chosen", SIZES, 0.2 + 4 * SIZES**-0.6 + shared + scatter[0])
    rises = 0.5 * (SIZES > 600) * breaks
    plain = SizeCurve("plain", SIZES, 0.22 + 7 * SIZES**-0.6 + shared + scatter[1] + rises)
    x = random.normal(size=(60, 2)).astype(np.float32)
    return LearningCurve(
        metric="loss",
        chosen=chosen,
        plain=plain,
        gain=Score(0.05, 0.03, 0.07, 0.95, 0.05),
        scores={"chosen": 1 - chosen.values / 3, "plain": 1 - plain.values / 3},
        data=DataSummary.of(as_dataset((x, np.array([EVIL, "good"])[(x[:, 0] > 0).astype(int)]))),
        model=ModelReference.of(MLP),
        recipe=Recipe(dropout=0.3),
        model_args={"width": EVIL},
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("breaks", [False, True])
def test_a_person_sees_both_curves(browser: Browser, tmp_path: Path, breaks: bool) -> None:
    path = made(breaks=breaks).report(tmp_path / "curve.html", command=f"meden learning-curve '{EVIL}'")
    for width in (1100, 390):
        browser.size(width, 900)
        browser.open(path)
        assert browser.complaints() == [] and browser.requests() == [path.as_uri()] and browser.dialogs == 0
        assert browser.evaluate("document.documentElement.scrollWidth") == width
    drawn = "document.querySelectorAll('figure .scatterlayer .trace').length"
    assert browser.evaluate(drawn) == (5 if breaks else 8), "a curve with a law: a band, a line, what is beyond, points"
    ticks = browser.evaluate("[...document.querySelectorAll('.xtick text')].map(t => t.textContent)")
    assert ticks[-2:] == ["1,280", "2,560"]
    said = browser.evaluate("document.querySelector('#the-curve').textContent")
    assert ("plain: no power law is drawn, since it rises from 580 to 861 rows." in said) == breaks
