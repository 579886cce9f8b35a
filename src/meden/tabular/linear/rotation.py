"""Inputs in the directions in which they vary, few where there are few rows.

Legend: ``n`` rows, ``D`` inputs, ``r`` directions, at most the smaller of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROUNDING = 1e-13
"""Of the largest square, below which a direction is none."""


@dataclass(frozen=True, eq=False)
class Rotation:
    """Principal directions of centred inputs.

    Attributes:
        axes: orthonormal, (D, r).
        squares: weighted mean square of the inputs along each, (r,).
        turned: the inputs in these directions, (n, r).
    """

    axes: Array
    squares: Array
    turned: Array

    @classmethod
    def of(cls, x: Array, shares: Array) -> Rotation:
        """Return that of inputs x (n, D) of weighted mean 0, of rows with positive weights (n,) that add up to 1.

        It is an eigendecomposition of the smaller of the two matrices of products: of inputs, or of rows.

        Example:
            >>> made = Rotation.of(np.array([[3.0, 4.0, 0.0], [-3.0, -4.0, 0.0]]), np.array([0.5, 0.5]))
            >>> made.squares.round(6).tolist(), abs(made.axes).round(6).ravel().tolist()
            ([25.0], [0.6, 0.8, 0.0])
        """
        root = x * np.sqrt(shares)[:, None]
        wide = x.shape[1] > x.shape[0]
        squares, vectors = np.linalg.eigh(root @ root.T if wide else root.T @ root)
        kept = squares > ROUNDING * max(squares[-1], 1e-300)
        squares, vectors = squares[kept], vectors[:, kept]
        axes = root.T @ (vectors / np.sqrt(squares)) if wide else vectors
        return cls(axes, squares, x @ axes)

    @property
    def largest(self) -> float:
        """The largest mean square of any direction; 0 without inputs that vary."""
        return float(self.squares.max(initial=0.0))
