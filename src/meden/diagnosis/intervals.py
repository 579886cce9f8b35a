"""Intervals of shares."""

from __future__ import annotations

import math

Z = 1.959964
"""Standard deviations on either side that hold 95 % of a normal variable."""


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """Return the interval of a share of rows by Wilson's score, of 95 % unless another quantile is given.

    Args:
        share: of the rows, 0 to 1.
        count: rows, 1 or more.
        z: quantile of the normal distribution.

    Example:
        >>> [round(end, 3) for end in wilson(0.5, 10)]
        [0.237, 0.763]

    Reference:
        E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)
