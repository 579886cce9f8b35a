"""A regression and a classification of a few rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from tests.strengths.common import D, N


@pytest.fixture(scope="session")
def regression():
    rng = np.random.default_rng(0)
    X = StandardScaler().fit_transform(rng.normal(size=(N, D)))
    return X, X @ np.array([1.5, -1.0, 0.05, 0.0]) + 0.3 * rng.normal(size=N)


@pytest.fixture(scope="session")
def classes(regression):
    X, y = regression
    return X, (y + np.random.default_rng(1).normal(size=N) > 0).astype(int)
