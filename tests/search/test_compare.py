"""Comparisons: paired, with intervals that know that folds overlap."""

import numpy as np
import pytest
from scipy import stats

import meden
from meden import InputError, Recipe
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.noise import derive
from meden.report.numbers import number
from meden.search.comparison import mean_over_folds
from meden.search.comparison_page import _lead

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
        with pytest.raises(InputError, match=f"got one with other {told}; choose another folder"):
            meden.compare(MLP, "iris", alternatives, **options | changes)
    with pytest.raises(InputError, match="got one with other"):
        meden.tune(MLP, "iris", {"l2": meden.LogUniform(1e-3, 1.0)}, budget=2, **options)


def test_a_report_says_what_helps_and_holds_every_alternative(made, tmp_path):
    text = made.report(tmp_path / "report.html").read_text()
    assert "Which regulariser helps" in text and all(f">{a.name}<" in text for a in made.alternatives)
    lead = _lead(made.table().to_dict("records"))
    best = min((made.difference(name).mean, name) for name in ("same", "L2", "small"))[1]
    assert best in lead and f"{number(made.difference(best).high)}" in lead


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-0.3, -0.1, "L2 helps: the 95 % interval of its difference from none is -0.3 to -0.1."),
        (-0.3, 0.1, "nothing helps for certain"),
        (0.1, 0.3, "nothing helps:"),
        (np.nan, np.nan, "No alternative has"),
    ],
)
def test_the_lead_of_a_report_goes_by_the_interval(low, high, told):
    ends = {"loss_difference_low": low, "loss_difference_high": high}
    assert told in _lead([{"name": "none"}, {"name": "L2", "loss_difference": (low + high) / 2} | ends])


def test_unknown_names_are_refused(made):
    with pytest.raises(InputError, match="L2"):
        made.difference("L3")
    with pytest.raises(InputError, match="accuracy"):
        made.difference("L2", "mse")
