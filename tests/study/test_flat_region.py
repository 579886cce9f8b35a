"""The region by hand, and by the rule that chooses in it."""

import dataclasses

import numpy as np
import pytest

from meden.space import Choice, LogUniform, Maybe, Uniform
from meden.space.names import Space
from meden.study import Study
from meden.study.flat_region import flat_region
from meden.study.importance_section import importance_section
from meden.study.results import make_trial
from tests.report.studies import any_network, study

SPACE: Space = {"l2": Maybe(LogUniform(1e-4, 1.0)), "dropout": Uniform(0.0, 0.6), "norm": Choice("batch", "layer")}


def made_of(
    losses: list[list[float]], points: list[tuple[float | None, float, str]], task: str = "classification"
) -> Study:
    """A study of these losses, a row for each configuration."""
    frame = study(1, space=SPACE, task=task, num_folds=max(2, len(losses[0])), make_model=any_network)
    trials = []
    for number, (own, point) in enumerate(zip(losses, points, strict=True)):
        params = dict(zip(SPACE, point, strict=True))
        rows = [
            dataclasses.replace(row, configuration=number, params=params, losses=np.full_like(row.losses, loss))
            for row, loss in zip(frame.trials[0].rows, own, strict=False)
        ]
        trials.append(make_trial(number, params, rows, SPACE))
    return dataclasses.replace(frame, folds=frame.folds[: len(losses[0])], trials=trials)


LOSSES = [[1.0, 2, 3], [1.1, 2.3, 2.9], [1.1, 2.3, 3.0]]
"""Of the third, the difference of 0.133 is above its standard error of 0.088; of the last: 0.067 is its error."""
POINTS = [(None, 0.5, "batch"), (0.01, 0.05, "batch"), (0.5, 0.3, "layer")]


def test_the_region_by_hand() -> None:
    found = flat_region(made_of(LOSSES, POINTS))
    assert found.status == "ok" and found.numbers == (0, 1) and found.num_configurations == 3
    assert found.width == pytest.approx(0.1, abs=1e-6) and found.width_text == "0.1 nats"
    assert not found.flat, "a twentieth of the best loss is not little"
    assert found.sentence.startswith("2 of 3 configurations are within 0.1 nats")
    higher = flat_region(made_of([[loss + 8 for loss in own] for own in LOSSES], POINTS))
    assert higher.flat and higher.sentence.startswith("Strengths hardly matter here: 2 of 3 configurations are within")
    l2, dropout, norm = found.ranges
    assert l2.values == (None, 0.01) and not l2.free
    assert dropout.values == (0.05, 0.5) and dropout.free and norm.values == ("batch",) and not norm.free
    assert l2.text == "l2 off or 0.01 of off or 0.0001 to 1" and dropout.text == "dropout 0.05 to 0.5 of 0 to 0.6"
    assert norm.text == "norm batch of batch, layer"


def test_the_rule_of_one_standard_error_chooses_in_the_region() -> None:
    made = study(40, num_folds=5, diverged=(3,))
    found = flat_region(made)
    assert made.best.number == found.numbers[0] and made.one_se.number in found.numbers
    inside = [trial for trial in made.trials if trial.number in found.numbers]
    assert made.one_se.simplicity == max(trial.simplicity for trial in inside)
    assert found.num_configurations == 39
    paired = max(trial.loss for trial in inside) - made.best.loss
    assert found.width == pytest.approx(paired, rel=1e-5)


def test_a_best_that_stands_alone_is_said() -> None:
    found = flat_region(made_of([[1.0, 1.0], [2.0, 2.0], [3.0, 3.1]], POINTS))
    assert found.numbers == (0,) and found.width == 0.0 and not found.flat and found.ranges_sentence == ""
    assert found.sentence == "None of the other 2 configurations is within one standard error of the best."


@pytest.mark.parametrize(
    ("made", "status"),
    [(study(0), "few"), (study(3, diverged=(0, 1, 2)), "few"), (study(2, diverged=(0,)), "few"),
     (made_of([[1.0], [2.0]], POINTS[:2]), "unknown")],
    ids=["none", "all diverged", "one left", "one fold"],
)  # fmt: skip
def test_what_is_not_known_has_a_reason(made: Study, status: str) -> None:
    found = flat_region(made)
    assert found.status == status and found.reason in found.sentence and found.numbers == ()
    assert importance_section(made).charts == ()


def test_the_width_is_in_the_metric_that_decides() -> None:
    made = study(12)
    accuracy = flat_region(dataclasses.replace(made, chosen_by="accuracy"))
    assert "points of accuracy" in accuracy.width_text and accuracy.width >= 0
    assert "half squared error" in flat_region(study(12, task="regression")).width_text


def test_the_section_has_bars_and_sentences() -> None:
    made = study(40, num_folds=4)
    section = importance_section(made)
    assert flat_region(made).sentence in section.text
    (chart,) = section.charts
    assert [trace["orientation"] for trace in chart.data] == ["h", "h"] and len(section.keys) == 3
    assert all(len(trace["x"]) == 2 for trace in chart.data)
