"""Losses of the rows that a model was made by: of the state that was kept, one for each row of its fold."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

import meden
from meden.data import Fold
from meden.models import MLP

X, Y = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
FOLDS = [
    Fold(np.arange(0, 40), np.arange(40, 50), np.arange(50, 60)),
    Fold(np.arange(20, 60), np.arange(0), np.arange(20)),
]


def members(**more):
    stop = meden.EarlyStopping(patience=2)
    recipes = meden.Recipe(epochs=8, lr=0.05, early_stopping=stop), meden.Recipe(epochs=3, lr=0.05)
    return [meden.Member(recipe, fold, **more) for recipe, fold in zip(recipes, FOLDS, strict=True)] * 2


@pytest.mark.parametrize("chunk", [1, 4, "dataset"])
def test_each_row_has_the_loss_of_the_model_that_was_kept(chunk):
    asked = members(keep_losses=True, model_args={"num_outputs": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_dataset = chunk == "dataset"
        data = TensorDataset(X, Y) if of_dataset else (X, Y)
        runs = meden.fit_many(MLP, asked, data, **({} if of_dataset else {"chunk": chunk}))
    for member, run in zip(asked, runs, strict=True):
        with torch.no_grad():
            losses = F.cross_entropy(run.model(X), Y, reduction="none").numpy()
        np.testing.assert_allclose(run.seen.fit, losses[member.fold.fit], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(run.seen.stop, losses[member.fold.stop], rtol=1e-4, atol=1e-6)
        kept = next(record for record in run.history if record.epoch == run.best_epoch)
        assert run.seen.fit.mean() == pytest.approx(kept.train["loss"], rel=1e-4)


def test_they_are_there_only_where_they_were_asked_for_and_can_be():
    assert all(run.seen is None for run in meden.fit_many(MLP, members(), (X, Y)))
    diverging = meden.Member(meden.Recipe(epochs=5, lr=1e20, optimizer="sgd"), FOLDS[1], keep_losses=True)
    (run,) = meden.fit_many(MLP, [diverging], (X, Y))
    assert run.status == "diverged" and run.seen is None
