"""Linear solvers against scikit-learn and against the conditions of optimality, in canonical units, with weights."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso as SklearnLasso
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge

from meden.penalties import GroupLasso
from meden.tabular.linear.losses import CrossEntropy, probabilities
from meden.tabular.linear.rotation import Rotation
from meden.tabular.linear.smooth import Logistic, Ridge
from meden.tabular.linear.sparse import Lasso, SparseLogistic, row_norms, shrunk

SIZES = [(60, 8), (25, 70)]


def rows(n, d, seed=0):
    """Correlated inputs (the last constant), numbers, three classes and weights; centred by weight."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d)) @ (np.eye(d) + 0.3 * random.normal(size=(d, d)) / np.sqrt(d))
    signal = x[:, :3] @ np.array([[1.0, -1.0], [0.7, 0.2], [-0.5, 1.0]])
    x[:, -1] = 0.0
    weights = random.uniform(0.2, 3.0, n)
    shares = weights / weights.sum()
    x -= shares @ x
    y = signal + random.normal(size=(n, 2))
    labels = np.argmax(np.column_stack([signal, np.zeros(n)]) + random.gumbel(size=(n, 3)), axis=1)
    assert len(np.unique(labels)) == 3
    return x, y - shares @ y, labels, weights, shares


def path(solver, strengths):
    """Solve for the strengths, from strong to weak, as paths do."""
    return [solver.solve(strength) for strength in strengths]


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_ridge_is_that_of_scikit_learn_for_every_strength(n, d):
    x, y, _, weights, shares = rows(n, d)
    solver = Ridge(x, y, shares)
    for strength in (10.0, 0.1, 1e-3):
        alpha = strength * weights.sum()
        theirs = SklearnRidge(alpha=alpha, solver="svd").fit(x, y, sample_weight=weights)
        w, b = solver.solve(strength)
        np.testing.assert_allclose(w, theirs.coef_.T, atol=1e-8)
        np.testing.assert_allclose(b, theirs.intercept_, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_the_lasso_is_that_of_scikit_learn_along_a_path(n, d):
    x, y, _, weights, shares = rows(n, d)
    solver = Lasso(x, y[:, :1], shares)
    strengths = solver.strongest * np.array([1.0, 0.5, 0.2, 0.05, 0.01])
    found = path(solver, strengths)
    assert not found[0][0].any() and found[1][0].any()
    for strength, (w, b) in zip(strengths[1:], found[1:], strict=True):
        theirs = SklearnLasso(alpha=strength, tol=1e-12, max_iter=1_000_000).fit(x, y[:, 0], sample_weight=weights)
        np.testing.assert_allclose(w[:, 0], theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(b, theirs.intercept_, atol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_logistic_regression_is_that_of_scikit_learn_along_a_path(n, d, num_classes):
    x, _, labels, weights, shares = rows(n, d)
    labels = np.minimum(labels, num_classes - 1)
    solver = Logistic(x, CrossEntropy.of(labels, num_classes, shares))
    strengths = [1.0, 0.1, 1e-2, 1e-3]
    for strength, (w, b) in zip(strengths, path(solver, strengths), strict=True):
        model = LogisticRegression(C=1 / (strength * weights.sum()), tol=1e-10, max_iter=100_000, solver="newton-cg")
        theirs = model.fit(x, labels, sample_weight=weights)
        np.testing.assert_allclose(w, theirs.coef_.T, atol=1e-5 * max(1.0, np.abs(theirs.coef_).max()))
        np.testing.assert_allclose(probabilities(x @ w + b), theirs.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_few_inputs_meet_the_conditions_of_optimality_along_a_path(n, d, num_classes):
    x, _, labels, _, shares = rows(n, d)
    labels = np.minimum(labels, num_classes - 1)
    loss = CrossEntropy.of(labels, num_classes, shares)
    solver = SparseLogistic(x, loss)
    strengths = solver.strongest * np.array([1.0, 0.6, 0.2, 0.03, 0.005])
    found = path(solver, strengths)
    assert not found[0][0].any() and found[1][0].any()
    for strength, (w, b) in zip(strengths, found, strict=True):
        gradient, slope = slopes(loss, x, w, b)
        used = row_norms(w) > 0
        pull = w[used] / row_norms(w[used])[:, None]
        np.testing.assert_allclose(gradient[used], -strength * pull, atol=2e-6 * solver.strongest)
        assert (row_norms(gradient[~used]) <= strength + 2e-6 * solver.strongest).all()
        np.testing.assert_allclose(slope, 0.0, atol=2e-6 * solver.strongest)


def slopes(loss, x, w, b, step=1e-6):
    """Return the gradient in weights and intercepts by central differences."""

    def value(point):
        return loss(x @ point[:-1] + point[-1])[0]

    point = np.vstack([w, b])
    found = np.zeros_like(point)
    for place in np.ndindex(*point.shape):
        moved = np.zeros_like(point)
        moved[place] = step
        found[place] = (value(point + moved) - value(point - moved)) / (2 * step)
    return found[:-1], found[-1]


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_few_inputs_of_two_classes_are_those_of_scikit_learn(n, d):
    x, _, labels, weights, shares = rows(n, d)
    labels = np.minimum(labels, 1)
    solver = SparseLogistic(x, CrossEntropy.of(labels, 2, shares))
    for strength in solver.strongest * np.array([0.5, 0.1]):
        w, b = solver.solve(strength)
        model = LogisticRegression(
            C=1 / (strength * weights.sum()), l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=200_000, random_state=0
        )
        theirs = model.fit(x, labels, sample_weight=weights)
        np.testing.assert_allclose(w[:, 0], theirs.coef_[0], atol=1e-5)
        np.testing.assert_allclose(b, theirs.intercept_, atol=1e-5)


def test_many_weights_are_finished_by_other_steps_to_the_same_end(monkeypatch):
    x, _, labels, _, shares = rows(60, 8)
    loss = CrossEntropy.of(labels, 3, shares)
    solutions = []
    for most in (300, 0):
        monkeypatch.setattr("meden.tabular.linear.sparse.MOST_NEWTON", most)
        solver = SparseLogistic(x, loss)
        solutions.append([w for w, _ in path(solver, solver.strongest * np.array([0.5, 0.1, 0.01]))])
    for newton, other in zip(*solutions, strict=True):
        np.testing.assert_allclose(newton, other, atol=1e-5)
        assert ((row_norms(newton) > 0) == (row_norms(other) > 0)).all()


def test_classes_that_can_be_told_apart_wholly_have_a_solution():
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    loss = CrossEntropy.of(np.array([0, 0, 1, 1]), 2, np.full(4, 0.25))
    for solver in (Logistic(x, loss), SparseLogistic(x, loss)):
        (w, b) = path(solver, solver.strongest * np.geomspace(1, 1e-5, 12))[-1]
        assert np.isfinite(w).all() and w[0, 0] > 3 and abs(b[0]) < 1e-3


def test_a_rotation_turns_and_does_not_lose():
    for n, d in SIZES:
        x, _, _, _, shares = rows(n, d)
        made = Rotation.of(x, shares)
        np.testing.assert_allclose(made.axes.T @ made.axes, np.eye(made.axes.shape[1]), atol=1e-8)
        np.testing.assert_allclose(made.turned @ made.axes.T, x, atol=1e-7)
        np.testing.assert_allclose((shares[:, None] * made.turned**2).sum(axis=0), made.squares, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3])
def test_shrinking_is_the_proximal_operator_of_the_group_lasso(k):
    w = np.random.default_rng(0).normal(size=(20, k))
    theirs = GroupLasso(0.9, dim=0, size_weighted=False).prox(torch.from_numpy(w), 1.0).numpy()
    np.testing.assert_allclose(shrunk(w, 0.9), theirs, atol=1e-14)
    assert (theirs == 0).any()


@pytest.mark.parametrize("num_classes", [2, 4])
def test_cross_entropy_and_its_derivatives(num_classes):
    random = np.random.default_rng(1)
    labels, shares = np.arange(12) % num_classes, random.dirichlet(np.ones(12))
    loss = CrossEntropy.of(labels, num_classes, shares)
    x = random.normal(size=(12, 3))
    w = random.normal(size=(3, loss.num_scores))
    scores = x @ w
    full = np.hstack([np.zeros_like(scores), scores]) if num_classes == 2 else scores
    each = torch.nn.functional.cross_entropy(torch.from_numpy(full), torch.from_numpy(labels), reduction="none")
    value, residual = loss(scores)
    assert value == pytest.approx(float(shares @ each.numpy()), rel=1e-12)
    step = 1e-6
    moved = np.zeros((w.size, w.size))
    for place in range(w.size):
        change = np.zeros(w.size)
        change[place] = step
        sides = [x.T @ loss(x @ (w + sign * change.reshape(w.T.shape).T))[1] for sign in (1, -1)]
        moved[:, place] = ((sides[0] - sides[1]) / (2 * step)).T.ravel()
    np.testing.assert_allclose(loss.hessian(x, scores), moved, atol=1e-8)
    np.testing.assert_allclose(loss(np.tile(loss.start(), (12, 1)))[1].sum(axis=0), 0.0, atol=1e-12)
    assert residual.shape == scores.shape
