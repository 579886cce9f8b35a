"""The ensemble of the fold models: trained on all rows but those that stop them, averaged, saved, predicted with."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_wine

import meden
from meden import InputError, LogUniform, Recipe
from meden.models import MLP
from meden.run import Ensemble, load_run

RECIPE = Recipe(epochs=4, lr=0.01, early_stopping=meden.EarlyStopping(patience=2))


@pytest.fixture(autouse=True, scope="module")
def one_by_one():
    """Trainings of three steps are done before a stack of them is traced; the results are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        yield


def frame(load):
    table = load(as_frame=True).frame
    table["text"] = np.random.default_rng(0).choice(list("abcdefgh"), size=len(table))
    return table


@pytest.fixture(scope="module", params=[load_wine, load_diabetes], ids=["classes", "numbers"])
def found(request):
    table = frame(request.param)
    options = {"folds": 3, "budget": 1, "strategy": "random", "recipe": RECIPE, "target": "target"}
    study = meden.tune(MLP, table, {"l2": LogUniform(1e-3, 0.1)}, **options)
    return study, study.refit("best", policy="folds"), table


def test_its_runs_train_on_all_rows_but_those_that_stop_them(found):
    study, ensemble, _ = found
    assert isinstance(ensemble, Ensemble) and len(ensemble.runs) == 3
    for run, fold in zip(ensemble.runs, study.folds, strict=True):
        training = np.setdiff1d(np.arange(study.dataset.num_rows), fold.score)
        assert run.encoder.inputs.columns == study.dataset.fit_encoder(training).inputs.columns
        x, y = (part(run.encoder, fold.score) for part in (study.dataset.features, study.dataset.targets))
        with torch.no_grad():
            outputs = run.model(x)
        loss = F.cross_entropy(outputs, y) if study.dataset.classes else ((outputs[:, 0] - y) ** 2).mean() / 2
        watched = [record.valid["loss"] for record in run.history]
        assert watched[run.best_epoch - 1] == min(watched) == pytest.approx(loss.item(), rel=1e-5)
        assert run.held_out is None


def test_one_that_diverged_is_left_out(found, monkeypatch):
    study, ensemble, _ = found
    lost = [dataclasses.replace(run, status="diverged") for run in ensemble.runs]
    monkeypatch.setattr("meden.study.study.fit_many", lambda *_, **__: [lost[0], *ensemble.runs[1:]])
    assert study.refit("best", policy="folds").runs == ensemble.runs[1:]
    monkeypatch.setattr("meden.study.study.fit_many", lambda *_, **__: lost)
    assert len(study.refit("best", policy="folds").runs) == 3


def test_predictions_are_means(found):
    study, ensemble, table = found
    told = ensemble.predict(table)
    each = [run.predict(table) for run in ensemble.runs]
    if study.dataset.classes:
        mean = (each[0].probabilities + each[1].probabilities + each[2].probabilities) / 3
        np.testing.assert_allclose(told.probabilities, mean)
        assert told.values.tolist() == [study.dataset.classes[i] for i in mean.argmax(axis=1)]
        assert told.values.dtype == each[0].values.dtype
    else:
        np.testing.assert_allclose(told.values, (each[0].values + each[1].values + each[2].values) / 3)
    assert list(told.frame()) == list(each[0].frame())


def test_saved_and_loaded_it_predicts_the_same(found, tmp_path):
    _, ensemble, table = found
    ensemble.save(tmp_path)
    loaded = load_run(tmp_path, MLP)
    pd.testing.assert_frame_equal(loaded.predict(table).frame(), ensemble.predict(table).frame())
    assert loaded.recipe == ensemble.recipe


def test_the_command_line_predicts_with_it(found, tmp_path):
    from meden.cli import main

    _, ensemble, table = found
    ensemble.save(tmp_path / "folds")
    table.drop(columns="target").to_csv(tmp_path / "rows.csv", index=False)
    out = str(tmp_path / "out.csv")
    assert main(["predict", str(tmp_path / "folds"), str(tmp_path / "rows.csv"), "-o", out]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(out), ensemble.predict(table).frame(), rtol=1e-5, check_dtype=False)
    assert main(["report", str(tmp_path / "folds")]) == 2


def test_an_unknown_policy_is_refused(found):
    with pytest.raises(InputError, match="policy must be one of all, folds, got 'fold'"):
        found[0].refit(policy="fold")
