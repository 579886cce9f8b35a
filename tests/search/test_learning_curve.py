"""A learning curve in rows: nested subsets that alone fit and encode, runs that are those of fit_many, going on."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest

import meden
from meden import InputError, Recipe
from meden.data import Fold, make_folds
from meden.data.subsets import nested
from meden.models import MLP
from meden.noise import derive
from meden.search.alternative import mean_over_folds, overlap
from meden.search.fixed import Fixed
from meden.search.learning_curve import NUM_SIZES
from meden.study.ledger import LEDGER
from meden.training.fit_many import plan_stacks
from tests.report.reading import codes_of, sections_of

RECIPE = Recipe(epochs=6, lr=0.01, batch_size=16, dropout=0.2, early_stopping=meden.EarlyStopping(patience=3))
SIZES = [12, 24, 48, 60]
QUICK = {"folds": 3, "seeds": 2, "sizes": SIZES, "seed": 5}


def small(num_inputs, num_outputs, width=8):
    """In float64: what a stack rounds otherwise than a model alone is then below what losses are kept with."""
    return MLP(num_inputs, num_outputs, width=width, depth=1).double()


@pytest.fixture(scope="module")
def found():
    return meden.learning_curve(small, "iris", RECIPE, plain=True, **QUICK)


def by_hand(same, recipe=RECIPE):
    """Return the loss of each fold at each size, a run at a time."""
    data = meden.as_dataset("iris")
    folds = make_folds(data, 3, seed=5)
    losses = np.empty((3, 2, len(SIZES)))
    for place, fold in enumerate(folds):
        for run in range(2):
            order = nested(data, fold.fit, seed=derive(5, "subset", place, run))
            for at, size in enumerate(SIZES):
                steps = -(-max(len(f.fit) for f in folds) // 16) if same == "steps" else None
                stop = nested(data, fold.stop, seed=derive(5, "stop", place, run))
                own = Fold(order.first(size), stop.first(round(size * len(fold.stop) / len(fold.fit))), fold.score)
                member = meden.Member(recipe.replace(steps_per_epoch=steps), own, derive(5, "seed", run))
                losses[place, run, at] = meden.fit_many(small, [member], data)[0].held_out.losses.mean()
    return losses.mean(axis=1)


@pytest.mark.parametrize("same", ["steps", "epochs"])
def test_together_or_alone_the_same_runs(found, same):
    made = found if same == "steps" else meden.learning_curve(small, "iris", RECIPE, same=same, **QUICK)
    assert made.sizes.tolist() == SIZES and made.num_seeds == 2 and made.same == same
    np.testing.assert_allclose(made.chosen.values, by_hand(same), rtol=1e-6)


def test_sizes_of_as_many_steps_share_a_stack():
    data = meden.as_dataset("iris")
    (fold, _) = make_folds(data, 2, seed=0)
    order = nested(data, fold.fit, seed=0)

    def stacks(steps):
        recipe = RECIPE.replace(steps_per_epoch=steps)
        parts = [Fold(order.first(size), fold.stop, fold.score) for size in SIZES]
        return plan_stacks(small, [meden.Member(recipe, part) for part in parts], data)

    assert max(map(len, stacks(4))) > max(map(len, stacks(None))), "of 1, 2, 3 and 4 steps, if epochs are passes"
    assert sorted(number for stack in stacks(4) for number in stack) == [0, 1, 2, 3]


def test_where_memory_is_short_sizes_wait_for_each_other(found, monkeypatch):
    asked = []
    module = importlib.import_module("meden.search.learning_curve")
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    monkeypatch.setattr(module, "Fixed", lambda *batches: asked.append(batches) or Fixed(*batches))
    made = meden.learning_curve(small, "iris", RECIPE, **QUICK)
    assert [[one["rows"] for one in batch] for batch in asked[0]] == [[size] for size in SIZES]
    np.testing.assert_allclose(made.chosen.values, found.chosen.values, rtol=1e-6)


def test_the_plain_network_has_nothing_that_regularises(found):
    bare = RECIPE.replace(dropout=0.0, early_stopping=None)
    np.testing.assert_allclose(found.plain.values, by_hand("steps", bare), rtol=1e-6)
    folds = make_folds(meden.as_dataset("iris"), 3, seed=5)
    told = mean_over_folds(found.plain.values[:, -1] - found.chosen.values[:, -1], overlap(folds))
    assert (found.gain.estimate, found.gain.low, found.gain.high) == pytest.approx((told.mean, told.low, told.high))


def test_encoders_see_the_subset_alone():
    """A column that is constant in small subsets, and a level that is seen in the largest only."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=90), "level": random.choice(list("ab"), 90), "y": 0.0})
    frame["y"] = frame.x + random.normal(size=90)
    widths = []

    def spy(num_inputs, num_outputs):
        widths.append(num_inputs)
        return small(num_inputs, num_outputs)

    frame.loc[::9, "level"] = [f"rare {i // 2}" for i in range(10)]
    meden.learning_curve(spy, frame, RECIPE, target="y", folds=2, sizes=[4, 36], task="regression")
    assert len(set(widths)) > 1, "what is seen twice has an input of its own"


def test_numbers_are_told_in_their_own_units():
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 2)).astype(np.float32)
    y = x[:, 0] + 0.1 * random.normal(size=120)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})
    one, thousand = (
        meden.learning_curve(small, frame.assign(y=by * y), RECIPE, target="y", folds=2, sizes=[10, 20, 40])
        for by in (1.0, 1000.0)
    )
    assert one.metric == "mse" and one.scores == {}
    np.testing.assert_allclose(thousand.chosen.values, 1e6 * one.chosen.values, rtol=1e-4)


def test_groups_stay_whole_and_the_sizes_are_those_there_are():
    groups = np.arange(150) % 30
    made = meden.learning_curve(small, "iris", RECIPE, folds=2, sizes=[12, 13, 30, 55], groups=groups)
    assert made.sizes.tolist() == [10, 30, 55], "groups of five"


def test_what_was_cut_off_goes_on(tmp_path, found):
    folder = tmp_path / "curve"
    whole = meden.learning_curve(small, "iris", RECIPE, plain=True, study_dir=folder, **QUICK)
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 4 * 3 * 2 * 2
    (folder / LEDGER).write_bytes(b"".join(lines[:20]))
    again = meden.learning_curve(small, "iris", RECIPE, plain=True, study_dir=folder, **QUICK)
    assert (again.chosen.values == whole.chosen.values).all() and (again.plain.values == whole.plain.values).all()
    assert (whole.chosen.values == found.chosen.values).all()
    with pytest.raises(InputError, match="must be empty or hold this same study"):
        meden.learning_curve(small, "iris", RECIPE, plain=True, study_dir=folder, **QUICK | {"sizes": [12, 24, 60]})


def test_the_sizes_unless_given():
    made = meden.learning_curve(small, "digits", RECIPE.replace(epochs=1), folds=2)
    least = min(len(fold.fit) for fold in make_folds(meden.as_dataset("digits"), 2, seed=0))
    assert len(made.sizes) == NUM_SIZES and made.sizes[-1] == least
    assert np.diff(np.log(made.sizes)) == pytest.approx(np.log(16) / 7, abs=0.02)


def test_it_is_told_in_words_numbers_and_a_page(found, tmp_path):
    assert str(found).splitlines() == [sentence.text for sentence in found.sentences]
    assert json.loads(json.dumps(found.to_dict()))["curves"]["plain"]["folds"] == found.plain.values.tolist()
    table = found.table()
    assert table.loss.to_numpy() == pytest.approx(found.chosen.values.mean(axis=0))
    assert {"accuracy", "plain_loss", "plain_accuracy"} < set(table) and 0 <= table.accuracy.min()
    page = found.report(tmp_path / "curve.html", command="meden learning-curve iris").read_text()
    assert list(sections_of(page)) == ["The curve", "All sizes", "What was trained"]
    assert codes_of(page)["Command"] == "meden learning-curve iris"
    assert Recipe.load(_written(tmp_path, codes_of(page)["recipe.yaml"])) == RECIPE
    assert "Held-out loss" in page and found.sentences[0].text.split(";")[0].split(":")[0] in page
    assert found.report(tmp_path / "curve.md", format="md").read_text().startswith("# Would more rows help?")


def _written(folder, text):
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    space, folder = {"l2": meden.LogUniform(1e-3, 0.3)}, tmp_path_factory.mktemp("study") / "one"
    meden.tune(MLP, "iris", space, folds=3, budget=2, strategy="random", recipe=RECIPE, study_dir=folder)
    return meden.load_study(folder)


def test_a_study_measures_its_choice_in_its_own_folds(study):
    found = study.learning_curve(sizes=SIZES)
    recipe, _ = study.recipe_of(study.choice)
    own = meden.learning_curve(MLP, "iris", recipe, folds=study.folds, sizes=SIZES, seed=study.seed)
    assert (found.chosen.values == own.chosen.values).all()
    plain = study.gain_over("plain", "loss")
    assert found.gain == plain and found.plain is None
    assert found.gain_rows == sum(len(fold.fit) for fold in study.folds) / len(study.folds)
    largest = study.choice.fold_losses
    assert found.chosen.mean[-1] == pytest.approx(largest.mean(), abs=0.5), "nearly all the rows of the folds"


def test_a_study_measures_its_plain_network_too(study):
    found = study.learning_curve("best", sizes=SIZES, plain=True)
    longest = max(row.num_epochs for row in study.best.rows)
    bare = study.recipe_of(study.best)[0].replace(dropout=0.0, regularizers=(), early_stopping=None, stop_after=longest)
    own = meden.learning_curve(MLP, "iris", bare, folds=study.folds, sizes=SIZES, seed=study.seed)
    np.testing.assert_allclose(found.plain.values, own.chosen.values, rtol=1e-4)


def test_a_study_of_time_takes_the_latest_past():
    frame = pd.DataFrame({"day": np.arange(120.0), "x": np.random.default_rng(0).normal(size=120)})
    frame["y"] = (frame.x > 0).map({True: "up", False: "down"})
    space = {"l2": meden.LogUniform(1e-3, 0.3)}
    options = {"folds": 3, "order": "day", "budget": 1, "strategy": "random", "recipe": RECIPE}
    study = meden.tune(MLP, frame, space, target="y", **options)
    data = meden.as_dataset(frame, target="y")
    for place, fold in enumerate(study.folds):
        order = nested(data, fold.fit, seed=derive(study.seed, "subset", place, 0), order="day")
        assert order.first(6).tolist() == fold.fit[-6:].tolist()
    with_order = study.learning_curve(sizes=[6, 12])
    own = meden.learning_curve(MLP, data, study.recipe_of(study.choice)[0], folds=study.folds, sizes=[6, 12])
    assert (with_order.chosen.values != own.chosen.values).any()


def test_a_study_of_a_function_or_without_its_data_is_refused(study, tmp_path):
    def train(job):
        return {"losses": np.zeros(len(job.score))}

    labels = meden.as_dataset("iris").labels
    options = {"folds": 2, "budget": 1, "strategy": "random", "stop_fraction": 0}
    of_function = meden.tune(
        train, rows=labels, space={"a": meden.Uniform(0, 1)}, recipe=Recipe(early_stopping=None), **options
    )
    with pytest.raises(InputError, match=r"a study of a training function .* cannot train by itself"):
        of_function.learning_curve()
    x, y = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32), np.arange(40) % 2
    kept = tmp_path / "arrays"
    meden.tune(MLP, (x, y), {"l2": meden.LogUniform(1e-3, 0.1)}, **options, recipe=Recipe(epochs=1), study_dir=kept)
    with pytest.raises(InputError, match="data must be given to train again"):
        meden.load_study(kept).learning_curve()
    with pytest.raises(InputError, match="which must be"):
        study.learning_curve("worst")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sizes": [60, 20]}, r"sizes must increase, got \[60, 20\]"),
        ({"sizes": [20, 20]}, r"sizes must increase, got \[20, 20\]"),
        (
            {"sizes": [20, 5000]},
            "sizes must be at most 85, the fitting rows of the smallest fold of 150 rows, got",
        ),
        ({"sizes": [2, 20]}, "sizes must be a whole number of at least 3, got 2"),
        ({"sizes": [20]}, "sizes must be a list of two or more"),
        ({"sizes": "20,40"}, "sizes must be a list of two or more"),
        ({"same": "time"}, "same must be one of steps, epochs"),
        ({"plain": "yes"}, "plain must be true or false, or a meden.Recipe"),
        ({"recipe": {}}, "recipe must be a meden.Recipe"),
        ({"fold": 3}, "there is no argument 'fold'"),
        ({"model_args": {"widht": 3}}, "widht"),
    ],
)
def test_bad_input_is_refused_before_any_compute(changed, said):
    def never(num_inputs, num_outputs, width=8):
        if num_inputs and "widht" not in said:
            raise AssertionError("nothing may be made")
        return small(num_inputs, num_outputs, width)

    with pytest.raises(InputError, match=said):
        meden.learning_curve(never, "iris", **{"recipe": RECIPE, "folds": 3} | changed)


def test_rows_that_are_too_few_are_counted():
    x, y = np.zeros((60, 2), dtype=np.float32), np.arange(60) % 2
    with pytest.raises(InputError, match=r"data must leave at least 40 fitting rows in every fold .* got 26 of 60"):
        meden.learning_curve(small, (x, y), RECIPE, folds=2)
