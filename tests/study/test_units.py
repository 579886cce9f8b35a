"""What a search says of a target does not depend on its unit."""

import numpy as np
import pandas as pd
import pytest
import torch

import meden
from meden import Choice, InputError, Recipe
from meden.data import as_dataset
from meden.data.fitted import standardisation
from meden.models import MLP

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3))
Y = X[:, 0] + 0.3 * RANDOM.normal(size=90)
RECIPE = Recipe(epochs=10, lr=0.03)


def search(y, **changes):
    """Return a search of one configuration on a table."""
    options = {"folds": 3, "budget": 1, "recipe": RECIPE, "metric": "r2", "task": "regression"} | changes
    return meden.tune(MLP, pd.DataFrame(X).assign(y=y), {"l2": Choice(1e-3)}, target="y", **options)


@pytest.fixture(scope="module")
def plain():
    return search(Y)


@pytest.mark.parametrize("unit", [1e-140, 1e-40, 1e-30, 1.6e-19, 1e-12, 1e17, 2e19, 2e30, 1e40, 1e140])
def test_scores_do_not_depend_on_the_unit(plain, unit):
    found = search(Y * unit)
    for metric, power in (("loss", 0), ("r2", 0), ("mse", 2)):
        score, wanted = found.score_of(metric), plain.score_of(metric)
        numbers = [score.estimate, score.low, score.high, score.naive]
        expected = np.array([wanted.estimate, wanted.low, wanted.high, wanted.naive]) * abs(unit) ** power
        np.testing.assert_allclose(numbers, expected, rtol=1e-4, atol=0)
    assert found.best.score == pytest.approx(plain.best.score * unit**2, rel=1e-4, abs=0)


@pytest.mark.parametrize(
    ("offset", "unit", "bound"), [(1e9, 1.0, 1e-3), (-1e9, 1e-3, 0.03), (1e12, 1.0, 0.03), (1e30, 1e16, 0.1)]
)
def test_scores_do_not_depend_on_an_offset(offset, unit, bound):
    """But for the rounding of the offset, which moves the standardised target by 1e-7 to 1e-2."""
    moved = offset + Y * unit
    kept = (moved - offset) / unit  # what the sum's rounding left
    assert search(moved).score_of("r2").estimate == pytest.approx(search(kept).score_of("r2").estimate, abs=bound)


def test_scores_survive_the_ledger(tmp_path):
    found = search(Y * 2e30, study_dir=tmp_path)
    assert meden.load_study(tmp_path).score_of("mse") == found.score_of("mse")


def test_what_varies_is_not_lost_to_its_offset():
    for scale in (1e-3, 1.0, 1e6):
        center, factor = standardisation(1e9 + scale * Y)
        assert center == pytest.approx(1e9 + scale * Y.mean(), abs=1e-6 * max(scale, 1))
        assert 1 / factor == pytest.approx(scale * Y.std(), rel=1e-3)
    assert standardisation(np.array([0.3, 0.1 + 0.2]))[1] == 0.0


@pytest.mark.parametrize(
    ("y", "said"),
    [(Y * 1e160, "up to 1e\\+150, got .*e\\+160; choose a larger unit"), (Y * 1e-160, "differ by at least 1e-150")],
)
def test_numbers_whose_squares_are_lost_are_refused(y, said):
    with pytest.raises(InputError, match=said):
        as_dataset(pd.DataFrame(X).assign(y=y), target="y", task="regression")


@pytest.mark.parametrize("y", [Y * 1e20, Y * 1e-20, np.stack([Y, Y * 1e20], 1)], ids=["large", "small", "several"])
def test_arrays_are_refused_where_single_precision_would_lose_them(y):
    with pytest.raises(InputError, match="standardise them"):
        as_dataset((torch.as_tensor(X).float(), y), task="regression")
