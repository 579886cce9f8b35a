"""No held-out row is ever seen: whatever the scored rows hold, weights, encoders, stopping and choosing are the same.

Two data sets differ in the values and labels of some scored rows alone. All that fitted or decided must be equal bit
for bit; what those rows score must not. (Whole searches are tried on numbers: their splits do not look at labels.)
"""

import numpy as np
import pandas as pd
import pytest
import torch

import meden
from meden import Choice, LogUniform, Recipe, Uniform
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.noise import derive
from meden.search import nested

pytestmark = pytest.mark.filterwarnings("ignore:column .* (never or too rarely seen|different strings)")
N = 90
STOPPING = meden.EarlyStopping(patience=2)
RECIPE = Recipe(epochs=8, lr=0.03, batch_size=16, dropout=0.2, early_stopping=STOPPING)


@pytest.fixture
def one_by_one(monkeypatch):
    """Trainings of a few steps are done before a stack of them is traced; the results are the same."""
    monkeypatch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
    monkeypatch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)


def table(task="classification"):
    random = np.random.default_rng(0)
    columns = {
        "number": np.where(random.random(N) < 0.1, np.nan, random.normal(size=N)),
        "text": random.choice(["a", "b", "c", "d"], size=N).astype(object),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(900, size=N), unit="D"),
    }
    columns["text"][::15] = [f"rare {i}" for i in range(N // 15)]
    signal = 2 * np.nan_to_num(columns["number"]) + random.normal(size=N)
    return pd.DataFrame(columns | {"y": np.where(signal > 0, "yes", "no") if task == "classification" else signal})


def spoilt(frame, rows, task="classification"):
    """Return the table with other values in some rows: extreme, missing, never seen, and other answers."""
    frame = frame.copy()
    random = np.random.default_rng(1)
    frame.loc[rows, "number"] = np.where(random.random(len(rows)) < 0.5, 1e6, np.nan)
    frame.loc[rows, "text"] = [f"unseen {i}" for i in range(len(rows))]
    frame.loc[rows, "day"] = pd.Timestamp("1950-06-01")
    frame.loc[rows, "y"] = random.permutation(frame.loc[rows, "y"]) if task == "classification" else 1e3
    return frame


def folds_of(frame, **options):
    return make_folds(as_dataset(frame, target="y"), 3, seed=0, **options)


def assert_same_training(run, other):
    assert run.encoder == other.encoder
    assert (run.best_epoch, run.best_step, run.status) == (other.best_epoch, other.best_step, other.status)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name
    for name in ("train.loss", "valid.loss"):
        assert run.history.column(name) == other.history.column(name)


@pytest.mark.parametrize(("task", "chunk"), [("regression", 1), ("classification", None)], ids=["alone", "stacked"])
def test_scored_rows_touch_no_weight_and_no_epoch(task, chunk):
    frame = table(task)
    fold = folds_of(frame)[0]
    members = [meden.Member(RECIPE.replace(lr=lr), fold) for lr in (0.01, 0.03, 0.05)]
    runs, others = (
        meden.fit_many(MLP, members, as_dataset(data, target="y"), chunk=chunk)
        for data in (frame, spoilt(frame, fold.score, task))
    )
    for run, other in zip(runs, others, strict=True):
        assert_same_training(run, other)
        assert not np.array_equal(run.held_out.losses, other.held_out.losses)


@pytest.mark.usefixtures("one_by_one")
def test_fitting_rows_and_stop_rows_do_touch_them():
    """The comparison above sees what there is to see."""
    frame = table()
    fold = folds_of(frame)[0]
    (run,) = meden.fit_many(MLP, [meden.Member(RECIPE, fold)], as_dataset(frame, target="y"))
    fitted = spoilt(frame, fold.fit[:1])
    (other,) = meden.fit_many(MLP, [meden.Member(RECIPE, fold)], as_dataset(fitted, target="y"))
    with pytest.raises(AssertionError):
        assert_same_training(run, other)
    stopped = frame.copy()
    stopped.loc[fold.stop, "y"] = np.where(frame.loc[fold.stop, "y"] == "yes", "no", "yes")
    (other,) = meden.fit_many(MLP, [meden.Member(RECIPE, fold)], as_dataset(stopped, target="y"))
    assert run.encoder == other.encoder and run.best_epoch != other.best_epoch
    shared = min(len(run.history), len(other.history))
    assert run.history.column("train.loss")[:shared] == other.history.column("train.loss")[:shared]


def test_encoders_know_nothing_that_only_scored_rows_have():
    frame = table()
    frame["constant"], frame["whole"] = 1.0, np.arange(N) % 7.0
    fold = folds_of(frame)[0]
    frame["marker"] = np.where(np.isin(np.arange(N), fold.score), "held", np.arange(N) % 2).astype(object)
    frame.loc[fold.score, "constant"] = 1e6
    frame.loc[fold.score, "whole"] = np.nan
    encoder = as_dataset(frame, target="y").fit_encoder(fold.fit)
    assert "marker=held" not in encoder.input_names and "whole is missing" not in encoder.input_names
    with pytest.warns(UserWarning, match="'whole': .* no training row was missing one"):
        scored = encoder.transform_frame(frame.iloc[fold.score])
    inputs = dict(zip(encoder.input_names, scored.T, strict=False))
    assert (inputs["constant"] == 0).all(), "it is constant where it may be looked at"
    assert (inputs["marker=0"] == 0).all() and (inputs["marker=1"] == 0).all()


@pytest.mark.usefixtures("one_by_one")
def test_columns_that_identify_held_out_rows_tell_nothing():
    """A marker of the fold, and an identifier of the row: to each fold's model its scored rows' own are unknown."""
    frame = table()
    folds = folds_of(frame)
    frame["identifier"] = [f"row {i}" for i in range(N)]
    for number, fold in enumerate(folds):
        frame.loc[fold.score, "marker"] = f"fold {number}"
    data = as_dataset(frame, target="y")
    runs = meden.fit_many(MLP, [meden.Member(RECIPE, fold) for fold in folds], data)
    for run, fold in zip(runs, folds, strict=True):
        rows = frame.iloc[fold.score]
        told, blind = run.predict(rows), run.predict(rows.assign(marker="never seen", identifier="none"))
        np.testing.assert_array_equal(told.probabilities, blind.probabilities)
        assert not any(name.startswith("identifier") for name in run.encoder.input_names)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("racing", [False, True])
def test_in_a_search_only_the_losses_of_the_scored_rows_change(racing):
    """Of a random search: where others learn from scores, what a fold scored decides what is tried next."""
    frame = table("regression")
    rows = folds_of(frame)[0].score
    space, options = {"lr": LogUniform(0.01, 0.1), "dropout": Uniform(0, 0.5)}, {"folds": 3, "budget": 2}
    studies = [
        meden.tune(MLP, data, space, target="y", strategy="random", recipe=RECIPE, racing=racing, **options)
        for data in (frame, spoilt(frame, rows, "regression"))
    ]
    for trial, other in zip(*(study.trials for study in studies), strict=True):
        assert trial.params == other.params
        ours, theirs = trial.rows[0], other.rows[0]
        if ours.status == theirs.status != "dropped":
            assert (ours.train_loss, ours.stop_loss) == (theirs.train_loss, theirs.stop_loss)
            assert ours.best_epoch == theirs.best_epoch and not np.array_equal(ours.losses, theirs.losses)
    assert any(trial.rows[0].status != "dropped" for trial in studies[0].trials)


@pytest.mark.usefixtures("one_by_one")
def test_in_a_nested_search_outer_rows_do_not_even_choose():
    frame = table("regression")
    space, recipe = {"lr": Choice(1e-4, 0.03)}, RECIPE.replace(epochs=3, batch_size="full")
    options = {"outer_folds": 2, "folds": 2, "budget": 2, "strategy": "grid", "recipe": recipe, "target": "y"}
    outer = make_folds(as_dataset(frame, target="y"), 2, seed=derive(0, "outer"), stop_fraction=0.0)
    tables = (frame, spoilt(frame, outer[0].score, "regression"))
    whole, changed = (nested(MLP, data, space, **options) for data in tables)
    ours, theirs = whole.studies[0], changed.studies[0]
    for trial, other in zip(ours.trials, theirs.trials, strict=True):
        np.testing.assert_array_equal(trial.fold_losses, other.fold_losses)
    assert ours.best.number == theirs.best.number and ours.one_se.number == theirs.one_se.number
    assert ours.score == theirs.score
    assert whole.fold_scores[0] != changed.fold_scores[0]


def test_a_model_is_the_same_whichever_folds_are_trained_beside_it():
    """Rare levels give each fold's encoder a width of its own, which is that of its models."""
    frame = table()
    frame["text"] = np.random.default_rng(3).choice(list("abcdefghijklmnopq"), size=N)
    data, folds = as_dataset(frame, target="y"), folds_of(frame)
    widths = [data.fit_encoder(fold.fit).num_inputs for fold in folds]
    assert len(set(widths)) > 1
    members = [meden.Member(RECIPE.replace(lr=lr), fold) for fold in folds for lr in (0.01, 0.03)]
    together = meden.fit_many(MLP, members, data)
    assert [run.model_args["num_inputs"] for run in together] == [width for width in widths for _ in range(2)]
    for run, member in zip(together, members, strict=True):
        (alone,) = meden.fit_many(MLP, [member], data)
        np.testing.assert_allclose(run.history.column("train.loss"), alone.history.column("train.loss"), rtol=1e-5)
        np.testing.assert_allclose(run.held_out.losses, alone.held_out.losses, rtol=1e-3, atol=1e-5)


def _new_level(frame, rows):
    frame.loc[rows, "text"] = "never or too rarely seen before"


def _missing_number(frame, rows):
    frame.loc[rows, "number"] = np.nan


def _hour(frame, rows):
    frame.loc[rows, "date"] += pd.Timedelta(hours=5)


@pytest.mark.parametrize("change", [_new_level, _missing_number, _hour])
@pytest.mark.parametrize("part", ["score", "stop"])
def test_what_other_rows_need_does_not_decide_the_size(change, part):
    frame = pd.DataFrame(
        {
            "number": np.random.default_rng(0).normal(size=N),
            "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N) * 9, unit="D"),
            "text": ["a", "b"] * (N // 2),
        }
    ).assign(y=np.random.default_rng(1).normal(size=N))
    fold = folds_of(frame)[0]
    changed = frame.copy()
    change(changed, getattr(fold, part)[:4])
    runs = [meden.fit_many(MLP, [meden.Member(RECIPE, fold)], as_dataset(t, target="y"))[0] for t in (frame, changed)]
    first, second = (run.model.state_dict() for run in runs)
    assert {name: tensor.shape for name, tensor in first.items()} == {n: t.shape for n, t in second.items()}
    if part == "score":
        for name, tensor in first.items():
            torch.testing.assert_close(tensor, second[name], rtol=0, atol=0)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_an_exploding_configuration_ranks_last_with_its_reason(metric):
    recipe = Recipe(optimizer="sgd", epochs=3)
    space = {"lr": Choice(1e6, 1e-3, 1e-1)}
    study = meden.tune(MLP, "wine", space, folds=2, budget=3, strategy="grid", recipe=recipe, metric=metric)
    last = study.table().iloc[-1]
    assert last["lr"] == 1e6 and last["chosen"] == ""
    assert last["status"].startswith("diverged: loss or weights were not finite after epoch")
    assert np.isfinite(study.score.estimate) and study.refit().status == "completed"


def test_the_best_of_noise_is_corrected():
    """Labels at random: the best of many looks better than guessing, the corrected score does not.

    The full-size version is benchmarks/noise_coverage.py.
    """
    naive, estimates, covered = [], [], []
    for seed in range(3):
        random = np.random.default_rng(seed)
        x, y = random.normal(size=(60, 8)).astype(np.float32), random.integers(2, size=60)
        space = {"lr": LogUniform(1e-3, 0.3), "l2": LogUniform(1e-3, 1.0)}
        recipe = Recipe(epochs=5, batch_size="full")
        options = {"folds": 2, "budget": 60, "strategy": "random", "recipe": recipe, "metric": "accuracy"}
        score = meden.tune(MLP, (x, y), space, seed=seed, baselines=False, **options).score_of(which="best")
        naive.append(score.naive)
        estimates.append(score.estimate)
        covered.append(score.low <= 0.5 <= score.high)
    assert np.mean(naive) > 0.55 and min(naive) > 0.5
    assert abs(np.mean(estimates) - 0.5) < 0.04
    assert all(covered)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folds": N + 1}, f"folds must be at most {N} for {N} rows, got {N + 1}"),
        ({"groups": np.arange(N) % 2}, r"folds must be at most the number of groups \(2\), got 3"),
        ({"groups": "text", "folds": 2}, "stop_fraction must leave rows .* got 0.15 of 30 rows in 1 groups"),
        ({"space": {}}, "space must name at least one thing to search"),
        ({"metric": "auc"}, "metric must be one of loss, accuracy"),
        ({"metric": "r2"}, "metric must be one of loss, accuracy, .*, f1 for classification, got 'r2'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_training(changes, told):
    frame = table()
    frame["text"] = np.where(np.arange(N) % 3 == 0, "a", np.where(np.arange(N) % 3 == 1, "b", "c"))
    options = {"space": {"lr": Choice(0.01, 0.1)}, "folds": 3, "target": "y", "recipe": RECIPE} | changes
    with pytest.raises(meden.InputError, match=told):
        meden.tune(MLP, frame, on_start=lambda: pytest.fail("started"), **options)
