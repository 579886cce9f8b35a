"""The page of a study: what stands on it and in which order, with the numbers of the results."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meden
from meden.report import Column, ReportTable, Section, TableRow
from meden.report.numbers import number
from meden.space import Choice, LogUniform, Maybe, Uniform
from meden.study import Results
from meden.study.metrics import spoken
from meden.study.page import study_report
from meden.study.page_text import params_text
from meden.study.verdict import interval_text, value_text
from tests.report.reading import codes_of, sections_of
from tests.report.studies import EVIL, SPACE, any_network, study
from tests.report.test_page import Tags

BASELINES = {"constant": 0.4, "linear": 0.1, "trees": 0.05, "plain": 0.2, "plain_stopped": 0.1}
ORDER = [
    "Against simpler models",
    "What mattered",
    "Score against strength",
    "Learning curves",
    "Gap against strength",
    "Predictions of held-out rows",
    "All configurations",
    "What stands out",
    "The recipe of the choice",
    "Reproduce",
]


def page_of(made: Results, tmp_path: Path, **options: Any) -> str:
    return study_report(made, tmp_path / "report.html", **options).read_text(encoding="utf-8")


def text_of(made: Results, tmp_path: Path, **options: Any) -> str:
    return Tags(page_of(made, tmp_path, **options)).text


@pytest.mark.parametrize(
    ("made", "left_out"),
    [
        (study(baselines=BASELINES), []),
        (study(), ["Against simpler models"]),
        (study(task="regression", baselines=BASELINES), ["Predictions of held-out rows"]),
        (study(baselines={"plain": 0.1}, stop_split=False), []),
    ],
    ids=["whole", "no baselines", "regression", "no stop split"],
)
def test_sections_come_in_the_order_of_reading(made: meden.Study, left_out: list[str], tmp_path: Path) -> None:
    wanted = [title for title in ORDER if title not in left_out]
    if made.data.task == "regression":
        wanted.insert(5, "Residuals of held-out rows")
    assert list(sections_of(page_of(made, tmp_path))) == wanted


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    made = study(40, num_folds=5, baselines=BASELINES)
    page = page_of(made, tmp_path)
    lead, *others = (sentence.text for sentence in made.verdict.sentences)
    assert f'<p class="lead">{lead}</p>' in page and others
    header = Tags(page.split("</header>")[0]).text
    assert all(text in header for text in others)


def test_tiles_hold_the_numbers_of_the_results(tmp_path: Path) -> None:
    made = study(40, num_folds=5, baselines=BASELINES)
    header = Tags(page_of(made, tmp_path).split("</header>")[0]).text
    told, plain = made.score_of(), made.gain_over("plain")
    simple = min((made.gain_over(name) for name in ("linear", "trees")), key=lambda gain: gain.estimate)
    for text in (
        f"Expected accuracy of the choice{value_text('accuracy', told.estimate)}90% interval {interval_text(told)}",
        f"mean over 5 folds {value_text('accuracy', told.naive)}, uncorrected",
        f"Expected loss of the choice{number(made.score.estimate)}90% interval {interval_text(made.score)}",
        f"Against the plain network{100 * plain.estimate:+.1f} points",
        f"the best simple model{100 * simple.estimate:+.1f} points",
        f"training loss{number(made.one_se.loss - made.one_se.train_loss)}held-out loss {number(made.one_se.loss)}",
    ):
        assert text in header


def test_what_to_use_and_why(tmp_path: Path) -> None:
    made = study(40, diverged=(3,), num_folds=5)
    text, chosen, best = text_of(made, tmp_path), made.one_se, made.best
    assert chosen is not best, "the study should show the harder case"
    assert f"Use {params_text(chosen.params)} (configuration {chosen.number}): the simplest of 40" in text
    assert f"Configuration {best.number} ({params_text(best.params)}) has the best mean held-out" in text
    assert "40 configurations, 5 folds, 1 seed: 200 fits; 1 configuration diverged" in text


def test_training_loss_is_that_of_the_kept_epochs() -> None:
    trial = study().trials[0]
    assert np.isclose(trial.train_loss, np.mean([row.train_loss[row.best_epoch - 1] for row in trial.rows]))
    assert np.isnan(study(diverged=(0,)).trials[0].train_loss)


@pytest.mark.parametrize(
    "made",
    [study(1), study(1, task="regression", stop_split=False), study(3, diverged=(0, 1, 2)), study(2, diverged=(0,)),
     study(8, space={"l1": Maybe(LogUniform(1e-4, 1.0)), "jitter": Maybe(Uniform(0.1, 0.5))}),
     study(1, space={"l1": Maybe(LogUniform(1e-4, 1.0))}),
     study(4, space={"norm": Choice("batch", "layer", None), "depth": Choice(1, 2)}, make_model=any_network),
     study(5, epochs=1), study(0, baselines={"constant": 0.1}), study(1, num_folds=2, baselines=BASELINES),
     study(3, diverged=(0, 1, 2), baselines={"linear": 0.0})],
    ids=["one", "regression", "all diverged", "one left", "some off", "all off", "nothing numeric", "one epoch",
         "none complete", "one with baselines", "all diverged beside a baseline"],
)  # fmt: skip
@pytest.mark.parametrize("format", ["html", "md"])
def test_unusual_studies_have_reports(made: meden.Study, format: Any, tmp_path: Path) -> None:
    text = study_report(made, tmp_path / "report", format=format).read_text()
    assert "All configurations" in text and "Reproduce" in text and "nan" not in text.split("<script")[0].lower()


def test_what_diverged_says_why_before_the_table(tmp_path: Path) -> None:
    found = sections_of(page_of(study(3, diverged=(0, 1, 2)), tmp_path))
    assert list(found) == ["What stands out", "All configurations", "Reproduce"]
    assert "Lower lr" in found["What stands out"]


@pytest.mark.parametrize("chosen_by", ["loss", "mse", "r2", "mae"])
def test_a_regression_is_told_in_what_decides(chosen_by: Any, tmp_path: Path) -> None:
    made = dataclasses.replace(study(task="regression", baselines=BASELINES), chosen_by=chosen_by)
    text = text_of(made, tmp_path)
    worth = number(made.score_of().estimate)
    assert f"Expected {spoken(made.told)} of the choice{worth}" in text and "standardised target" in text


def test_no_advice_sends_in_a_circle(tmp_path: Path) -> None:
    """Whoever reads the page has just searched: another search is another one, with more of something."""
    made = study(40, num_folds=5, baselines=BASELINES)
    findings = sections_of(page_of(made, tmp_path))["What stands out"]
    (gap,) = [line for line in findings.splitlines() if "gap_left" in line]
    assert "above the training loss" in gap and "other regularisers, augmentation or more data" in gap
    assert "meden tune" not in gap
    assert all("--folds 10" in line for line in findings.splitlines() if "meden tune" in line)


def test_extra_sections_come_right_after_the_headline(tmp_path: Path) -> None:
    table = ReportTable((Column("setup", numeric=False), Column("gap")), (TableRow(("plain <b>", 0.25)),))
    extra = Section(title="Plain against chosen", text=("Ten repeated splits.",), table=table)
    found = sections_of(page_of(study(baselines=BASELINES), tmp_path, extra=[extra]))
    assert list(found)[:2] == ["Plain against chosen", "Against simpler models"]
    assert "plain <b>" in found["Plain against chosen"]


def test_results_alone_have_the_same_report(tmp_path: Path) -> None:
    made = study(baselines=BASELINES)
    alone = Results(**{field.name: getattr(made, field.name) for field in dataclasses.fields(Results)})
    assert page_of(alone, tmp_path) == made.report(tmp_path / "report.html").read_text()


def test_hostile_text_makes_no_element(tmp_path: Path) -> None:
    space = {EVIL: Choice(EVIL, "x"), "l2": SPACE["l2"]}
    made = study(9, diverged=(1,), make_model=any_network, space=space, target=EVIL, labels=(EVIL, "good"), reason=EVIL)
    made = dataclasses.replace(made, baselines=study(baselines=BASELINES).baselines, notes={"command": EVIL})
    page = page_of(made, tmp_path)
    assert EVIL not in page and codes_of(page)["Command"] == EVIL
    assert not [tag for tag, _ in Tags(page).tags if tag == "img"] and Tags(page).text.count(EVIL) > 5


def test_two_hundred_configurations_stay_below_two_megabytes(tmp_path: Path) -> None:
    assert study_report(study(200, baselines=BASELINES), tmp_path / "report.html").stat().st_size < 2e6


def test_markdown_holds_the_verdict_and_both_tables(tmp_path: Path) -> None:
    made = study(baselines=BASELINES)
    text = study_report(made, tmp_path / "report.md", format="md").read_text()
    places = [text.index(f"## {title}") for title in ORDER]
    assert places == sorted(places) and "chosen, corrected" in text and "plain network" in text
    assert text.index("Expected on new rows") < places[0]


def test_the_shares_are_worked_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meden.study import importance

    asked: list[str] = []
    monkeypatch.setattr(importance, "_explained", _counting(importance._explained, asked))
    made = study(30, num_folds=4, baselines=BASELINES)
    assert made.verdict.sentences
    page_of(made, tmp_path)
    assert sorted(asked) == ["gap", "loss"]


def _counting(function: Any, asked: list[str]) -> Any:
    def counted(results: Results, of: str) -> Any:
        asked.append(of)
        return function(results, of)

    return counted


def test_a_missing_number_is_a_dash(tmp_path: Path) -> None:
    """Simple models have no epochs and no training loss."""
    made = study(baselines={"linear": 0.1})
    assert math.isnan(made.baselines[0].train_loss)
    row = next(part for part in page_of(made, tmp_path).split("<tr") if 'class="baseline"' in part)
    assert row.count(">–<") == 2 + len(SPACE) + 1  # noqa: RUF001 - no., training loss, epochs; each name
