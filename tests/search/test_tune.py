"""A search as a whole: killed and resumed, in any order, refused for others, and when nothing of it is of use."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

import meden
from meden import Choice, InputError, LogUniform, Recipe, Uniform
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.search import Progress, tune
from meden.search.tune import LEDGER

SPACE = {"l2": LogUniform(1e-3, 1.0), "dropout": Uniform(0, 0.5)}
DIVERGING = Recipe(optimizer="sgd", epochs=2, batch_size="full")
FIRST = {"l2": 0.02, "dropout": 0.1}
RECIPE = Recipe(epochs=3, lr=0.01, batch_size=64, early_stopping=meden.EarlyStopping(patience=2))
OPTIONS = {"folds": 2, "budget": 4, "strategy": "random", "recipe": RECIPE, "baselines": False}


def search(**changes):
    options = {"make_model": MLP, "data": "iris", "space": SPACE} | OPTIONS | changes
    return tune(**options)


@pytest.fixture(scope="module")
def whole():
    return search()


class Killed(Exception):
    pass


def killed_after(num):
    def stop(progress: Progress):
        if progress.num_fits == num:
            raise Killed

    return stop


def fits(seen):
    """Return how many fits were done, told after told, without what is told between fits."""
    return [num for num, _ in itertools.groupby(progress.num_fits for progress in seen)]


def same(study, other):
    pd.testing.assert_frame_equal(study.table(), other.table(), check_exact=True)
    for ours, theirs in zip(study.trials, other.trials, strict=True):
        np.testing.assert_array_equal(ours.fold_losses, theirs.fold_losses)


@pytest.mark.parametrize("strategy", ["random", "tpe", "grid"])
@pytest.mark.parametrize("num", [1, 5])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, num, strategy):
    with pytest.raises(Killed):
        search(study_dir=tmp_path, strategy=strategy, on_progress=killed_after(num))
    ledger = tmp_path / LEDGER
    assert len(ledger.read_text().splitlines()) == 1 + num
    with ledger.open("a") as file:
        file.write('{"configuration": 3, "fold": 1, "se')
    seen = []
    resumed = search(study_dir=tmp_path, strategy=strategy, on_progress=seen.append)
    assert fits(seen)[0] == 0 and [done for done in fits(seen) if done > num] == list(range(num + 1, 9))
    same(resumed, search(strategy=strategy))
    seen.clear()
    again = search(study_dir=tmp_path, strategy=strategy, on_progress=seen.append)
    assert fits(seen) == [0, 8], "a whole ledger trains nothing"
    same(again, resumed)


def test_results_do_not_depend_on_the_budget_around_them(whole):
    fewer = search(budget=2)
    for ours, theirs in zip(fewer.trials, whole.trials[:2], strict=True):
        assert ours.params == theirs.params
        np.testing.assert_allclose(ours.fold_losses, theirs.fold_losses, rtol=1e-5)


def test_a_ledger_refuses_any_other_study(tmp_path, whole):
    search(study_dir=tmp_path)
    before = (tmp_path / LEDGER).read_bytes()
    rows = as_dataset("iris").take(np.arange(149))
    for changes, told in (
        ({"data": rows}, "data and splits"),
        ({"space": SPACE | {"l2": LogUniform(1e-3, 2.0)}}, "space"),
        ({"space": dict(reversed(SPACE.items()))}, "space"),
        ({"recipe": RECIPE.replace(lr=0.02)}, "recipe"),
        ({"seed": 1}, "splits and seed"),
        ({"stop_fraction": 0.3}, "splits"),
        ({"make_model": lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=3)}, "models"),
        ({"strategy": "tpe"}, "strategy"),
        ({"first": [FIRST]}, "first"),
    ):
        with pytest.raises(InputError, match=f"got one with different {told}; choose another folder"):
            search(study_dir=tmp_path, **changes)
    assert (tmp_path / LEDGER).read_bytes() == before


def test_first_points_are_configurations_like_any_other(tmp_path, whole):
    with pytest.raises(Killed):
        search(study_dir=tmp_path, first=[FIRST], on_progress=killed_after(1))
    resumed = search(study_dir=tmp_path, first=[FIRST])
    same(resumed, search(first=[FIRST]))
    assert resumed.trials[0].params == FIRST and len(resumed.trials) == len(whole.trials)
    with pytest.raises(InputError, match=r"first must lie in the space: 'l2' in .*, got 7"):
        search(study_dir=tmp_path / "new", first=[FIRST | {"l2": 7}])
    assert not (tmp_path / "new").exists()


def test_a_damaged_ledger_is_named_with_its_line(tmp_path):
    search(study_dir=tmp_path)
    lines = (tmp_path / LEDGER).read_text().splitlines()
    for number, bad in ((1, "[1]"), (3, "{"), (3, '{"configuration": 0}')):
        (tmp_path / LEDGER).write_text("\n".join([*lines[: number - 1], bad, *lines[number:]]) + "\n")
        with pytest.raises(InputError, match=f"line {number} is damaged"):
            search(study_dir=tmp_path)


def test_a_refusal_writes_nothing(tmp_path):
    with pytest.raises(InputError):
        search(study_dir=tmp_path / "study", space={"dropout": Uniform(0, 1)})
    assert not list(tmp_path.iterdir())


def test_progress_tells_the_best_of_whole_configurations(whole):
    seen = []
    search(on_progress=seen.append)
    assert fits(seen) == list(range(9)) and {p.max_fits for p in seen} == {8}
    assert math.isinf(seen[0].best_loss)
    assert seen[-1].best_loss == pytest.approx(whole.best.loss)
    assert sorted(seen, key=lambda p: -p.best_loss) == seen


def test_seconds_of_the_rows_add_up_to_wall_time():
    import time

    started = time.perf_counter()
    study = search()
    assert 0 < study.seconds <= time.perf_counter() - started


def test_scores_are_those_of_rows_that_nothing_else_saw(whole):
    """A member trained by hand on the fold's fitting rows scores the same on its held-out rows."""
    iris, trial = as_dataset("iris"), whole.trials[0]
    folds = make_folds(iris, 2, seed=0, stop_fraction=0.15)
    recipe, model_args = whole.recipe_of(trial)
    from meden.noise import derive

    members = [meden.Member(recipe, fold, derive(0, "seed", 0), model_args) for fold in folds]
    runs = meden.fit_many(MLP, members, iris, chunk=1)
    found = [run.held_out.losses.mean() for run in runs]
    np.testing.assert_allclose(found, trial.fold_losses, rtol=1e-4)
    assert [len(row.losses) for row in trial.rows] == [len(fold.score) for fold in folds]


def test_seeds_are_rows_of_their_own():
    study = search(budget=1, seeds=2)
    losses = {row.key: row.losses.mean() for row in study.trials[0].rows}
    assert len(losses) == 4 == len(set(losses.values()))


@pytest.fixture(scope="module")
def lost():
    """A search in which everything diverges."""
    x = np.random.default_rng(0).normal(size=(40, 3))
    options = OPTIONS | {"budget": 2, "strategy": "grid", "recipe": DIVERGING}
    return tune(MLP, (x, 1e10 * x[:, 0]), {"lr": Choice(1e20, 1e25)}, **options)


def test_a_search_in_which_everything_diverged_is_an_outcome(lost, tmp_path):
    assert lost.status == "diverged" and [trial.number for trial in lost.trials] == [0, 1]
    assert lost.table()["status"].str.startswith("diverged: loss or weights were not finite").all()
    assert set(lost.table()["chosen"]) == {""}
    assert lost.report(tmp_path / "report.html").exists()
    for name in ("best", "one_se", "score"):
        with pytest.raises(InputError, match="every configuration diverged"):
            getattr(lost, name)
    with pytest.raises(InputError, match="every configuration diverged"):
        lost.refit()


def test_diverged_configurations_rank_last_and_never_win():
    x = np.random.default_rng(0).normal(size=(40, 3))
    options = OPTIONS | {"budget": 2, "strategy": "grid", "recipe": DIVERGING}
    study = tune(MLP, (x, x[:, 0]), {"lr": Choice(1e25, 1e-3)}, **options)
    assert study.status == "ok" and study.best.params == study.one_se.params == {"lr": 1e-3}
    assert study.table()["lr"].tolist() == [1e-3, 1e25]
    assert math.isfinite(study.score.estimate)


def test_refit_trains_on_all_rows_for_the_median_of_the_kept_epochs(whole):
    run = whole.refit("best")
    assert len(run.history) == run.best_epoch == max(1, whole.best.median_epoch)
    assert run.recipe.early_stopping is None and run.held_out is None
    steps = run.history[0].step
    assert steps == math.ceil(150 / 64)
    with pytest.raises(InputError, match="one_se, best"):
        whole.refit("worst")


def test_recipes_that_no_file_can_hold_are_searched_in_memory_only(tmp_path):
    from torch import nn

    recipe = RECIPE.replace(regularizers=[meden.Regularizer(meden.penalties.L1(1e-3), on=nn.Linear)])
    assert len(search(recipe=recipe, budget=1).trials) == 1
    with pytest.raises(InputError, match="must be a plain value to be written to a file"):
        search(recipe=recipe, budget=1, study_dir=tmp_path)


def test_the_first_line_of_a_ledger_says_what_the_study_is(tmp_path):
    search(study_dir=tmp_path, budget=1)
    first = json.loads((tmp_path / LEDGER).read_text().splitlines()[0])
    assert set(first["identity"]) >= {"data", "splits", "models", "space", "recipe", "strategy", "seed"}


@pytest.mark.parametrize("num_rows", [6, 12])
def test_tiny_tables(num_rows):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=num_rows), "y": ["a", "b"] * (num_rows // 2)})
    study = tune(MLP, frame, SPACE, target="y", folds=2, budget=2, recipe=RECIPE)
    assert study.status == "ok" and study.refit().predict(frame).values.shape == (num_rows,)
