"""Linear models that use few inputs: lasso, and logistic regression with the norms of inputs' weights penalised.

Legend: ``n`` rows, ``D`` inputs, ``K`` scores of a row.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden.tabular.linear.losses import CrossEntropy
from meden.tabular.linear.smooth import minimise

Array = NDArray[Any]
SLACK = 1e-6
"""Part of the strength by which the gradient of an input that is not used may be above it."""
IDENTIFYING, POLISHING = 20, 60
"""Steps of each kind, in turns."""
MOST_ROUNDS = 200
MOST_NEWTON, NEWTON_STEPS = 300, 8
"""Weights up to which the finishing steps are Newton's, and how many of them."""
SHORTEST = 1e-4
"""Part of a Newton step that is tried."""
FEWEST_JOINING = 20
"""Inputs that may join those that are tried at a time."""
MOST_SWEEPS = 20_000


class Lasso:
    """1/2 weighted mean squared error + strength * sum of abs(w), by scikit-learn's coordinate descent.

    Args:
        x: (n, D) of weighted mean 0.
        y: (n, 1) of weighted mean 0.
        shares: positive weights (n,) that add up to 1.
        tolerance: gap of duality, relative to the mean square of y.

    Reference:
        R. Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """

    def __init__(self, x: Array, y: Array, shares: Array, tolerance: float = 1e-8) -> None:
        root = np.sqrt(shares * len(x))[:, None]
        self._x, self._y = np.asfortranarray(x * root), np.ascontiguousarray((y * root)[:, 0])
        self._weights, self._tolerance = np.zeros(x.shape[1]), tolerance
        self._gradient = self._slopes()
        self.strongest = float(np.abs(self._gradient).max(initial=0.0))

    def solve(self, strength: float) -> tuple[Array, Array]:
        """Return weights (D, 1) and intercepts (1,); it starts from the solution before."""
        tried = self._weights != 0
        joining = self._missed(tried, strength)
        while True:
            tried[joining] = True
            self._solve_on(np.flatnonzero(tried), strength)
            self._gradient = self._slopes()
            joining = self._missed(tried, strength)
            if not len(joining):
                break
        return self._weights[:, None].copy(), np.zeros(1)

    def _missed(self, tried: Array, strength: float) -> Array:
        return worst_missed(np.abs(self._gradient), tried, self._weights != 0, strength * (1 + SLACK))

    def _slopes(self) -> Array:
        """Return the gradient of the loss, (D,)."""
        used = np.flatnonzero(self._weights)
        return np.asarray(self._x.T @ (self._x[:, used] @ self._weights[used] - self._y) / len(self._y))

    def _solve_on(self, places: Array, strength: float) -> None:
        """Solve for the weights of some inputs."""
        if not len(places):
            return
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import lasso_path

        x = self._x[:, places]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, path, _ = lasso_path(
                x,
                self._y,
                alphas=np.array([strength]),
                precompute=np.ascontiguousarray(x.T @ x),
                Xy=x.T @ self._y,
                coef_init=self._weights[places],
                copy_X=False,
                check_input=False,
                tol=self._tolerance,
                max_iter=MOST_SWEEPS,
            )
        self._weights[places] = path[:, 0]


class SparseLogistic:
    """Weighted mean cross-entropy + strength * sum over inputs of the norm of their weights, (K,) each.

    For two classes, of one score, that is the sum of abs(w). Accelerated proximal steps, on the inputs that may be
    used, find which are; L-BFGS on those finishes. It is done when the optimality conditions of all inputs hold.

    Args:
        x: (n, D) of weighted mean 0.
        loss: of the rows.
        tolerance: by which optimality may be missed, relative to the strength at which no input is used.

    References:
        M. Yuan and Y. Lin, Model selection and estimation in regression with grouped variables, 2006.
        A. Beck and M. Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009.
    """

    def __init__(self, x: Array, loss: CrossEntropy, tolerance: float = 1e-7) -> None:
        self._x, self._loss = np.asfortranarray(x), loss
        self._weights, self._intercept = np.zeros((x.shape[1], loss.num_scores)), loss.start()
        self._gradient = self._x.T @ loss(np.tile(self._intercept, (len(x), 1)))[1]
        self.strongest = float(row_norms(self._gradient).max(initial=0.0))
        self._tolerance = tolerance * self.strongest

    def solve(self, strength: float) -> tuple[Array, Array]:
        """Return weights (D, K) and intercepts (K,); it starts from the solution before."""
        tried = row_norms(self._weights) > 0
        joining = self._missed(tried, strength)
        while True:
            tried[joining] = True
            places = np.flatnonzero(tried)
            self._solve_on(places, strength)
            scores = self._x[:, places] @ self._weights[places] + self._intercept
            self._gradient = self._x.T @ self._loss(scores)[1]
            joining = self._missed(tried, strength)
            if not len(joining):
                break
        return self._weights.copy(), self._intercept

    def _missed(self, tried: Array, strength: float) -> Array:
        allowed = strength * (1 + SLACK) + self._tolerance
        return worst_missed(row_norms(self._gradient), tried, row_norms(self._weights) > 0, allowed)

    def _solve_on(self, places: Array, strength: float) -> None:
        """Solve for the weights of some inputs."""
        if not len(places):
            self._intercept = self._loss.start()
            return
        x, w, b = np.ascontiguousarray(self._x[:, places]), self._weights[places], self._intercept
        root = x * np.sqrt(self._loss.shares)[:, None]
        smaller = root @ root.T if x.shape[1] > len(x) else root.T @ root
        most = self._loss.largest_curvature
        steps = 1 / (most * max(float(np.linalg.eigvalsh(smaller)[-1]), 1e-300)), 1 / most
        for _ in range(MOST_ROUNDS):
            w, b, done = self._identify(x, w, b, strength, steps)
            if done:
                break
            kept = row_norms(w) > 0
            polish = self._newton if (kept.sum() + 1) * w.shape[1] <= MOST_NEWTON else self._polish
            w[kept], b = polish(x[:, kept], w[kept], b, strength)
        self._weights[places], self._intercept = w, b

    def _identify(
        self, x: Array, w: Array, b: Array, strength: float, steps: tuple[float, float]
    ) -> tuple[Array, Array, bool]:
        """Return weights and intercepts some proximal steps later, and whether they are optimal."""
        step, level = steps
        (ahead, ahead_b), inertia = (w, b), 1.0
        for _ in range(IDENTIFYING):
            residual = self._loss(x @ ahead + ahead_b)[1]
            slope = residual.sum(axis=0)
            new, new_b = shrunk(ahead - step * (x.T @ residual), step * strength), ahead_b - level * slope
            moved = new - ahead
            missed = max(float(row_norms(moved).max(initial=0.0)) / step, float(np.abs(slope).max()))
            if missed <= self._tolerance:
                return new, new_b, True
            if float(np.vdot(-moved, new - w)) / step + float(np.vdot(ahead_b - new_b, new_b - b)) / level > 0:
                inertia = 1.0  # O'Donoghue and Candes (2015): begin anew where it leads uphill
            following = (1 + np.sqrt(1 + 4 * inertia**2)) / 2
            push = (inertia - 1) / following
            ahead, ahead_b = new + push * (new - w), new_b + push * (new_b - b)
            w, b, inertia = new, new_b, following
        return w, b, False

    def _newton(self, x: Array, w: Array, b: Array, strength: float) -> tuple[Array, Array]:
        """Return better weights and intercepts, by Newton's method; an input whose weights turn round is left out."""
        ones, kept = np.ones((len(x), 1)), np.ones(len(w), dtype=bool)
        w, total = w.copy(), self._total(x, w, b, strength)
        for _ in range(NEWTON_STEPS):
            own, part = w[kept], np.hstack([x[:, kept], ones])
            point = np.vstack([own, b])  # (D + 1, K)
            scores = part @ point
            gradient, bent = part.T @ self._loss(scores)[1], self._loss.hessian(part, scores)
            norms = row_norms(own)
            toward = own / norms[:, None]
            gradient[:-1] += strength * toward
            places = np.arange(len(own))
            for i in range(w.shape[1] if w.shape[1] > 1 else 0):
                for j in range(w.shape[1]):
                    rows, columns = i * len(point) + places, j * len(point) + places
                    bent[rows, columns] += strength / norms * ((i == j) - toward[:, i] * toward[:, j])
            bent[np.diag_indices(len(bent))] += 1e-10 * np.trace(bent) / len(bent)
            if float(np.abs(gradient).max()) <= 0.3 * self._tolerance:
                break
            step = np.linalg.solve(bent, -gradient.T.ravel()).reshape(point.T.shape).T
            length, before = 1.0, total
            while length > SHORTEST:
                new = point + length * step
                new[:-1][np.einsum("dk,dk->d", new[:-1], own) < 0] = 0.0
                total = self._total(part[:, :-1], new[:-1], new[-1], strength)
                if total < before:
                    break
                length /= 3
            else:
                break
            w[kept], b = new[:-1], new[-1]
            kept = row_norms(w) > 0
        return w, b

    def _total(self, x: Array, w: Array, b: Array, strength: float) -> float:
        return self._loss(x @ w + b)[0] + strength * float(row_norms(w).sum())

    def _polish(self, x: Array, w: Array, b: Array, strength: float) -> tuple[Array, Array]:
        """Return better weights, none of which is zero, and intercepts: L-BFGS where curvature is about one."""
        loss, shape = self._loss, w.shape
        bend = loss.curvature(x @ w + b)
        bent = bend * (x.T @ (x * loss.shares[:, None]))
        round_ = strength / row_norms(w) if shape[1] > 1 else 0.0
        bent[np.diag_indices(len(w))] += round_ + 1e-6 * np.trace(bent) / len(w) if len(w) else 0.0
        root = np.linalg.cholesky(bent)
        back = np.linalg.inv(root).T
        turned, level = x @ back, np.sqrt(bend)

        def value(point: Array) -> tuple[float, Array]:
            own, start = point[: -shape[1]].reshape(shape), point[-shape[1] :] / level
            weights = back @ own
            norms = row_norms(weights)
            found, residual = loss(turned @ own + start)
            toward = weights / np.maximum(norms, 1e-300)[:, None]
            gradient = turned.T @ residual + strength * (back.T @ toward)
            return found + strength * float(norms.sum()), np.concatenate(
                [gradient.ravel(), residual.sum(axis=0) / level]
            )

        begun = np.concatenate([(root.T @ w).ravel(), b * level])
        size = max(float(np.sqrt(np.trace(bent))), float(level))
        point = minimise(value, begun, 0.3 * self._tolerance / size, POLISHING)
        if value(point)[0] > value(begun)[0]:
            return w, b
        return back @ point[: -shape[1]].reshape(shape), point[-shape[1] :] / level


def worst_missed(slopes: Array, tried: Array, used: Array, allowed: float) -> Array:
    """Return the places of inputs, not tried, whose slopes (D,) are most above what is allowed: a few, if many are.

    Reference:
        M. Massias, A. Gramfort and J. Salmon, Celer: a fast solver for the lasso with dual extrapolation, 2018 (sets
        that grow with what is used).
    """
    missed = np.flatnonzero(~tried & (slopes > allowed))
    most = max(FEWEST_JOINING, int(used.sum()))
    return missed[np.argsort(-slopes[missed], kind="stable")[:most]]


def row_norms(w: Array) -> Array:
    """Return the norm of each row, (D,)."""
    return np.abs(w[:, 0]) if w.shape[1] == 1 else np.sqrt(np.einsum("dk,dk->d", w, w))


def shrunk(w: Array, threshold: float) -> Array:
    """Return the proximal operator of ``threshold`` times the sum of the norms of rows, (D, K).

    It is that of :class:`meden.penalties.GroupLasso`, a tenth as long in calls by the ten thousand.

    Example:
        >>> shrunk(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).round(6).tolist()
        [[2.4, 3.2], [0.0, 0.0]]
    """
    norms = np.maximum(row_norms(w), 1e-300)
    return np.asarray(w * np.maximum(0.0, 1 - threshold / norms)[:, None])
