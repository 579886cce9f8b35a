"""The verdict: each sentence where it is true, with the numbers of the results."""

import dataclasses
import json
from typing import Any

import pytest

import meden
from meden.study import Study
from meden.study.results import make_baseline
from meden.study.selection import Score
from meden.study.verdict import Verdict, gain_text, signed, value_text, verdict_of
from tests.report.studies import study

NAMES = ("constant", "linear", "trees", "plain", "plain_stopped")


def verdict(**above: float) -> Verdict:
    """Return the verdict of a study whose baselines have so much more loss, and so much less accuracy."""
    return verdict_of(study(num_folds=5, num_rows=600, baselines=above))


@pytest.mark.parametrize(
    ("above", "kind"),
    [
        ({"plain": 0.3}, "helps"),
        ({"plain": -0.08}, "hurts"),
        ({"plain": 0.0}, "unclear"),
        ({"linear": 0.3, "trees": 0.4}, "network"),
        ({"linear": 0.3, "trees": -0.08}, "baseline"),
        ({"linear": -0.08, "trees": 0.3}, "baseline"),
        ({"trees": 0.0}, "as_good"),
        ({"constant": -0.05}, "constant"),
        ({"plain": 0.3, "plain_stopped": 0.01}, "early_stopping"),
    ],
)
def test_what_is_true_is_said(above, kind):
    assert kind in verdict(**above).kinds


@pytest.mark.parametrize(
    ("above", "kind"),
    [
        ({"plain": 0.3, "plain_stopped": 0.3}, "early_stopping"),
        ({"plain": 0.0, "plain_stopped": 0.0}, "early_stopping"),
        ({"constant": 0.5}, "constant"),
        ({}, "helps"),
        ({}, "network"),
    ],
)
def test_what_is_not_true_is_not_said(above, kind):
    assert kind not in verdict(**above).kinds


def test_the_numbers_are_those_of_the_results():
    made = study(num_folds=5, baselines={"plain": 0.3, "trees": 0.2})
    told = verdict_of(made)
    for gain in told.gains:
        assert gain.told == made.gain_over(gain.over) and gain.loss == made.gain_over(gain.over, "loss")
    assert told.told == made.score_of() and told.loss == made.score
    gain = made.gain_over("plain")
    text = f"accuracy {100 * gain.estimate:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    assert text in str(told)


def test_a_gain_is_the_difference_row_by_row():
    made = study(num_trials=1, num_folds=5, baselines={"plain": 0.3})
    mine, plain = made.mean_of("loss", made.choice), made.mean_of("loss", made.baseline("plain"))
    gain = made.gain_over("plain", "loss")
    assert gain.naive == pytest.approx(plain - mine) and gain.estimate == pytest.approx(plain - mine, abs=0.02)
    assert made.gain_over("plain", "accuracy").naive == pytest.approx(
        made.mean_of("accuracy", made.choice) - made.mean_of("accuracy", made.baseline("plain"))
    )


def test_the_end_of_a_range_is_named_with_its_ends():
    made = study(2, baselines={})
    text = next(sentence.text for sentence in verdict_of(made).sentences if sentence.kind == "edge")
    assert "end of" in text and "'s range (" in text


def test_a_range_whose_end_is_far_is_not_named():
    made = study(21, baselines={})
    inner = {name: dimension.position(made.choice.params[name]) for name, dimension in made.space.items()}
    assert all(0.05 < place < 0.95 for place in inner.values())
    assert "edge" not in verdict_of(made).kinds


def test_a_space_that_regularises_nothing_is_said():
    made = study(4, space={"lr": meden.LogUniform(1e-4, 1e-1)}, baselines={"plain": 0.1})
    assert "not_searched" in verdict_of(made).kinds


def test_a_plain_network_that_diverged_is_told():
    made = study(num_folds=5, baselines={"plain": 0.3})
    rows = [dataclasses.replace(row, status="diverged", reason="loss was not finite") for row in made.baselines[0].rows]
    lost = dataclasses.replace(made, baselines=[make_baseline("plain", rows)])
    assert verdict_of(lost).sentences[0].text == (
        "Without regularisation the same network diverged: loss was not finite."
    )


@pytest.mark.parametrize(("estimate", "said"), [(0.91, True), (0.89, False), (0.9, False)])
def test_a_correction_for_the_better_is_no_optimism(estimate, said):
    made = study(num_folds=5, baselines={})
    made._scores["accuracy", "one_se"] = Score(estimate, 0.8, 0.95, 0.9, 0.9, "accuracy")
    assert ("which shows no optimism here" in verdict_of(made).sentences[-1].text) == said


def test_nothing_to_choose_is_one_sentence():
    made = study(2, diverged=(0, 1), baselines={"plain": 0.1})
    told = verdict_of(made)
    assert len(told.sentences) == 1 and told.told is None and "diverged" in str(told)


def test_an_unfinished_search_says_so_first():
    made = dataclasses.replace(study(4), num_missing=7)
    assert verdict_of(made).kinds[0] == "unfinished"


def test_it_is_plain_data():
    told = verdict(plain=0.3, trees=0.1)
    written = json.loads(json.dumps(told.to_dict()))
    assert [sentence["kind"] for sentence in written["sentences"]] == list(told.kinds)
    assert written["gains"]["plain"]["told"]["estimate"] == told.gains[0].told.estimate
    assert str(told) == "\n".join(sentence.text for sentence in told.sentences)


def test_a_study_has_it(tmp_path):
    space = {"l2": meden.LogUniform(1e-4, 1.0)}
    options: dict[str, Any] = {"folds": 3, "budget": 2, "recipe": meden.Recipe(epochs=4)}
    made = meden.tune(meden.models.MLP, "wine", space, study_dir=tmp_path, **options)
    assert isinstance(made, Study)
    opened = meden.load_study(tmp_path)
    assert opened.verdict == made.verdict
    assert opened.score == made.score and opened.score_of() == made.score_of()
    assert {gain.over for gain in made.verdict.gains} == set(NAMES)


def test_differences_have_their_sign_and_move_as_the_metric_does():
    made = study(num_folds=5, baselines={"plain": 0.3})
    loss, told = made.gain_over("plain", "loss"), made.gain_over("plain")
    assert gain_text(loss).startswith("loss -") and gain_text(told).startswith("accuracy +")
    assert gain_text(told, named=False) == gain_text(told).removeprefix("accuracy ")
    assert signed(-0.0) == "+0" and signed(-0.04, points=True) == "+0.0" and value_text("accuracy", 0.5) == "50.0 %"
