"""Columns prepared by all rows and by the fitting rows alone, by the tools that people use for it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler, TargetEncoder

from meden import diagnose
from meden.data import Fold
from meden.diagnosis import Split
from meden.diagnosis.splits.preparation import _follows

NUM = 400
FOLD = Fold(np.arange(240), np.arange(240, 300), np.arange(300, NUM))
EVERY = np.arange(NUM)


def found(inputs, target=None, fold=FOLD):
    return {finding.code: finding for finding in diagnose(Split(folds=[fold], inputs=inputs, target=target)).findings}


def measured(seed=0):
    x = np.random.default_rng(seed).standard_normal((NUM, 4)) * [1, 20, 0.1, 3] + [5, 0, 1, -40]
    x[350, :2] = 100.0, -90.0  # ends that the fitting rows do not reach
    return pd.DataFrame(x)


@pytest.mark.parametrize("scaler", [StandardScaler(), RobustScaler(), MinMaxScaler(), "pandas"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_scaler_of_all_rows_is_found_and_one_of_the_fitting_rows_is_not(scaler, dtype):
    x = measured()

    def scaled(rows):
        if scaler == "pandas":
            return (x - x.iloc[rows].mean()) / x.iloc[rows].std()
        return pd.DataFrame(scaler.fit(x.iloc[rows]).transform(x).astype(dtype))

    finding = found(scaled(EVERY))["scaled_on_all"]
    beyond = np.mean(
        (x.min() < x.iloc[FOLD.fit].min()) | (x.max() > x.iloc[FOLD.fit].max())
    )  # of a range no more shows
    assert finding.severity == "warning" and 0.5 <= beyond < 1.0
    assert finding.value == (beyond if isinstance(scaler, MinMaxScaler) else 1.0)
    assert found(scaled(FOLD.fit)) == found(x) == {}


def test_rows_of_no_part_may_have_taken_part_in_the_scaling():
    inside = Fold(np.arange(200), np.arange(0), np.arange(200, 260))
    for rows in (EVERY, np.arange(260)):
        assert "scaled_on_all" in found(
            pd.DataFrame(StandardScaler().fit(measured().iloc[rows]).transform(measured())), fold=inside
        )


def test_pixels_and_shares_reach_from_0_to_1_by_nature():
    x, y = load_digits(return_X_y=True)
    folded = Fold(np.arange(1000), np.arange(0), np.arange(1000, len(x)))
    assert found(pd.DataFrame(x / 16), y, folded) == {}
    assert found(measured().assign(share=np.linspace(1, 0, NUM))) == {}


def categories(seed, num_categories=30, classes=2):
    rng = np.random.default_rng(seed)
    category = rng.integers(0, num_categories, NUM)
    level = rng.standard_normal(num_categories)[category] + rng.standard_normal(NUM)
    return category, level if classes == 0 else np.digitize(level, np.linspace(-0.5, 0.5, classes - 1))


def encoded(category, y, rows, smooth):
    kind = {True: "continuous", False: "binary" if y.max() == 1 else "multiclass"}[y.dtype.kind == "f"]
    encoder = TargetEncoder(smooth=smooth, target_type=kind).fit(category[rows, None], y[rows])
    return pd.DataFrame(encoder.transform(category[:, None]).astype(np.float32))


@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize("smooth", [0.0, 10.0, "auto"])
@pytest.mark.parametrize("num_categories", [8, 100])
def test_an_encoder_of_all_targets_is_found_and_one_of_the_fitting_rows_is_not(classes, smooth, num_categories):
    category, y = categories(1, num_categories, classes)
    finding = found(encoded(category, y, EVERY, smooth), y)["target_encoded_on_all"]
    assert finding.severity == "error" and finding.value > 0
    assert "target_encoded_on_all" not in found(encoded(category, y, FOLD.fit, smooth), y)


def test_means_that_were_scaled_after_encoding_are_found():
    category, y = categories(2)
    for rows, expected in ((EVERY, True), (FOLD.fit, False)):
        column = encoded(category, y, rows, 0.0)
        assert ("target_encoded_on_all" in found(3 * column - 7, y)) == expected


def test_columns_that_only_go_with_the_target_are_no_encoding():
    category, y = categories(3)
    rng = np.random.default_rng(0)
    others = pd.DataFrame({"code": category, "copy": y, "near": y + rng.normal(0, 0.1, NUM), "sign": np.sign(y - 0.5)})
    assert "target_encoded_on_all" not in found(others, y)
    assert "target_encoded_on_all" not in found(others, 2.0 * category + 1)


def test_means_are_told_by_brute_force():
    category, y = categories(4, 10)
    means = pd.Series(y).groupby(category).transform("mean").to_numpy()
    assert _follows(means, y.astype(float), 4)
    off = means.copy()
    off[category < 5] += 0.01
    assert not _follows(off, y.astype(float), 4)
