"""Limits of a search: counted, or in seconds; what is told when they are too tight."""

import time

import pytest

import meden
from meden import InputError, LogUniform, Recipe
from meden.models import MLP
from meden.search import tune
from meden.search.budget import SAFE, TIMED_BATCH, Budget
from meden.space import cocktail
from meden.space.dimensions import Maybe
from tests.report.studies import study as made_by_hand

SPACE = {"l2": LogUniform(1e-3, 1.0)}
RECIPE = Recipe(epochs=4, lr=0.01, batch_size=64)


def search(**changes):
    options = {"folds": 2, "budget": 6, "strategy": "random", "recipe": RECIPE} | changes
    return tune(MLP, "iris", SPACE, **options)


def rows(num):
    """Rows of so many configurations, 3 trainings of 20 epochs each."""
    found = [row for trial in made_by_hand(num, num_folds=3).trials for row in trial.rows]
    assert len(found) == 3 * num and {row.seconds for row in found} == {0.5}
    return found


def test_without_limits_a_batch_may_be_of_any_size():
    assert Budget(None, None, 60).allows([], []) is None


def test_epochs_are_never_exceeded():
    budget = Budget(200, None, 60)
    assert budget.allows([], []) == 3
    assert budget.allows(rows(2), rows(2)) == 1  # 120 of 200 are spent
    assert budget.allows(rows(3), rows(3)) == 0


def test_time_goes_first_to_one_configuration_and_then_to_as_many_as_are_likely_to_fit():
    assert Budget(None, 100.0, 60).allows([], []) == 1
    one, two = rows(1), rows(2)  # 1.5 seconds each
    assert Budget(None, 10.0, 60).allows(one, one) == int(SAFE * 8.5 / 1.5)
    assert Budget(None, 1000.0, 60).allows(one, one) == TIMED_BATCH
    assert Budget(None, 4.0, 60).allows(two, two[3:]) == 0
    assert Budget(60, 1000.0, 60).allows(one, one) == 0, "the tighter of two limits counts"


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
    with pytest.raises(InputError, match="other epochs_budget"):
        search(epochs_budget=35, recipe=early, study_dir=tmp_path)


def test_a_time_limit_ends_a_search_with_what_is_complete(tmp_path):
    started = time.perf_counter()
    made = search(time_limit=8.0, budget=100_000, study_dir=tmp_path)
    assert 1 <= len(made.trials) < 100_000 and {trial.status for trial in made.trials} == {"ok"}
    assert time.perf_counter() - started < 60
    again = search(time_limit=8.0, budget=100_000, study_dir=tmp_path)
    assert [trial.params for trial in again.trials][: len(made.trials)] == [trial.params for trial in made.trials]


def test_a_time_limit_that_is_too_short_says_what_one_configuration_needs():
    with pytest.raises(InputError, match=r"time_limit must be at least about [\d.e+]+ s.*in all its folds.*got 0.01 s"):
        search(time_limit=0.01)


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
