"""A model of language on windows in memory, searched and evaluated like any other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import meden
from meden.models import Decoder


def windows(n=48, length=6, words=7):
    starts = np.random.default_rng(0).integers(0, words, size=(n, 1))
    texts = (starts + 2 * np.arange(length + 1)) % words
    x, y = texts[:, :-1], texts[:, 1:].copy()
    y[::5, 4:] = -100
    return torch.from_numpy(x), torch.from_numpy(y)


def make_model(width=8):
    return Decoder(6, 7, width=width, depth=1, num_heads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(folder):
    return meden.tune(
        make_model,
        windows(),
        {"l2": meden.LogUniform(1e-5, 1e-2), "dropout": meden.Uniform(0, 0.4)},
        folds=2,
        groups=np.arange(48) // 8,
        budget=2,
        recipe=meden.Recipe(epochs=3, lr=0.02, batch_size=8),
        study_dir=folder,
    )


def test_blocks_stay_whole(study):
    for fold in study.folds:
        parts = [set(rows // 8) for rows in (fold.fit, fold.stop, fold.score)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_it_is_compared_with_a_constant_answer_and_read_again(study, folder):
    assert study.best.loss < study.baseline("constant").loss
    assert study.baseline("constant").loss == pytest.approx(math.log(7), abs=0.2)
    again = meden.load_study(folder)
    assert again.best.loss == study.best.loss and again.refit(data=windows(), make_model=make_model).status
    assert again.report(folder / "report.html").stat().st_size > 1000


def test_evaluate_says_what_the_model_does_on_the_tokens_that_count(study):
    run, (x, y) = study.refit(), windows()
    found = meden.evaluate(run, (x, y), groups=np.arange(48) // 8)
    with torch.no_grad():
        logits = run.model(x)
    kept = y != -100
    loss = torch.nn.functional.cross_entropy(logits[kept], y[kept]).item()
    assert found.scores["loss"].value == pytest.approx(loss, rel=1e-5)
    assert found.scores["perplexity"].value == pytest.approx(math.exp(loss), rel=1e-5)
    assert found.scores["accuracy"].value == pytest.approx((logits.argmax(-1)[kept] == y[kept]).double().mean().item())
    assert found.scores["accuracy"].high <= 1 and found.num_rows == 48 and found.num_groups == 6


def test_classes_that_have_no_logit_are_refused(study):
    x, y = windows()
    with pytest.raises(meden.InputError, match="classes 0 to 6, or -100 where a token does not count, got"):
        meden.evaluate(study.refit(), (x, y + 1))
    with pytest.raises(meden.InputError, match="classification targets of shape"):
        meden.fit_many(meden.models.MLP, [meden.Member(meden.Recipe(epochs=1))], (x.double(), y))
