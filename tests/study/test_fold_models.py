"""Models of the folds that a search kept: what they say is what the ledger holds, and nothing is trained."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save

import meden
from meden._checks import InputError
from meden.data import as_dataset, make_folds
from meden.history import History
from meden.models import MLP
from meden.study import Study
from meden.study.final_states import FinalStates
from meden.study.ledger import Key

SPACE = {"l2": meden.LogUniform(1e-4, 1.0), "width": meden.Choice(4, 8)}


def searched(**options):
    recipe = meden.Recipe(epochs=8)
    options = {"folds": 3, "budget": 6, "strategy": "sobol", "recipe": recipe, "baselines": False} | options
    return meden.tune(MLP, "iris", options.pop("space", SPACE), **{"keep_models": True} | options)


def check_answers(study: Study) -> None:
    for trial in study.trials:
        if trial.status != "ok":
            continue
        for run, row in zip(study.fold_models(trial).runs, trial.rows, strict=True):
            x = study.trainable()[1].features(run.encoder, study.folds[row.fold].score)
            with torch.no_grad():
                np.testing.assert_allclose(run.model(x).softmax(-1), row.outputs, atol=1e-6)
            assert run.held_out.losses.tolist() == row.losses.tolist()


@pytest.mark.parametrize("racing", [False, True])
def test_say_what_they_said(racing):
    check_answers(searched(racing=racing))


def test_of_a_folder(tmp_path, monkeypatch):
    study = searched(study_dir=tmp_path, seeds=2)
    found = meden.load_study(tmp_path)
    check_answers(found)
    frame = pd.DataFrame(as_dataset("iris").inputs.values)
    monkeypatch.setattr("meden.study.study.fit_many", None)  # nothing is trained
    told = [one.fold_models("best").predict(frame).probabilities for one in (study, found)]
    assert np.array_equal(*told) and len(found.fold_models("best").runs) == 6


def test_of_a_folder_of_their_own(tmp_path):
    study = searched(keep_models=tmp_path / "models", budget=2)
    assert len(list((tmp_path / "models").glob("*.safetensors"))) == 2 * 3
    check_answers(study)


def test_where_there_are_none(tmp_path):
    kept = searched(study_dir=tmp_path, budget=2)
    with pytest.raises(InputError, match="keep_models=True"):
        meden.tune(MLP, "iris", SPACE, folds=2, budget=1, recipe=meden.Recipe(epochs=1), baselines=False).fold_models()
    next((tmp_path / "weights").glob(f"{kept.best.number}_0_0*")).unlink()
    with pytest.raises(InputError, match=r"models must have been kept during the search .* for configuration \d+"):
        meden.load_study(tmp_path).fold_models("best")
    again = meden.tune(
        MLP,
        "iris",
        SPACE,
        folds=3,
        budget=2,
        strategy="sobol",
        recipe=meden.Recipe(epochs=8),
        baselines=False,
        study_dir=tmp_path,
    )
    other = next(trial for trial in again.trials if trial.number != kept.best.number)
    assert len(again.fold_models(other).runs) == 3, "what was kept before is there"


def test_of_a_configuration_that_was_lost():
    study = searched(budget=16, racing=True, space={"lr": meden.LogUniform(1e-7, 1e-1)})
    lost = next(trial for trial in study.trials if trial.status == "dropped")
    with pytest.raises(InputError, match=f"got {lost.number}, which dropped"):
        study.fold_models(lost)


def test_not_of_a_training_function():
    with pytest.raises(InputError, match="keep_models must be False"):
        meden.tune(print, rows=10, space={"x": meden.Uniform(0, 1)}, keep_models=True)


@pytest.mark.parametrize("in_files", [False, True])
def test_folds_that_a_time_limit_left_are_numbered_anew(in_files, tmp_path):
    folds = make_folds(as_dataset("iris"), 3, seed=0)
    ends = FinalStates(tmp_path if in_files else None)
    for number in range(3):
        ends.keep(Key(0, number, 0), save({"w": torch.full((1,), float(number))}), History())
    left = ends.of_folds([folds[2], folds[0]], folds)
    assert [left[Key(0, place, 0)].weights["w"].item() for place in range(2)] == [2.0, 0.0]
