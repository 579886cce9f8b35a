"""Likelihood ratios against other models: no model is its own shadow, and what never saw a row gives a guess."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from meden.diagnosis.memory.separation import auc
from meden.diagnosis.memory.shadows import confidences, likelihood_ratios, shadows_of


def divided(num_rows, num_folds, divisions=1, seeds=1, seed=0, stop=0.0):
    """Return members, outsiders and folds of models."""
    random, members, outsiders, folds = np.random.default_rng(seed), [], [], []
    for division in range(divisions):
        place = random.permutation(np.arange(num_rows) % num_folds)
        for fold in range(num_folds):
            stops = random.random(num_rows) < stop
            for _ in range(seeds):
                outsiders.append(place == fold)
                members.append((place != fold) & ~stops)
                folds.append((division, fold))
    return np.array(members), np.array(outsiders), np.array(folds)


def test_confidences_are_logits_of_the_probability_of_the_class():
    p = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(confidences(-np.log(p), classified=True), logit(p), rtol=1e-9)
    assert np.isfinite(confidences(np.array([0.0, 1e-9, 700.0, 6e4]), classified=True)).all()
    np.testing.assert_allclose(confidences(np.array([0.5, 2.0]), classified=False), -np.log([0.5, 2.0]))


@pytest.mark.parametrize(("divisions", "seeds"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_neither_a_model_nor_others_of_its_fold_are_its_shadows(divisions, seeds):
    members, outsiders, folds = divided(40, 4, divisions, seeds, stop=0.1)
    scores = np.random.default_rng(1).normal(size=members.shape)
    for model in range(len(scores)):
        before = shadows_of(model, scores, members, outsiders, folds)
        changed = scores.copy()
        changed[(folds == folds[model]).all(1)] += 100 * np.random.default_rng(2).normal(size=40)
        after = shadows_of(model, changed, members, outsiders, folds)
        for name, values in vars(before).items():
            np.testing.assert_array_equal(getattr(after, name), values, err_msg=name)
        assert before.num_inside.max() > 0


@pytest.mark.parametrize("divisions", [1, 3])
def test_the_number_of_shadows_does_not_give_the_answer_away(divisions):
    members, outsiders, folds = divided(60, 5, divisions, seeds=2)
    for model in range(len(members)):
        found = shadows_of(model, np.zeros(members.shape), members, outsiders, folds)
        for num in (found.num_inside, found.num_outside):
            assert len(set(num.tolist())) == 1
        assert found.num_inside[0] == (2 * 3 if divisions == 1 else 2 * 2 * 4)
        assert found.num_outside[0] == (0 if divisions == 1 else 2 * 2)


def test_many_shadows_give_the_likelihood_ratio_of_two_normals():
    num_rows, models = 30, 400
    random = np.random.default_rng(0)
    members = random.random((models, num_rows)) < 0.5
    level, gap, spread = (random.uniform(low, high, num_rows) for low, high in ((-3, 3), (0, 4), (0.5, 2)))
    scores = level + gap * members + spread * random.normal(size=members.shape)
    folds = np.stack([np.arange(models), np.zeros(models, int)], axis=1)
    found = likelihood_ratios(scores, members, ~members, folds)
    truth = norm.logpdf(scores, level + gap, spread) - norm.logpdf(scores, level, spread)
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.99
    assert np.abs(found - truth).mean() < 0.15 * np.abs(truth).mean()


def test_shadows_find_what_the_loss_alone_does_not():
    """Rows differ more in how hard they are than by having been fitted."""
    values = []
    for divisions in (1, 4):
        members, outsiders, folds = divided(300, 5, divisions)
        random = np.random.default_rng(0)
        row = 5 * random.normal(size=300)
        scores = row + 1.5 * members + random.normal(size=members.shape)
        ratios = likelihood_ratios(scores, members, outsiders, folds)
        values.append((auc(scores, members, outsiders).value, auc(ratios, members, outsiders).value))
    (by_loss, one), (_, several) = values
    assert by_loss < 0.6 and one > by_loss + 0.15 and several > by_loss + 0.15


@pytest.mark.parametrize(
    ("divisions", "seeds", "rows", "fold", "noise"),
    [
        (1, 1, 1.0, 0.0, 1.0),
        (1, 2, 1.0, 1.0, 0.3),  # what a fold's rows did to its models, to each row differently
        (2, 2, 3.0, 1.0, 0.3),
        (8, 1, 0.0, 0.0, 1.0),  # a mean gap of the wrong sign would turn the scores of all models at once
    ],
)
def test_models_on_which_no_row_left_a_trace_give_a_guess(divisions, seeds, rows, fold, noise):
    random, missed, values = np.random.default_rng(0), 0, []
    for number in range(150):
        members, outsiders, folds = divided(80, 5, divisions, seeds, seed=number, stop=0.1)
        own = np.repeat(random.normal(size=(len(members) // seeds, 80)), seeds, axis=0)
        scores = rows * random.normal(size=80) + fold * own + noise * random.normal(size=members.shape)
        ratios = likelihood_ratios(scores, members, outsiders, folds)
        told = np.isfinite(ratios)
        found = auc(ratios, members & told, outsiders & told, compared=True)
        missed += not found.low <= 0.5 <= found.high
        values.append(found.value)
    assert missed / 150 < 0.09  # 0.05, and two standard errors
    assert abs(np.mean(values) - 0.5) < 3 * np.std(values) / np.sqrt(150)
