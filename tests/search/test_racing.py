"""Races: who stays, by hand and by simulation; real races that leave the survivors alone, and go on after a kill."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest

import meden
from meden import Choice, InputError, LogUniform, Recipe, Uniform
from meden.models import MLP
from meden.search import engine, racing
from meden.search.racing import THE_END, loss_at, rounds, rungs, survivors
from meden.search.tune import tune


def plainly(losses, errors, share, least):
    """The rule in loops, for rows that ran everywhere or nowhere they are NaN."""
    sound = [m for m in range(len(losses)) if not np.isinf(losses[m]).any()]
    full = max(int((~np.isnan(losses[m])).sum()) for m in sound)
    leader = min((m for m in sound if (~np.isnan(losses[m])).sum() == full), key=lambda m: np.nanmean(losses[m]))
    means, of_means = {}, {}
    for m in sound:
        pairs = [a - b for a, b in zip(losses[m], losses[leader], strict=True) if not math.isnan(a - b)]
        means[m] = sum(pairs) / len(pairs)
        of_means[m] = np.std(pairs, ddof=1) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.inf
    ranked = sorted(sound, key=lambda m: means[m])
    kept = set(ranked[: max(least, math.ceil(share * len(losses)))])
    return sorted(kept | {m for m in sound if means[m] <= errors * of_means[m]})


@pytest.mark.parametrize("seed", range(8))
def test_survivors_equal_a_plain_loop(seed):
    random = np.random.default_rng(seed)
    losses = random.normal(size=(30, 5)) * 0.3 + random.normal(size=(30, 1)) + random.normal(size=5)
    losses[random.integers(30, size=3), random.integers(5, size=3)] = np.inf
    losses[random.integers(30, size=4), 3:] = np.nan
    for errors, share, least in ((1, 0.0, 1), (2, 0.0, 1), (0, 0.5, 1), (1, 0.1, 8), (0, 1.0, 1)):
        found = survivors(losses, errors=errors, share=share, least=least)
        assert found == plainly(losses, errors, share, least)


def test_survivors_by_hand():
    """Differences from the leader: 0.1, 0.3, -0.1 (mean 0.1 <= 0.115) and 0.1, 0.3, 0.0 (mean 0.133 > 0.088)."""
    losses = np.array([[1.0, 2, 3], [1.1, 2.3, 2.9], [1.1, 2.3, 3.0], [np.inf, 0, 0], [9, 9, 9]])
    assert survivors(losses, errors=1, share=0.0, least=1) == [0, 1]
    assert survivors(losses, errors=1, share=0.0, least=3) == [0, 1, 2]
    assert survivors(losses, errors=1, share=0.8, least=1) == [0, 1, 2, 4], "a row that diverged never stays"
    assert survivors(losses[3:4]) == []


def test_ties_are_kept_and_a_single_fold_decides_nothing():
    assert survivors(np.ones((5, 3)), errors=0, share=0.0, least=1) == [0, 1, 2, 3, 4]
    assert survivors(np.arange(5.0)[:, None], errors=1, share=0.0, least=1) == [0, 1, 2, 3, 4]


def test_what_a_fold_adds_to_all_cancels_out():
    random = np.random.default_rng(0)
    losses = random.normal(size=(20, 5))
    assert survivors(losses) == survivors(losses + 100 * random.normal(size=5))


def race(random, num_folds):
    """Race 64 over 4 rungs, which share most of their noise; say whether the best is left, and how many.

    Every other is behind the best by one standard error of their paired difference or more, half of them by less than
    1.7.
    """
    error = math.sqrt(2 / num_folds)
    means = np.append(0.0, error * (1 + abs(random.normal(size=63))))
    shared, left = random.normal(size=(64, num_folds)), np.arange(64)
    for _ in range(4):
        own = math.sqrt(0.7) * shared[left] + math.sqrt(0.3) * random.normal(size=(len(left), num_folds))
        left = left[survivors(means[left, None] + own + 10 * random.normal(size=num_folds))]
    return 0 in left, len(left)


@pytest.mark.parametrize("num_folds", [3, 5])
def test_a_best_one_that_is_more_than_a_standard_error_ahead_mostly_stays(num_folds):
    random = np.random.default_rng(0)
    stayed, left = zip(*(race(random, num_folds) for _ in range(400)), strict=True)
    assert np.mean(stayed) >= 0.95 and np.mean(left) < 24


def test_rungs_and_rounds():
    for epochs in range(1, 300):
        found = rungs(epochs)
        assert found == sorted(set(found)) and all(4 <= rung <= epochs / 2 for rung in found)
        assert all(later == 2 * rung for rung, later in itertools.pairwise(found))
    for num_folds in range(2, 30):
        parts = rounds(num_folds)
        assert [fold for part in parts for fold in part] == list(range(num_folds))
        assert all(len(part) >= min(3, num_folds) for part in parts[:1])


def test_where_a_training_stands():
    curve = [3.0, 1.0, 2.0]
    assert [loss_at(curve, epoch, keeps_best=True) for epoch in (1, 2, 3, THE_END)] == [3, 1, 1, 1]
    assert [loss_at(curve, epoch, keeps_best=False) for epoch in (1, 2, 3, THE_END)] == [3, 1, 2, 2]
    assert loss_at([3.0, math.nan], 1, keeps_best=True) == 3.0
    assert loss_at([3.0, math.nan], 2, keeps_best=True) == math.inf


SPACE = {"lr": LogUniform(1e-4, 1e-1), "l2": LogUniform(1e-3, 1.0), "dropout": Uniform(0, 0.5)}
RECIPE = Recipe(epochs=16, batch_size=32, early_stopping=meden.EarlyStopping(patience=8))


@pytest.fixture
def one_by_one(monkeypatch):
    """Trainings of a few steps are done before a stack of them is traced; the results are the same."""
    monkeypatch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
    monkeypatch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)


def search(**changes):
    options = {"folds": 4, "budget": 10, "strategy": "random", "recipe": RECIPE, "racing": True} | changes
    with pytest.MonkeyPatch.context() as patch:  # a race of few configurations
        patch.setattr(racing.survivors, "__kwdefaults__", {"errors": 1.0, "share": 0.4, "least": 2})
        return tune(MLP, "iris", SPACE, **options)


@pytest.fixture(scope="module")
def whole():
    return search()


def rows(study):
    return [row for trial in study.trials for row in trial.rows]


def same(study, other):
    pd.testing.assert_frame_equal(study.table(), other.table(), rtol=1e-4)
    for ours, theirs in zip(rows(study), rows(other), strict=True):
        assert (ours.key, ours.status, ours.num_epochs) == (theirs.key, theirs.status, theirs.num_epochs)
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-3, atol=1e-6)


def test_a_race_leaves_survivors_as_they_are_and_saves_epochs(whole):
    complete = search(racing=False)
    assert [t.params for t in whole.trials] == [t.params for t in complete.trials]
    left = [trial for trial in whole.trials if trial.status == "ok"]
    assert 2 <= len(left) < 10
    for trial in left:
        np.testing.assert_allclose(trial.fold_losses, complete.trials[trial.number].fold_losses, rtol=1e-3)
    assert sum(row.num_epochs for row in rows(whole)) < 0.8 * sum(row.num_epochs for row in rows(complete))
    assert whole.best.status == whole.one_se.status == "ok"


def test_those_that_lost_say_when_and_have_no_score(whole):
    lost = [trial for trial in whole.trials if trial.status != "ok"]
    assert {row.num_epochs for t in lost for row in t.rows if row.status == "dropped"} <= {0, 4, 8}
    for trial in lost:
        assert trial.status == "dropped" and trial.reason.startswith("lost a race") and math.isnan(trial.loss)
        assert len(trial.rows) == 4
    assert whole.table()["status"].tolist()[-len(lost) :] == sorted_last(whole, lost)


def test_a_report_tells_how_many_lost(whole, tmp_path):
    page = whole.report(tmp_path / "report.html").read_text(encoding="utf-8")
    lost = sum(trial.status != "ok" for trial in whole.trials)
    trained = sum(row.num_epochs > 0 for row in rows(whole))
    assert f"{trained} fits; none diverged, {lost} lost a race and were stopped early" in page


def sorted_last(study, lost):
    by_number = {trial.number: trial.outcome for trial in lost}
    return [by_number[number] for number in study.table()["configuration"].tolist()[-len(lost) :]]


def test_decisions_look_at_stop_splits_and_never_at_scored_rows(whole, monkeypatch):
    """Held-out losses that are all turned round change nothing about who is dropped."""
    plain = engine.make_row

    def turned(*arguments):
        row = plain(*arguments)
        return dataclasses.replace(row, losses=-row.losses, scores=1 - row.scores)

    monkeypatch.setattr(engine, "make_row", turned)
    assert [t.status for t in search().trials] == [t.status for t in whole.trials]


class Killed(Exception):
    pass


def test_a_race_that_was_killed_goes_on_to_the_same_end(tmp_path, whole):
    def stop(progress):
        if progress.num_fits == 25:
            raise Killed

    with pytest.raises(Killed):
        search(study_dir=tmp_path, on_progress=stop)
    resumed = search(study_dir=tmp_path)
    same(resumed, whole)
    again = search(study_dir=tmp_path, on_progress=stop)
    same(again, whole)


@pytest.mark.usefixtures("one_by_one")
def test_equals_all_stay():
    made = tune(MLP, "iris", {"lr": Choice(3e-2)}, folds=4, budget=3, strategy="random", recipe=RECIPE, racing=True)
    assert {trial.status for trial in made.trials} == {"ok"}


def test_races_in_batches_replay(tmp_path, monkeypatch):
    monkeypatch.setattr("meden.search.strategies.BATCH", 4)
    first = search(strategy="tpe", budget=6, study_dir=tmp_path)
    same(search(strategy="tpe", budget=6, study_dir=tmp_path), first)


def test_a_race_needs_stop_splits():
    with pytest.raises(InputError, match="stop_fraction must be above 0 for racing"):
        search(stop_fraction=0.0, recipe=RECIPE.replace(early_stopping=None))


@pytest.mark.usefixtures("one_by_one")
def test_what_diverges_is_dropped_and_says_so():
    recipe = RECIPE.replace(optimizer="sgd")
    space = {"lr": Choice(1e30, 1e-3, 1e-2, 3e-2)}
    made = tune(MLP, "iris", space, folds=4, budget=4, strategy="grid", recipe=recipe, racing=True)
    wild = next(trial for trial in made.trials if trial.params["lr"] == 1e30)
    assert wild.status.startswith("diverged") and len(wild.rows) == 4
    assert made.best.params["lr"] < 1


def test_after_a_race_all_rows_correct_the_score(whole):
    """What the choice is corrected by are the survivors, on the same rows as its mean over the folds."""
    losses = np.stack([np.concatenate([row.losses for row in t.rows]) for t in whole.trials if t.status == "ok"])
    num_rows = losses.shape[1]
    folds = np.repeat(np.arange(4), [len(fold.score) for fold in whole.folds])
    weights = 1 / np.bincount(folds)[folds]
    draws, differences = np.random.default_rng(whole.seed), []
    choice = np.concatenate([row.losses for row in whole.best.rows])
    for _ in range(1000):
        drawn = draws.integers(num_rows, size=num_rows)
        means = [losses[:, drawn[folds[drawn] == fold]].mean(axis=1) for fold in range(4)]
        left_out = np.setdiff1d(np.arange(num_rows), drawn)
        difference = losses[np.argmin(np.mean(means, axis=0))] - choice
        differences.append(np.average(difference[left_out], weights=weights[left_out]))
    score = whole.score_of("loss", "best")
    assert score.naive == pytest.approx(whole.best.loss)
    assert score.estimate == pytest.approx(whole.best.loss + np.mean(differences), rel=1e-5)
    assert score.estimate >= score.naive
