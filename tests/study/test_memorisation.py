"""What the models of a search know by heart: planted by random labels, and absent where little was learned."""

import dataclasses

import numpy as np
import pytest
import torch

import meden
import meden.data
from meden import InputError
from meden.diagnosis import diagnose
from meden.diagnosis.memory.memorisation import memorisation_of
from meden.models import MLP
from meden.study.ledger import LEDGER
from meden.study.row_losses import kept_losses, trained_losses
from meden.study.tradeoff import Tradeoff

SPACE = {"l2": meden.LogUniform(1e-4, 3.0)}
RECIPE = meden.Recipe(optimizer="adam", lr=1e-2, epochs=40, batch_size=32)


@pytest.fixture(scope="module")
def noise():
    """Labels that nothing but the row itself tells."""
    random = np.random.default_rng(0)
    return random.normal(size=(150, 12)).astype(np.float32), random.integers(2, size=150)


@pytest.fixture(scope="module")
def found(noise, tmp_path_factory):
    """A strong and a weak penalty, the losses of all rows kept."""
    folder = tmp_path_factory.mktemp("studies") / "kept"
    return searched(noise, keep_losses=True, study_dir=folder), folder


def searched(data, recipe=RECIPE, space=SPACE, **more):
    settings = {"folds": 4, "budget": 2, "strategy": "grid", "baselines": False, "recipe": recipe} | more
    return meden.tune(MLP, data, space, **settings)


def weak_first(study):
    return sorted(study.trials, key=lambda trial: trial.params["l2"])


def test_random_labels_that_were_learnt_are_known_by_heart_and_a_strong_penalty_leaves_nothing(found):
    study, _ = found
    weak, strong = study.tradeoff().curves["l2"]
    assert (weak.params["l2"], strong.params["l2"]) == pytest.approx((1e-4, 3.0))
    assert weak.auc.low > 0.7 and weak.lira.low > 0.7  # half of the rows never seen are right by luck, and surely
    assert strong.auc.low < 0.5 < strong.auc.high and strong.lira.low < 0.5 < strong.lira.high
    assert weak.loss > strong.loss


def test_the_twin_that_saw_its_rows_once_knows_nothing(noise):
    study = searched(noise, RECIPE.replace(epochs=1, lr=1e-4), keep_losses=True)
    for point in study.tradeoff().curves["l2"]:
        assert point.auc.low < 0.5 < point.auc.high < 0.6


def test_a_diagnosis_says_so(found):
    study, _ = found
    weak, strong = weak_first(study)
    for trial, codes in ((weak, ["memorised"]), (strong, [])):
        chosen = dataclasses.replace(study, trials=[trial])
        assert [finding.code for finding in diagnose(chosen, select=["memorisation"]).findings] == codes


def test_a_page_asks_once_what_is_known_by_heart(found, tmp_path, monkeypatch):
    study, asked = found[0], []
    for module in ("evidence", "page", "page_memorisation"):
        counted = f"meden.study.{module}.memorisation_of"
        monkeypatch.setattr(counted, lambda losses: asked.append(losses) or memorisation_of(losses), raising=False)
    page = study.report(tmp_path / "page.md", format="md").read_text()
    assert "What the models memorise" in page and len(asked) == 1


def test_losses_that_were_kept_are_those_of_a_new_training(found, noise):
    study, _ = found
    trial = weak_first(study)[0]
    kept, again = kept_losses(study, trial), trained_losses(study, trial, *study.trainable())
    np.testing.assert_array_equal(kept.parts, again.parts)
    assert np.array_equal(kept.losses, again.losses, equal_nan=True)  # not trained: they are there
    without = searched(noise)
    fresh = trained_losses(without, weak_first(without)[0], *without.trainable())
    known = np.isfinite(kept.losses)
    np.testing.assert_array_equal(known, np.isfinite(fresh.losses))
    np.testing.assert_allclose(fresh.losses[known], kept.losses[known], rtol=0.02, atol=1e-4)


def test_kept_losses_are_those_of_the_history(found):
    study, _ = found
    for trial in study.trials:
        for row in trial.rows:
            told = row.train_loss[row.best_epoch - 1], row.stop_loss[row.best_epoch - 1]
            means = [losses.astype(float).mean() for losses in (row.fit_losses, row.stop_losses)]
            assert means == pytest.approx(told, rel=2e-3, abs=1e-5)
            fold = study.folds[row.fold]
            assert (len(row.fit_losses), len(row.stop_losses)) == (len(fold.fit), len(fold.stop))


def test_a_folder_has_them_without_training_and_is_little_larger(found, noise, tmp_path):
    study, folder = found
    loaded = meden.load_study(folder, make_model=lambda: pytest.fail("a model was made"))
    assert str(loaded.memorisation("best")) == str(study.memorisation("best"))
    searched(noise, study_dir=tmp_path)
    with_them, without = ((path / LEDGER).stat().st_size for path in (folder, tmp_path))
    per_row = (with_them - without) / (2 * 4) / (0.75 * 150)
    assert per_row < 2 * 4 / 3 + 1  # two bytes of each row, in base64


def test_an_older_ledger_without_them_is_read_and_trained_on_request(noise, tmp_path):
    searched(noise, study_dir=tmp_path)
    study = meden.load_study(tmp_path, noise, MLP)
    with pytest.raises(InputError, match="keep_losses=True"):
        study.tradeoff()
    assert study.evidence().memorisation is None
    found = study.memorisation("best")
    assert found.num_models == 4 and found.loss.auc.low < found.loss.auc.value


def test_more_divisions_show_each_row_to_models_that_were_not_fitted_on_it(found):
    study, _ = found
    study = dataclasses.replace(study, trials=weak_first(study)[:1])
    once, thrice = study.memorisation(), study.memorisation(repeats=3)
    assert (once.num_models, thrice.num_models) == (4, 12)
    assert thrice.lira.auc.value > once.lira.auc.value
    width = [found.lira.auc.high - found.lira.auc.low for found in (once, thrice)]
    assert width[1] < width[0]


def test_it_rises_with_epochs(noise):
    space = {"epochs": meden.Choice(1, 8, 60), "l2": meden.Choice(1e-5)}
    points = searched(noise, space=space, keep_losses=True, budget=3, stop_fraction=0.0).tradeoff()
    found = sorted(points.curves["epochs and l2"], key=lambda point: point.params["epochs"])
    values = [point.auc.value for point in found]
    assert values == sorted(values) and values[-1] > values[0] + 0.25


def test_pages_show_it(found, tmp_path):
    study, _ = found
    page = study.report(tmp_path / "page.html").read_text()
    assert "What the models memorise" in page and "What each strength does for privacy" in page
    text = study.tradeoff().report(tmp_path / "tradeoff.md", format="md").read_text()
    assert "AUC by likelihood ratios" in text and "l2 = 3" in text
    both = Tradeoff.together({"first": study.tradeoff(), "second": study.tradeoff()})
    assert list(both.curves) == ["first", "second"] and both.connected
    assert both.to_dict()["first"][0]["auc"]["low"] < 1
    assert "first: l2 = 3" in str(both) and "first" in repr(both)


def test_what_cannot_be_told_is_refused(noise, found):
    study, _ = found
    with pytest.raises(InputError, match="repeats must be"):
        study.memorisation(repeats=0)
    in_time = searched(noise, keep_losses=True, order=np.arange(150))
    given = dataclasses.replace(in_time, notes={"division": {"order": "day"}})
    with pytest.raises(InputError, match="old rows from new"):
        given.memorisation()
    with pytest.raises(InputError, match="old rows from new"):
        given.tradeoff()
    with pytest.raises(InputError, match="folds that were given"):
        dataclasses.replace(study, notes={}).memorisation(repeats=2)
    with pytest.raises(InputError, match="keep_losses must be False for a training function"):
        meden.tune(print, rows=noise[1], space={"x": meden.Uniform(0, 1)}, keep_losses=True)
    with pytest.raises(InputError, match="at least one trade-off"):
        Tradeoff.together({})


def test_folds_that_score_a_single_row_each_have_a_page_without_it(noise, tmp_path):
    x, y = noise[0][:6], np.array([0, 1] * 3)
    folds = [meden.data.Fold(np.delete(np.arange(6), row), np.arange(0), np.array([row])) for row in range(6)]
    study = searched((x, y), RECIPE.replace(epochs=2), keep_losses=True, folds=folds)
    assert "know by heart" not in study.report(tmp_path / "page.html").read_text()
    with pytest.raises(InputError, match="at least two rows"):
        study.memorisation()


def test_other_processes_report_them_too(noise, found):
    study, _ = found
    other = searched(noise, keep_losses=True, jobs=2)
    for trial, same in zip(study.trials, other.trials, strict=True):
        assert all(np.array_equal(a.fit_losses, b.fit_losses) for a, b in zip(trial.rows, same.rows, strict=True))


def pairs(data, cut=75):
    x, y = (torch.as_tensor(part) for part in data)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def test_a_model_by_itself(noise):
    seen, unseen = pairs(noise)
    torch.manual_seed(0)
    model = MLP(12, 2)
    before = meden.memorisation(model, seen=seen, unseen=unseen)
    assert before.loss.auc.low < 0.5 < before.loss.auc.high
    run = meden.fit(model, train=seen, recipe=RECIPE)
    assert meden.memorisation(run, seen=seen, unseen=unseen).loss.auc.low > 0.65
    assert meden.memorisation(run.model, seen=seen, unseen=unseen).loss.auc.low > 0.65
    half = [tuple(part[rows] for part in unseen) for rows in (slice(0, 37), slice(37, 75))]
    never = meden.memorisation(run, seen=half[0], unseen=half[1])
    assert never.loss.auc.low < 0.5 < never.loss.auc.high


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_run_that_reads_rows_itself(noise, task):
    import pandas as pd

    x, y = noise
    table = pd.DataFrame(x, columns=[f"x{place}" for place in range(12)])
    target = np.where(y == 1, "yes", "no") if task == "classification" else np.random.default_rng(1).normal(size=150)
    table = table.assign(target=target)
    study = searched(meden.as_dataset(table.iloc[:75], target="target"), space={"width": meden.Choice(128)}, budget=1)
    run = study.refit()
    found = meden.memorisation(run, seen=table.iloc[:75], unseen=table.iloc[75:])
    assert found.loss.auc.low > 0.5
    assert meden.memorisation(study).num_models == 4
    short = table[list(table)[:-1]], table["target"].iloc[:70]
    with pytest.raises(InputError, match="seen must have one target per row, got 70 targets and 150 rows"):
        meden.memorisation(run, seen=short, unseen=table)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"seen": None}, "seen must be given for a single model"),
        ({"unseen": None}, "unseen must be given for a single model"),
        ({"seen": (torch.zeros(3, 12), torch.zeros(2))}, "seen must hold the same number of rows"),
        ({"unseen": (torch.zeros(3, 12), torch.tensor([0, 1, 7]))}, "unseen y must be classes 0 to 1"),
        ({"subject": "runs/study"}, "subject must be a study, a run or a model, got str"),
    ],
)
def test_rows_that_do_not_fit_a_model_are_refused(noise, given, match):
    seen, unseen = pairs(noise)
    arguments = {"subject": MLP(12, 2), "seen": seen, "unseen": unseen} | given
    with pytest.raises(InputError, match=match) as told:
        meden.memorisation(arguments.pop("subject"), **arguments)
    assert "\n" not in str(told.value)


def test_a_study_says_itself_what_was_seen(found, noise):
    study, _ = found
    with pytest.raises(InputError, match="seen must be None for a study"):
        meden.memorisation(study, seen=pairs(noise)[0])
