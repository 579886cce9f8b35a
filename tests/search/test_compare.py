"""Comparisons: paired, with intervals that know that folds overlap."""

import numpy as np
import pytest
from scipy import stats

import meden
from meden import InputError, Recipe
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.noise import derive
from meden.report.markdown import literal
from meden.report.numbers import number
from meden.search.alternative import mean_over_folds
from meden.search.comparison_verdict import comparison_verdict
from meden.study.selection import Score
from meden.study.verdict import Gain
from tests.report.reading import codes_of
from tests.report.studies import EVIL
from tests.report.test_page import Tags

PLAIN = Recipe(epochs=5, lr=0.01, batch_size=64)


def double(num_inputs, num_outputs, width=64):
    """In float64: what is left of rounding is that of losses kept as float32, 6e-8 of each."""
    return MLP(num_inputs, num_outputs, width=width).double()


@pytest.fixture(scope="module")
def made():
    alternatives = {"none": PLAIN, "same": {}, "L2": {"l2": 0.3}, "wild": {"lr": 1e30}, "small": {"width": 2}}
    return meden.compare(double, "iris", alternatives, folds=3, seeds=2, recipe=PLAIN)


def test_alternatives_are_trained_on_the_same_folds_and_seeds(made):
    by_name = {a.name: a for a in made.alternatives}
    assert list(by_name) == ["none", "same", "L2", "wild", "small"]
    np.testing.assert_allclose(by_name["none"].losses, by_name["same"].losses, rtol=1e-6)
    assert made.difference("same").mean == pytest.approx(0, abs=1e-7)
    assert by_name["small"].model_args == {"width": 2}
    assert by_name["L2"].train_losses.mean() > by_name["none"].train_losses.mean()


def test_a_diverged_alternative_is_told_and_leaves_the_others_alone(made):
    wild = next(a for a in made.alternatives if a.name == "wild")
    assert wild.status.startswith("diverged") and np.isnan(wild.losses).all()
    assert "wild diverged" in str(made)
    assert all(np.isfinite(a.losses).all() for a in made.alternatives if a.name != "wild")


def test_the_table_holds_what_is_printed(made):
    table = made.table().set_index("name")
    l2 = made.difference("L2", "accuracy")
    row = table.loc["L2"]
    assert (row["accuracy_difference"], row["accuracy_difference_low"]) == pytest.approx((l2.mean, l2.low))
    assert row["accuracy"] - table.loc["none", "accuracy"] == pytest.approx(l2.mean)
    lines = str(made).splitlines()
    assert len(lines) == 2 * (1 + 5 + 1) + 2 and lines[0].split() == ["loss", "train", "held-out", "difference"]
    assert lines[10].startswith("L2") and lines[10].endswith(f"{l2.mean:+.3g} [{l2.low:+.3g}, {l2.high:+.3g}]")


def test_the_interval_equals_students_when_nothing_overlaps():
    values = np.random.default_rng(0).normal(0.3, 1, size=8)
    found = mean_over_folds(values, overlap=0.0)
    low, high = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    wider = mean_over_folds(values, overlap=1 / 7)
    assert wider.error == pytest.approx(found.error * np.sqrt(1 + 8 / 7))


def test_overlap_is_that_of_the_folds(made):
    assert made.overlap == pytest.approx(0.5)  # 3 folds: 50 rows score, 100 train


@pytest.mark.parametrize(
    ("alternatives", "told"),
    [
        ({"none": PLAIN}, "two or more ways"),
        ([PLAIN, PLAIN], "two or more ways"),
        ({"none": None, "L2": 0.1}, "alternative 'L2' must be a meden.Recipe or a dict"),
        ({"none": None, "L2": {"ll2": 0.1}}, "alternative 'L2': name must be one of .* did you mean 'l2'"),
        ({"none": None, "L2": {"l2": -1}}, "alternative 'L2': .*got -1"),
        ({"none": None, "drop": {"dropout": 1.0}}, "dropout should be less than 1"),
        ({"none": None, "small": {"width": 0}}, "width must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_alternatives_are_refused(alternatives, told):
    with pytest.raises(InputError, match=told):
        meden.compare(MLP, "iris", alternatives, folds=2)


def test_numbers_are_those_of_runs_one_by_one(made):
    data = as_dataset("iris")
    small = made.alternatives[-1]
    for place, fold in enumerate(make_folds(data, 3, seed=0)):
        members = [meden.Member(PLAIN, fold, derive(0, "seed", number), {"width": 2}) for number in range(2)]
        runs = meden.fit_many(MLP, members, data, chunk=1)
        assert small.losses[place] == pytest.approx(np.mean([run.held_out.loss for run in runs]), rel=1e-4)
        assert small.scores[place] == pytest.approx(np.mean([run.held_out.scores for run in runs]))
        kept = [run.history[run.best_epoch - 1].train["loss"] for run in runs]
        assert small.train_losses[place] == pytest.approx(np.mean(kept), rel=1e-4)


def test_a_folder_of_another_comparison_is_refused(tmp_path):
    options = {"folds": 2, "recipe": PLAIN, "study_dir": tmp_path}
    meden.compare(MLP, "iris", {"none": None, "L2": {"l2": 0.3}}, **options)
    for alternatives, changes, told in (
        ({"none": None, "L2": {"l2": 0.2}}, {}, "alternatives"),
        ({"L2": {"l2": 0.3}, "none": None}, {}, "alternatives"),
        ({"none": None, "L2": {"l2": 0.3}}, {"seeds": 2}, "seeds"),
        ({"none": None, "small": {"width": 3}}, {}, "models and alternatives"),
    ):
        with pytest.raises(InputError, match=f"got one with different {told}; choose another folder"):
            meden.compare(MLP, "iris", alternatives, **options | changes)
    with pytest.raises(InputError, match="got one with different"):
        meden.tune(MLP, "iris", {"l2": meden.LogUniform(1e-3, 1.0)}, budget=2, **options)


def test_intervals_of_differences_hold_together(made):
    """Four alternatives: each of 98.75 %, by Bonferroni."""
    by_name = {a.name: a for a in made.alternatives}
    values = by_name["L2"].losses - by_name["none"].losses
    error = values.std(ddof=1) * np.sqrt(1 / 3 + 0.5)
    half = error * stats.t.ppf(1 - 0.05 / 4 / 2, 2)
    found = made.difference("L2")
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert "hold for all 4 together (Bonferroni)" in made.summary


@pytest.mark.parametrize(("of", "sign"), [("loss", -1), ("accuracy", 1)])
def test_a_gain_is_the_difference_with_better_above_zero(made, of, sign):
    gain, found = made.gain("L2"), made.difference("L2", of)
    score = gain.loss if of == "loss" else gain.told
    assert score.metric == of and score.estimate == sign * found.mean
    assert [score.low, score.high] == sorted((sign * found.low, sign * found.high))


def text_of(path):
    return Tags(path.read_text(encoding="utf-8")).text


def test_a_report_gives_the_verdict_first_and_holds_every_alternative(made, tmp_path):
    text = text_of(made.report(tmp_path / "report.html"))
    assert all(sentence.text in text for sentence in made.verdict.sentences)
    order = ["Gains over none", "Learning curves", "All alternatives", "The recipe of each", "Reproduce"]
    places = [text.rindex(title) for title in order]
    assert text.index(made.verdict.sentences[0].text) < places[0] and places == sorted(places)
    assert all(a.name in text and f"{a.name.lower()}.yaml" in text for a in made.alternatives)
    assert number(made.difference("L2").mean) in text
    best = min((a.losses.mean(), a.name) for a in made.alternatives[1:] if a.status == "ok")[1]
    assert f"none against {best}" in text


def test_a_report_in_markdown_holds_the_same_sentences(made, tmp_path):
    text = made.report(tmp_path / "report.md", format="md").read_text()
    assert text.startswith("# Which regulariser helps") and "## All alternatives" in text
    assert all(literal(sentence.text) in text for sentence in made.verdict.sentences)


def test_hostile_names_are_shown_literally(tmp_path):
    made = meden.compare(MLP, "iris", {EVIL: None, f"{EVIL} 2": {"l2": 0.1}}, folds=2, recipe=Recipe(epochs=1))
    page = made.report(tmp_path / "report.html").read_text()
    assert EVIL in Tags(page).text and EVIL not in page


def test_the_call_in_the_report_makes_the_comparison_again(tmp_path, monkeypatch):
    alternatives = {"none": PLAIN, "L2": {"l2": 0.3}, "small one": {"width": 3, "dropout": 0.1}}
    made = meden.compare(MLP, "iris", alternatives, folds=3, seeds=2, seed=5, recipe=PLAIN)
    codes = codes_of(made.report(tmp_path / "report.html").read_text())
    for name, text in codes.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(codes["The comparison in Python"], found)
    again = found["made"]
    assert again.table().equals(made.table())
    command = made.report(tmp_path / "said.html", command="meden compare iris").read_text()
    assert codes_of(command)["Command"] == "meden compare iris"


def gain(low, high, loss=(-1.0, 1.0)):
    ends = [
        Score((a + b) / 2, a, b, 0.95, (a + b) / 2, metric)
        for (a, b), metric in (((low, high), "accuracy"), (loss, "loss"))
    ]
    return Gain("none", *ends)


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ([gain(0.1, 0.3)], ["helps: a helps: accuracy +20.0 points (+10.0 to +30.0), loss +0 (-1 to +1)"]),
        ([gain(0.1, 0.2), gain(0.2, 0.4)], ["helps: b helps", "helps: a helps"]),
        ([gain(-0.1, 0.3)], ["none_helps: a does not clearly help: accuracy +10.0 points"]),
        ([gain(-0.1, 0.3), gain(-0.1, 0.5)], ["none_helps: None of these clearly helps; b has the largest gain: "]),
        ([gain(-0.1, 0.3), gain(-0.3, -0.1)], ["none_helps: None of these clearly", "hurts: b hurts: accuracy -20.0"]),
        ([gain(-0.3, -0.1)], ["none_helps: None of these helps.", "hurts: a hurts"]),
        ([gain(-0.1, 0.3, (0.1, 0.2))], ["probabilities: a makes the probabilities better, but does not clearly"]),
        ([], ["none_helps: No alternative has a result to compare with none."]),
    ],
)  # fmt: skip
def test_what_a_verdict_says(gains, told):
    found = comparison_verdict(dict(zip("ab", gains, strict=False)), {}, "none", "95 %.").sentences
    found = [f"{sentence.kind}: {sentence.text}" for sentence in found if sentence.kind != "intervals"]
    assert len(found) == len(told) and all(text.startswith(start) for text, start in zip(found, told, strict=True))


def test_lost_alternatives_are_named_and_intervals_explained(made):
    found = {sentence.kind: sentence.text for sentence in made.verdict.sentences}
    assert found["lost"].startswith("wild has no result: it diverged: ")
    assert "all 4 differences" in found["intervals"] and "98.8 % each (Bonferroni)" in found["intervals"]
    assert "meden compare" not in str(made.verdict), "that is what was just run"


def test_a_first_alternative_without_a_result_is_said(tmp_path):
    made = meden.compare(MLP, "iris", {"wild": {"lr": 1e30}, "L2": {"l2": 0.1}}, folds=2, recipe=Recipe(epochs=1))
    assert made.verdict.sentences[0].text == "No alternative has a result to compare with wild."
    assert "Gains over" not in text_of(made.report(tmp_path / "report.html"))


def test_unknown_names_are_refused(made):
    with pytest.raises(InputError, match="L2"):
        made.difference("L3")
    with pytest.raises(InputError, match="accuracy"):
        made.difference("L2", "mse")
