"""What a diagnosis of a search goes by: its reach, its edges, what it leads by, what is said of its classes."""

import dataclasses
import shlex

import numpy as np
import pytest
from scipy.stats import ttest_1samp

import meden
from meden.cli.settings import parse_space
from meden.space import Choice, IntUniform, LogUniform, Maybe, Uniform
from meden.study.edges import edges_of, written
from meden.study.evidence import evidence_of, more_in_reach, search_of
from tests.report.studies import any_network, study


@pytest.mark.parametrize(
    ("space", "params", "more"),
    [
        ({"l2": LogUniform(1e-4, 1.0)}, {"l2": 0.01}, True),
        ({"l2": LogUniform(1e-4, 1.0)}, {"l2": 0.99}, False),  # at its end: what is best may lie beyond
        ({"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0, 0.5)}, {"l2": 1.0, "dropout": 0.1}, True),
        ({"weight_decay": Maybe(LogUniform(0.1, 10))}, {"weight_decay": None}, True),
        ({"lr": LogUniform(1e-4, 1.0)}, {"lr": 0.01}, False),  # nothing that regularises was searched
        ({"width": Choice(8, 16)}, {"width": 8}, False),
    ],
)
def test_more_is_in_reach_below_the_ends_of_what_regularises(space, params, more):
    made = study(2, space=space, make_model=any_network)
    trial = dataclasses.replace(made.choice, params=params)
    assert more_in_reach(made, trial) == more
    assert evidence_of(dataclasses.replace(made, trials=[dataclasses.replace(trial, number=0)])).more_in_reach == more


def at(made, **params):
    """Return a study whose best configuration has other parameters."""
    best = dataclasses.replace(made.best, params={**made.best.params, **params})
    trials = [best if trial is made.best else trial for trial in made.trials]
    return dataclasses.replace(made, trials=trials), best


@pytest.mark.parametrize(
    ("dimension", "value", "wider"),
    [
        (LogUniform(1e-4, 1.0), 0.99, "0.0001:10:log"),
        (LogUniform(1e-4, 1.0), 1.01e-4, "1e-05:1:log"),
        (LogUniform(1e-4, 1.0), 0.01, None),
        (Uniform(0.1, 0.6), 0.6, "0.1:0.8"),
        (Uniform(0.1, 0.6), 0.1, "0:0.6"),
        (Uniform(0.0, 0.6), 0.0, ""),  # less than none there is not
        (Uniform(0.0, 4.0), 4.0, "0:8"),
        (IntUniform(1, 40), 40, "1:80:int"),
        (IntUniform(1, 40), 1, ""),
        (Maybe(LogUniform(0.1, 10)), 9.9, "off:0.1:100:log"),
        (Maybe(LogUniform(0.1, 10)), None, None),
        (Choice(8, 16), 16, None),
    ],
)
def test_an_edge_is_named_with_the_range_that_goes_further(dimension, value, wider):
    made = study(3, space={"x": dimension}, make_model=any_network)
    made, trial = at(made, x=value)
    found = list(edges_of(made, trial))
    assert [edge.wider for edge in found] == ([] if wider is None else [wider])
    if wider:
        again = parse_space([f"x={wider}"])["x"]
        assert value in again and written(again) == wider


def test_an_edge_that_only_the_simplest_lies_at_is_none():
    made = study(12)
    both, best = at(made, l2=1.0)
    assert [edge.name for edge in search_of(dataclasses.replace(both)).edges] == (
        ["l2"] if both.choice is best or both.choice.params["l2"] > 0.6 else []
    )
    inside, _ = at(made, l2=0.01)
    assert "l2" not in [edge.name for edge in search_of(inside).edges]


def test_a_search_says_by_how_much_the_best_leads():
    made = study(8, num_folds=5, baselines={"plain": 0.2})
    found = search_of(made)
    second, plain = found.leads
    losses = np.array([trial.fold_losses for trial in made.ranked[:2]])
    by_scipy = ttest_1samp(losses[1] - losses[0], 0).confidence_interval(0.95)
    assert second.interval == pytest.approx(tuple(by_scipy), rel=1e-4)
    assert second.estimate == pytest.approx((losses[1] - losses[0]).mean())
    gain = made.gain_over("plain")
    assert plain.estimate == gain.estimate
    assert plain.interval[1] - plain.interval[0] == pytest.approx((gain.high - gain.low) * 1.95996 / 1.64485, rel=1e-4)
    assert (found.num_tried, found.num_finished, found.num_names) == (8, 8, 2) and found.num_alike >= 1


def test_the_lines_of_a_search_search_the_same_again():
    made = meden.tune(
        meden.models.MLP,
        "wine",
        {"l2": LogUniform(1e-4, 1e-2), "dropout": Maybe(Uniform(0.1, 0.5))},
        folds=2,
        budget=2,
        recipe=meden.Recipe(epochs=2),
    )
    words = shlex.split(search_of(made).command("--budget 8"))
    assert words[:5] == ["meden", "tune", "wine", "--model", "mlp"] and words[-2:] == ["--budget", "8"]
    assert parse_space([words[6], words[8]]) == dict(made.space)


def test_each_scored_row_of_a_study_counts_once():
    space, short = {"l2": LogUniform(1e-4, 1e-2)}, meden.Recipe(epochs=2)
    made = meden.tune(meden.models.MLP, "wine", space, folds=3, budget=1, seeds=2, recipe=short)
    answers = made.evidence().answers
    assert len(answers.sure) == 178 and answers.source == "wine --model mlp"
    first = [row for row in made.choice.rows if row.seed == min(r.seed for r in made.choice.rows)]
    assert answers.right.sum() == sum(row.scores.sum() for row in first)
    numbers = meden.tune(meden.models.MLP, "diabetes", space, folds=2, budget=1, recipe=short)
    assert numbers.evidence().answers is None
