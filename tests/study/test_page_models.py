"""Gains and the table of everything that was tried: numbers are those of the results, to the digits shown."""

import dataclasses

import numpy as np
import pytest

from meden import InputError
from meden.report.numbers import number
from meden.study.page_models import gains_section, table_section
from meden.study.results import BASELINES as NAMES
from meden.study.verdict import gain_text
from tests.report.studies import EVIL, SPACE, study

ABOVE = {"constant": 0.4, "linear": 0.1, "trees": 0.05, "plain": 0.2, "plain_stopped": 0.1}


def test_bars_are_means_and_corrected_scores_with_their_intervals():
    made = study(num_folds=5, num_rows=300, baselines=ABOVE)
    section = gains_section(made)
    for chart, metric, scale in zip(section.charts, ("accuracy", "loss"), (100, 1), strict=True):
        other, reference, chosen = chart.data
        names = [name for name in NAMES if name != "plain"]
        assert other["x"] == pytest.approx([scale * made.mean_of(metric, made.baseline(name)) for name in names])
        assert reference["x"] == pytest.approx([scale * made.mean_of(metric, made.baseline("plain"))])
        score = made.score_of(metric)
        assert chosen["x"] == pytest.approx([scale * score.estimate]) and chosen["marker"]["symbol"] == "star"
        assert chosen["error_x"]["array"] == pytest.approx([scale * (score.high - score.estimate)])
        assert chart.layout["yaxis"]["ticktext"] == [*NAMES.values(), "chosen"]


def test_distances_between_bars_are_the_gains():
    made = study(num_folds=5, num_rows=300, baselines=ABOVE)
    for name in ABOVE:
        distance = made.score_of("loss").estimate - made.baseline_score(name, "loss").estimate
        assert distance == pytest.approx(-made.gain_over(name, "loss").estimate)


def test_a_baseline_is_worth_its_mean_with_an_interval_of_rows():
    made = study(num_folds=5, num_rows=2000, baselines={"linear": 0.1})
    score, trial = made.baseline_score("linear", "loss"), made.baseline("linear")
    losses = np.concatenate([row.losses for row in trial.rows])
    assert score.estimate == score.naive == made.mean_of("loss", trial)
    half = 1.645 * losses.std() / np.sqrt(len(losses))
    assert score.high - score.low == pytest.approx(2 * half, rel=0.25)
    with pytest.raises(InputError, match="baseline must be one of linear"):
        made.baseline_score("plain")


def test_the_table_of_gains_holds_paired_gains():
    made = study(num_folds=5, baselines=ABOVE)
    *rows, chosen = gains_section(made).table.rows
    for row, name in zip(rows, ABOVE, strict=True):
        accuracy, loss = (made.mean_of(metric, made.baseline(name)) for metric in ("accuracy", "loss"))
        has = [gain_text(made.gain_over(name, metric), named=False) for metric in ("accuracy", "loss")]
        assert row.values == (NAMES[name], pytest.approx(100 * accuracy), pytest.approx(loss), *has)
    assert chosen.values[1:3] == (100 * made.score_of("accuracy").estimate, made.score.estimate)


def test_a_baseline_that_diverged_has_no_bar_and_says_why():
    made = study(num_folds=3, baselines=ABOVE)
    lost = dataclasses.replace(made.baseline("plain"), rows=study(3, diverged=(0,)).trials[0].rows)
    made = dataclasses.replace(made, baselines=[lost, *(t for t in made.baselines if t.baseline != "plain")])
    section = gains_section(made)
    assert "plain network (no result)" in section.charts[0].layout["yaxis"]["ticktext"]
    assert any("diverged" in str(row.values[-1]) for row in section.table.rows)
    with pytest.raises(InputError, match="plain"):
        made.baseline_score("plain")


def test_without_baselines_there_is_nothing_to_hold_against():
    assert gains_section(study()) is None


def test_the_table_is_best_first_with_baselines_among_them_and_diverged_last():
    made = study(9, diverged=(0, 4), reason=EVIL, baselines=ABOVE)
    rows = table_section(made).table.rows
    losses = [row.values[2] for row in rows]
    assert losses[:12] == sorted(losses[:12]) and np.isnan(losses[12:]).all() and len(rows) == 14
    assert [row.values[0] for row in rows[12:]] == [0, 4] and all(EVIL in row.values[-1] for row in rows[12:])
    by_name = {row.values[1]: row for row in rows if row.mark == "baseline"}
    assert set(by_name) == set(NAMES.values()) and all(row.values[0] is None for row in by_name.values())
    marks = {row.values[0]: row for row in rows if row.mark in ("one_se", "best", "both")}
    assert set(marks) == {made.one_se.number, made.best.number}
    chosen = marks[made.one_se.number].values
    choice = made.choice
    assert chosen[2:6] == pytest.approx(
        (choice.loss, choice.loss_error, 100 * choice.score, choice.train_loss), rel=1e-6
    )
    assert chosen[6:8] == tuple(made.one_se.params[name] for name in SPACE)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_the_table_shows_what_decides(metric):
    made = dataclasses.replace(study(9, baselines=ABOVE), chosen_by=metric)
    table = table_section(made).table
    assert table.columns[4].name == f"{metric.replace('_', ' ')} %"
    shown = [row.values[4] for row in table.rows]
    assert shown == sorted(shown, reverse=True)
    best = next(row for row in table.rows if row.values[0] == made.best.number)
    assert number(best.values[4]) == number(100 * made.decided_by(made.best))
