"""The demo: that its numbers are those of its methods, and that its sentences say what the intervals allow."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import ParameterGrid

import meden as package
from meden.cli import demo_page as page
from meden.cli.demo import GROUPS, PLAIN, SPACE, read_digits, simple_models, split
from meden.data import make_folds
from meden.recipe import Recipe
from tests.cli.conftest import Command

EPOCHS = 6
SEED = 40


@pytest.fixture
def found(meden: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr("meden.cli.demo.PLAIN", PLAIN.replace(epochs=EPOCHS))
    monkeypatch.setattr("meden.cli.demo.WATCHED", slice(None))
    ended = meden("demo", "--out", "out", "--repeats", "2", "--budget", "2", "--seed", SEED, "--json")
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


def test_demo_in_small(found: dict) -> None:
    methods = found["held-out accuracy, %"]
    assert list(methods) == [*simple_models(), page.PLAIN, page.ONE, page.CHOSEN]
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels / 16
    for number in range(2):
        rows, held_out = split(read_digits(), SEED + number)
        assert len(rows) == 100 and not set(rows) & set(held_out) and len(held_out) == 1697
        folds = make_folds(read_digits().take(rows), 5, seed=SEED + number, stop_fraction=0.0)
        for name, (model, grid) in simple_models().items():
            by_hand = _by_hand(model, grid, pixels[rows].astype("float32"), labels[rows], folds)
            right = by_hand.predict(pixels[held_out].astype("float32")) == labels[held_out]
            assert methods[name]["splits"][number] == pytest.approx(100 * right.mean()), name
    _, held_out = split(read_digits(), SEED)
    saved = package.load_run("out").predict(pixels[held_out].reshape(-1, 1, 8, 8)).values
    assert methods[page.CHOSEN]["splits"][0] == pytest.approx(100 * np.mean(saved == labels[held_out])), "it is saved"
    assert {name: len(curve) for name, curve in found["curves"].items()} == {page.PLAIN: EPOCHS, page.ONE: EPOCHS}
    for name, curve in found["curves"].items():
        assert curve[-1] == pytest.approx(np.mean(methods[name]["splits"])), "a curve ends in the score"
    assert [set(chosen) for chosen in found["chosen"]] == [set(SPACE)] * 2
    text = Path("out/report.html").read_text()
    assert "Plain against chosen" in text and "support vector machine" in text


def _by_hand(model, grid, x, labels, folds):
    """Choose by a loop over settings and folds, the first of equals, and fit on all."""
    means = []
    for params in ParameterGrid(grid):
        fitted = [clone(model).set_params(**params).fit(x[f.fit], labels[f.fit]) for f in folds]
        means.append(
            np.mean([np.mean(m.predict(x[f.score]) == labels[f.score]) for m, f in zip(fitted, folds, strict=True)])
        )
    best = list(ParameterGrid(grid))[int(np.argmax(means))]
    return clone(model).set_params(**best).fit(x, labels)


def test_plain_has_nothing_that_regularises_and_each_name_has_a_group() -> None:
    trained = {name: getattr(PLAIN, name) for name in ("lr", "batch_size", "epochs", "schedule")}
    assert Recipe(**trained) == PLAIN
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SPACE)


def evidence(chosen, svc=(86.0, 84.0, 88.0)) -> page.Evidence:
    outcomes = [
        page.Outcome(
            accuracy={"k-NN": 70.0, "SVC": simple, page.PLAIN: 80.0 + i, page.ONE: value - 1, page.CHOSEN: value},
            without={"dropout": value - 3 - i},
            curves={page.PLAIN: [50.0, 80.0 + i], page.ONE: [40.0, value - 1]},
            params={"dropout": 0.25, "l2": 1e-4},
        )
        for i, (value, simple) in enumerate(zip(chosen, svc, strict=True))
    ]
    return page.Evidence.of(outcomes, 100, 1697)


def test_sentences_say_what_the_intervals_allow() -> None:
    better = evidence((89.0, 91.0, 93.0))
    headline, simple, chosen, lost = page.verdict(better)
    assert "10.0 ± 2.5 points more accurate than the same network" in headline and "53% fewer mistakes" in headline
    assert "5.0 ± 5.0 points more accurate than" in simple and "(SVC)" in simple, "the best of them, not the first"
    assert chosen.endswith("dropout = 0.25, l2 = 0.0001.")
    assert "dropout 3.0 ± 2.5; averaging the networks of the folds 1.0 ± 0.0" in lost
    unclear = page.verdict(evidence((79.0, 90.0, 83.0)))[0]
    assert "not clearly better or worse (+3.0 ± " in unclear and "mistakes" not in unclear
    worse = page.verdict(evidence((70.0, 71.0, 72.0)))[0]
    assert "10.0 ± 0.0 points less accurate than" in worse and "mistakes" not in worse


def test_intervals_are_those_of_a_paired_t_test() -> None:
    one, other = np.array([88.1, 90.2, 86.5, 91.0]), np.array([84.0, 85.5, 84.8, 83.1])
    interval = page.Interval.of(one - other)
    known = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (interval.mean - interval.half, interval.mean + interval.half) == pytest.approx((known.low, known.high))


def test_the_report_shows_both_curves_on_one_pair_of_axes_and_all_methods_with_intervals() -> None:
    made = evidence((89.0, 91.0, 93.0))
    first, each = page.sections(made)
    bars, curves = first.charts
    assert [list(trace["y"]) for trace in curves.data] == [[50.0, 81.0], [40.0, 90.0]]
    assert len(bars.data[0]["x"]) == len(made.accuracy) == len(bars.data[0]["error_x"]["array"])
    assert first.table is not None and [row.mark for row in first.table.rows] == ["", "", "", "", "both"]
    assert each.table is not None and each.table.rows[1].values == (2, 70.0, 84.0, 81.0, 90.0, 91.0)
