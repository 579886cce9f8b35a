"""Confusion, calibration and residuals against counts by hand."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

import meden
from meden.study.page_curves import curves_section
from meden.study.page_rows import MOST_NUMBERS, outputs_of, rows_section
from tests.report.studies import EVIL, study


def test_confusion_is_that_of_held_out_rows():
    made = study(num_folds=3, num_rows=120)
    outputs, labels = outputs_of(made, made.one_se)
    counts = confusion_matrix(labels, outputs.argmax(axis=1))
    chart, calibration = rows_section(made).charts
    assert chart.data[0]["text"] == [str(count) for count in counts.ravel()]
    assert np.trace(counts) / counts.sum() == pytest.approx(np.mean([row.scores.mean() for row in made.one_se.rows]))
    assert calibration.data[0]["x"] == pytest.approx([0.2, 0.8], rel=1e-6)
    truth = [np.mean(labels[np.isclose(outputs[:, 1], p)] == 1) for p in (0.2, 0.8)]
    assert calibration.data[0]["y"] == pytest.approx(truth)


def test_more_than_two_classes_are_calibrated_by_the_predicted_one():
    made = meden.tune(
        meden.models.MLP, "iris", {"l2": meden.Choice(0.1)}, folds=2, budget=1, seeds=2, recipe=meden.Recipe(epochs=2),
        baselines=False,
    )  # fmt: skip
    section = rows_section(made)
    assert section.charts[1].title == "Calibration: probability of the predicted class"
    assert sum(int(text) for text in section.charts[0].data[0]["text"]) == 2 * 150
    assert "counts once per" in section.text[0]


def test_residuals_are_in_the_units_of_the_target():
    made = meden.tune(
        meden.models.MLP, "diabetes", {"l2": meden.Choice(0.1)}, folds=2, budget=1, recipe=meden.Recipe(epochs=2),
        baselines=False,
    )  # fmt: skip
    section = rows_section(made)
    residuals = np.array(section.charts[0].data[0]["y"])
    assert np.mean(residuals**2) == pytest.approx(made.one_se.score, rel=1e-3)
    assert section.title == "Residuals of held-out rows"


def several_numbers(num):
    """A regression of several numbers."""
    made = study(task="regression")
    wide = lambda values: np.repeat(np.asarray(values).reshape(len(values), -1), num, axis=1)  # noqa: E731
    trials = [
        dataclasses.replace(t, rows=tuple(dataclasses.replace(r, outputs=wide(r.outputs)) for r in t.rows))
        for t in made.trials
    ]
    return dataclasses.replace(made, trials=trials, data=dataclasses.replace(made.data, labels=wide(made.data.labels)))


def test_several_numbers_have_a_chart_each_up_to_a_few():
    assert [c.title for c in rows_section(several_numbers(2)).charts] == ["Residuals of y 1", "Residuals of y 2"]
    many = rows_section(several_numbers(9))
    assert len(many.charts) == MOST_NUMBERS and "Of 9 numbers" in many.text[0]


@pytest.mark.parametrize("width", [0, 3])
def test_without_outputs_there_is_no_section(width):
    made = study()
    trials = [
        dataclasses.replace(
            t, rows=tuple(dataclasses.replace(r, outputs=np.zeros((len(r.losses), width))) for r in t.rows)
        )
        for t in made.trials
    ]
    assert rows_section(dataclasses.replace(made, trials=trials)) is None


def test_hostile_classes_are_labels():
    chart, calibration = rows_section(study(labels=(EVIL, "$x$"))).charts
    assert all("<" not in text and "$" not in text for text in chart.layout["xaxis"]["ticktext"])
    assert calibration.title.startswith("Calibration")


def with_plain(made):
    """Give the plain network the curves of a configuration."""
    rows = tuple(dataclasses.replace(row, baseline="plain") for row in made.trials[0].rows)
    return dataclasses.replace(made, baselines=[dataclasses.replace(made.baseline("plain"), rows=rows)])


@pytest.mark.parametrize("stop_split", [True, False])
def test_plain_and_chosen_are_on_the_same_axes(stop_split):
    made = with_plain(study(baselines={"plain": 0.2}, stop_split=stop_split))
    section = curves_section(made)
    (chart,) = section.charts
    train = np.mean([row.train_loss for row in made.trials[0].rows], axis=0)
    assert chart.data[0]["y"] == pytest.approx(train, rel=1e-5)
    assert len(chart.data) == len(section.keys) == (4 if stop_split else 2)
    assert any("fill" in trace for trace in chart.data) == stop_split


def test_without_a_plain_network_curves_stand_side_by_side():
    assert len(curves_section(study(40)).charts) > 1
