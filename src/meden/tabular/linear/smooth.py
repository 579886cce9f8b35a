"""Linear models with strength * 1/2 sum of w^2: ridge and logistic regression, along a path of strengths.

Legend: ``n`` rows, ``D`` inputs, ``K`` scores or numbers of a row, ``r`` directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden.tabular.linear.losses import CrossEntropy
from meden.tabular.linear.rotation import Rotation

Array = NDArray[Any]
MOST_STEPS = 500
MEMORY = 15
"""Of L-BFGS, in steps."""


class Ridge:
    """Least squares: 1/2 weighted mean squared error + strength * 1/2 sum of w^2, in closed form for every strength.

    Args:
        x: (n, D) of weighted mean 0.
        y: (n, K), each of weighted mean 0.
        shares: positive weights (n,) that add up to 1.

    Example:
        >>> model = Ridge(np.array([[1.0], [-1.0]]), np.array([[2.0], [-2.0]]), np.array([0.5, 0.5]))
        >>> model.solve(1.0)[0].round(6).tolist()
        [[1.0]]

    Reference:
        A. E. Hoerl and R. W. Kennard, Ridge regression: biased estimation for nonorthogonal problems, 1970.
    """

    def __init__(self, x: Array, y: Array, shares: Array) -> None:
        self._rotation = Rotation.of(x, shares)
        self._products = self._rotation.turned.T @ (y * shares[:, None])
        self.strongest = self._rotation.largest

    def solve(self, strength: float) -> tuple[Array, Array]:
        """Return weights (D, K) and intercepts (K,)."""
        shrunk = self._products / (self._rotation.squares + strength)[:, None]
        return self._rotation.axes @ shrunk, np.zeros(shrunk.shape[1])


class Logistic:
    """Weighted mean cross-entropy + strength * 1/2 sum of w^2; each solution starts from the one before.

    The steps are those of L-BFGS in the directions of the inputs, each scaled by how much the loss bends along it.

    Args:
        x: (n, D) of weighted mean 0.
        loss: of the rows.
        tolerance: largest gradient, relative to that of the constant model.

    Reference:
        T. Hastie and R. Tibshirani, Efficient quadratic regularization for expression arrays, 2004 (the rotation).
    """

    def __init__(self, x: Array, loss: CrossEntropy, tolerance: float = 1e-8) -> None:
        self._rotation, self._loss = Rotation.of(x, loss.shares), loss
        self._weights = np.zeros((len(self._rotation.squares), loss.num_scores))
        self._intercept = loss.start()
        residual = loss(np.tile(self._intercept, (len(x), 1)))[1]
        self._gtol = tolerance * float(np.abs(self._rotation.turned.T @ residual).max(initial=1e-12))
        self.strongest = self._rotation.largest

    def solve(self, strength: float) -> tuple[Array, Array]:
        """Return weights (D, K) and intercepts (K,)."""
        turned, loss, shape = self._rotation.turned, self._loss, self._weights.shape
        bend = loss.curvature(turned @ self._weights + self._intercept)
        scale = np.sqrt(bend * self._rotation.squares + strength)[:, None]
        level = np.sqrt(bend)

        def value(point: Array) -> tuple[float, Array]:
            w, b = point[: -shape[1]].reshape(shape) / scale, point[-shape[1] :] / level
            found, residual = loss(turned @ w + b)
            gradient = (turned.T @ residual + strength * w) / scale
            total = found + strength / 2 * float(np.einsum("rk,rk->", w, w))
            return total, np.concatenate([gradient.ravel(), residual.sum(axis=0) / level])

        begun = np.concatenate([(self._weights * scale).ravel(), self._intercept * level])
        point = minimise(value, begun, self._gtol / max(float(scale.max(initial=0.0)), level))
        self._weights, self._intercept = point[: -shape[1]].reshape(shape) / scale, point[-shape[1] :] / level
        return self._rotation.axes @ self._weights, self._intercept


def minimise(value: Any, start: Array, tolerance: float, most_steps: int = MOST_STEPS) -> Array:
    """Return where a smooth function is smallest, by L-BFGS.

    Args:
        value: from a point (p,) to the function and its gradient (p,).
        start: (p,).
        tolerance: largest coordinate of the gradient at the end.
        most_steps: after which it ends in any case.
    """
    from scipy.optimize import minimize

    options = {"maxiter": most_steps, "maxfun": 2 * most_steps, "gtol": tolerance, "ftol": 0.0, "maxcor": MEMORY}
    return np.asarray(minimize(value, start, jac=True, method="L-BFGS-B", options=options).x)
