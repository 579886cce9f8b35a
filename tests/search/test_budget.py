"""Limits of a search: counted, or in seconds; what is told when they are too tight."""

import dataclasses
import time
import warnings

import numpy as np
import pytest
import torch

import meden
from meden import InputError, LogUniform, Member, Recipe, load_study
from meden.deadline import Deadline, Pace
from meden.models import MLP
from meden.search import tune
from meden.search.budget import FIRST_SHARE, LIMITED_BATCH, SAFE, Budget, Until
from meden.space import cocktail
from meden.space.dimensions import Maybe
from tests.report.studies import study as made_by_hand

SPACE = {"l2": LogUniform(1e-3, 1.0)}
RECIPE = Recipe(epochs=4, lr=0.01, batch_size=64)


def search(**changes):
    options = {"folds": 2, "budget": 6, "strategy": "random", "recipe": RECIPE, "baselines": False} | changes
    return tune(MLP, "iris", SPACE, **options)


def rows(num):
    """Rows of so many configurations, 3 trainings of 20 epochs each."""
    found = [row for trial in made_by_hand(num, num_folds=3).trials for row in trial.rows]
    assert len(found) == 3 * num and {row.seconds for row in found} == {0.5}
    return found


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: seconds since now, to be moved."""
    moved = [0.0]
    monkeypatch.setattr("meden.deadline.now", lambda: 1000.0 + moved[0])
    return moved


def timed(seconds, **changes):
    return Budget(longest=60, seconds=seconds, until=Until(Deadline.after(seconds), **changes))


def test_without_limits_a_batch_may_be_of_any_size():
    assert Budget(longest=60).allows([], []) is None and Budget().pace([]).is_free


def test_epochs_are_never_exceeded():
    budget = Budget(200, 60)
    assert budget.allows([], []) == 3
    assert budget.allows(rows(2), rows(2)) == 1  # 120 of 200 are spent
    assert budget.allows(rows(3), rows(3)) == 0


def test_time_goes_first_to_one_configuration_and_then_to_as_many_as_are_likely_to_fit(clock):
    assert timed(100.0).allows([], []) == 1
    one = rows(1)  # 1.5 seconds each
    budget, loaded = timed(10.0), timed(10.0, after=2.0)
    clock[0] = 1.5
    assert budget.allows(one, one) == int(SAFE * 8.5 / 1.5)
    assert loaded.allows(one, one) == int(SAFE * 5.5 / 1.5), "what follows takes as long as two configurations"
    assert timed(1000.0).allows(one, one) == LIMITED_BATCH
    assert dataclasses.replace(budget, epochs=60).allows(one, one) == 0, "the tighter of two limits counts"
    clock[0] = 9.0
    assert budget.allows(one, one) == 0 and budget.deadline.seconds_left() == 1.0


def test_the_first_configuration_is_planned_to_take_a_share_and_leaves_half_for_what_follows(clock):
    pace = timed(100.0, after=3.0).first_pace()
    assert pace.goal.seconds_left() == 100 * FIRST_SHARE and pace.deadline.seconds_left() == 50
    assert timed(100.0).first_pace().deadline.seconds_left() == 100, "nothing follows"
    assert timed(100.0, after=2.0).pace(rows(1)).deadline.seconds_left() == 97


def test_a_search_keeps_to_its_epochs_and_goes_on_to_the_same_end(tmp_path):
    made = search(epochs_budget=34)  # 8 for each configuration
    spent = sum(row.num_epochs for trial in made.trials for row in trial.rows)
    assert (len(made.trials), spent) == (4, 32)
    early = RECIPE.replace(epochs=8, lr=0.3, early_stopping=meden.EarlyStopping(patience=1))
    saved = search(epochs_budget=34, recipe=early, study_dir=tmp_path)
    spent = sum(row.num_epochs for trial in saved.trials for row in trial.rows)
    assert len(saved.trials) > 34 // 16 and spent <= 34, "epochs that early stopping saved are spent on others"
    again = search(epochs_budget=34, recipe=early, study_dir=tmp_path)
    assert [trial.params for trial in again.trials] == [trial.params for trial in saved.trials]
    with pytest.raises(InputError, match=f"epochs_budget must be at least {spent}, the epochs that .* holds"):
        search(epochs_budget=spent - 1, recipe=early, study_dir=tmp_path)


def test_a_time_limit_ends_a_search_with_what_is_complete(tmp_path):
    started = time.perf_counter()
    made = search(time_limit=8.0, budget=100_000, study_dir=tmp_path)
    assert 1 <= len(made.trials) < 100_000 and {trial.status for trial in made.trials} == {"ok"}
    assert time.perf_counter() - started < 60
    again = search(time_limit=8.0, budget=100_000, study_dir=tmp_path)
    assert [trial.params for trial in again.trials][: len(made.trials)] == [trial.params for trial in made.trials]


def slow_model(num_inputs, num_outputs):
    """A model of which a step takes 50 ms and more."""

    class Slow(torch.nn.Linear):
        def forward(self, x):
            if self.training and len(x) > 16:  # fewer are tried before
                time.sleep(0.05)
            return super().forward(x)

    return Slow(num_inputs, num_outputs)


def slow_search(**changes):
    recipe = Recipe(epochs=1000, batch_size=22)  # three steps an epoch: 64 rows in 22, 21 and 21
    options = {"folds": 2, "budget": 6, "strategy": "random", "recipe": recipe, "baselines": False} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it cannot be stacked
        return tune(slow_model, "iris", {"lr": LogUniform(1e-3, 0.1)}, **options)


def test_a_time_limit_shortens_the_schedule_and_says_so(tmp_path):
    started = time.perf_counter()
    made = slow_search(time_limit=10.0, study_dir=tmp_path)
    assert time.perf_counter() - started < 11
    epochs = {row.epochs for trial in made.trials for row in trial.rows}
    assert None not in epochs and max(epochs) < 40 and made.status == "ok"
    assert made.shortened.startswith("the time limit of 10 s allowed ")
    fewer = f" and {len(made.trials)} of 6 configurations" if len(made.trials) < 6 else ""  # how many depends on load
    assert f"{max(epochs)} of 1000 epochs{fewer}" in made.shortened
    assert made.final()[0].epochs <= max(epochs), "the final model is trained as long as the folds were"
    assert load_study(tmp_path).shortened == made.shortened


def test_a_time_limit_for_one_epoch_of_few_folds_gives_what_that_is_worth(tmp_path, monkeypatch, clock):
    def steps_take_a_second(_):
        clock[0] += 1.0

    monkeypatch.setattr(time, "sleep", steps_take_a_second)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    monkeypatch.setattr(Budget, "first_pace", lambda _: Pace(Deadline.after(10.0), goal=Deadline.after(0.0)))
    recipe = Recipe(epochs=9, batch_size=34)  # 102 rows: three steps an epoch
    made = slow_search(time_limit=60.0, folds=5, recipe=recipe, study_dir=tmp_path)
    assert len(made.folds) == 3 and len(made.trials) == 1 and made.status == "ok"
    assert f"{len(made.folds)} of 5 folds, 1 of 9 epochs and 1 of 6 configurations" in made.shortened
    loaded = load_study(tmp_path)
    assert loaded.table().equals(made.table()) and loaded.score == made.score
    assert np.isfinite(made.score.estimate)
    monkeypatch.undo()
    more = slow_search(folds=5, budget=2, recipe=recipe, study_dir=tmp_path)
    assert len(more.folds) == 5 and len(more.trials) == 2 and more.shortened == "the time limit allowed 1 of 9 epochs"


def test_a_training_keeps_its_best_epoch_when_the_time_is_up(monkeypatch):
    monkeypatch.setattr("meden.deadline.Pace.epochs", lambda _, planned, *_spent: planned)  # not shortened
    recipe = Recipe(epochs=1000, batch_size=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (run,) = meden.fit_many(slow_model, [Member(recipe)], "iris", deadline=Deadline.after(1.5))
    assert run.status == "stopped_early" and run.reason == f"time limit reached after epoch {len(run.history)}"
    assert 1 <= len(run.history) == run.recipe.epochs < 10


def test_at_least_one_epoch_is_trained_where_there_must_be_a_model():
    for chunk in (1, None):
        members = [Member(Recipe(epochs=5), seed=seed) for seed in range(4)]
        runs = meden.fit_many(MLP, members, "iris", chunk=chunk, deadline=Deadline.after(0.0))
        assert [(run.status, len(run.history), run.recipe.epochs) for run in runs] == [("completed", 1, 1)] * 4


def test_a_time_limit_that_is_too_short_says_what_one_epoch_needs():
    with pytest.raises(
        InputError, match=r"time_limit must be at least about [\d.e+]+ s for an epoch of one fold.*0.01"
    ):
        search(time_limit=0.01)
    with pytest.raises(InputError, match=r"time_limit must be at least about [\d.e+]+ s.*got 0.1 s"):
        slow_search(time_limit=0.1)


def test_a_study_goes_on_where_its_budget_is_larger(tmp_path):
    for strategy in ("sobol", "random", "tpe"):
        folder = tmp_path / strategy
        few = search(strategy=strategy, budget=3, study_dir=folder)
        more = search(strategy=strategy, budget=5, study_dir=folder)
        whole = search(strategy=strategy, budget=5)
        assert [t.params for t in more.trials] == [t.params for t in whole.trials]
        assert [t.loss for t in more.trials[:3]] == [t.loss for t in few.trials]
        assert load_study(folder).status == "ok" and len(load_study(folder).trials) == 5
        with pytest.raises(InputError, match=r"budget must be at least 5, the configurations that .* holds, got 4"):
            search(strategy=strategy, budget=4, study_dir=folder)


def test_a_grid_of_another_size_is_another_search(tmp_path):
    search(strategy="grid", budget=2, study_dir=tmp_path)
    with pytest.raises(InputError, match="got one with different budget"):
        search(strategy="grid", budget=4, study_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epochs_budget": 7}, "epochs_budget must be at least 8, which one configuration may need, got 7"),
        ({"epochs_budget": 8.5}, "epochs_budget must be a whole number"),
        ({"time_limit": 0}, "time_limit must be a finite number above 0"),
        ({"time_limit": "long"}, "time_limit must be a number"),
    ],
)
def test_wrong_limits_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        search(**options)


def test_the_default_space_can_be_searched_and_takes_what_the_model_takes():
    iris = meden.as_dataset("iris")
    made = tune(MLP, iris, folds=2, budget=2, recipe=Recipe(epochs=1, batch_size=64))
    assert set(made.space) == set(cocktail("classification", MLP)) > {"width", "mixup", "label_smoothing"}

    def plain(num_inputs, num_outputs, depth=1):
        return MLP(num_inputs, num_outputs, depth=depth)

    space = cocktail("regression", plain)
    assert "depth" in space and not {"width", "batch_norm", "label_smoothing"} & set(space)
    assert any(isinstance(dimension, Maybe) for dimension in space.values())
