"""Whether probabilities are frequencies: rows that are said to be right with 0.8 should be right in 8 of 10 cases.

Legend: ``n`` rows, ``C`` classes, ``B`` bins of equal width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meden._checks import InputError
from meden._shown import ShownFields
from meden.diagnosis.finding import Interval, Seen
from meden.diagnosis.rule import rule

Array = NDArray[np.float64]
NUM_BINS = 10
"""Of equal width, B."""
NUM_DRAWS = 200
"""Draws of rows that an interval comes from: they tell a standard deviation within a twentieth."""
MOST_DRAWN = 3e7
"""Rows that all draws have together: of so many rows, few draws differ."""
FEWEST_ROWS = 100
"""Rows below which nothing is said: of 30, probabilities that are right would raise an alarm once in fifteen times."""
HOTTEST = 100.0
"""Temperatures are looked for from one over this to this."""
LIKELY = math.log(2)
"""Standard deviation of log T that is expected: most networks that are too sure are so by a factor of up to four."""
SURE = 6.63
"""Twice the gain in log-likelihood from which a temperature is taken: at the true T = 1 chance gives as much in 1 % of
the cases (S. Wilks, 1938), so that a temperature of few rows does no harm."""
HALVINGS = 20
"""Of the range in which a number from 0 to 1 is looked for: six digits."""
TOLERATED = 0.05
"""Of what is said of classes, so much may be off before it is worth a change: networks that are stopped at their best
state are within it (docs/log.md), those that go on are at twice and more."""


@dataclass(frozen=True, eq=False, repr=False)
class Answers(ShownFields):
    """The confidence of a model in its predicted classes, and whether they were right.

    Raises:
        InputError: if there are no rows, if the two differ in length, or if ``sure`` is not within 0 to 1.
    """

    sure: Array
    """Probability of the class that was named, (n,)."""
    right: NDArray[np.bool_]
    """Whether it was the true one, (n,)."""
    source: str = ""
    """How a command line names the data; empty where no command takes them."""

    def __post_init__(self) -> None:
        if self.sure.ndim != 1 or self.sure.shape != self.right.shape or len(self.sure) == 0:
            raise InputError(
                f"sure and right must both have shape (n,) with n above 0, got {self.sure.shape} and {self.right.shape}"
            )
        if not (0 <= self.sure.min() and self.sure.max() <= 1 + 1e-6):
            raise InputError(f"sure must be in [0, 1], got {self.sure.min():.3g} to {self.sure.max():.3g}")


@dataclass(frozen=True)
class CalibrationError:
    """The mean difference between predicted probabilities and observed frequencies."""

    plain: float
    """Mean over the bins of the distance between what is said and what is so: too large where rows are few."""
    estimate: float
    """The same without what chance adds."""
    interval: Interval
    """Where it lies in 95 % of the cases."""
    lean: float
    """Mean of what is said less the share that is right: above 0 is too sure."""


def calibration_error(sure: ArrayLike, right: ArrayLike) -> float:
    """Return the expected calibration error of ten bins of equal width.

    Args:
        sure: probabilities, (n,).
        right: whether what they are of is so, (n,).

    Example:
        >>> round(calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, True, False]), 3)
        0.15

    Reference:
        M. Naeini, G. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, 2015.
    """
    sure, right = np.asarray(sure, dtype=np.float64), np.asarray(right, dtype=np.float64)
    weights, distance, _ = _by_bin(sure, right)
    return float(weights @ np.abs(distance))


def bins_of(sure: Array) -> NDArray[np.int64]:
    """Return the bin of each probability, (n,)."""
    return np.minimum((sure * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def estimate_error(answers: Answers, seed: int = 0) -> CalibrationError:
    """Return the calibration error, corrected for chance, and its interval.

    A share of few rows is off by chance, which the plain error takes for a fault: of 100 rows of a model whose
    probabilities are right it is about 0.05. With d_b the distance that bin b shows and s_b the standard error of its
    share, the mean of ``|a d_b + s_b z|`` over normal z is known; the estimate is a times the plain error, with that a
    from 0 to 1 by which distances a d_b are expected to show the plain error. The interval has the standard deviation
    of the estimate over a bootstrap of the rows.

    Args:
        answers: of rows that the model has not seen.
        seed: of the draws.

    Example:
        >>> draws = np.random.default_rng(0)
        >>> sure = draws.uniform(0.5, 1.0, 2000)
        >>> found = estimate_error(Answers(sure, draws.random(2000) < sure - 0.1))
        >>> round(found.estimate, 1), found.interval[0] > 0.05
        (0.1, True)

    Reference:
        A. Kumar, P. Liang and T. Ma, Verified uncertainty calibration, 2019 (what chance adds, by shares with normal
        errors; here the distances are shrunk until they fit, since at none it adds most); C. Guo, G. Pleiss, Y. Sun
        and K. Weinberger, On calibration of modern neural networks, 2017.
    """
    sure, right = answers.sure.astype(np.float64), answers.right.astype(np.float64)
    draws, num = np.random.default_rng(seed), len(sure)
    drawn = []
    for _ in range(int(np.clip(MOST_DRAWN / num, 50, NUM_DRAWS))):
        rows = draws.integers(num, size=num)
        drawn.append(_without_chance(sure[rows], right[rows]))
    estimate, margin = _without_chance(sure, right), 1.96 * float(np.std(drawn))
    interval = (max(0.0, estimate - margin), min(1.0, estimate + margin))
    return CalibrationError(calibration_error(sure, right), estimate, interval, float((sure - right).mean()))


@rule("calibration", "warning")
def miscalibrated(answers: Answers) -> Seen | None:
    """Predicted probabilities differ from observed frequencies by more than chance explains, and by a relevant amount.

    Reference:
        C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, 2017.
    """
    if len(answers.sure) < FEWEST_ROWS:
        return None
    found = estimate_error(answers)
    if found.interval[0] <= TOLERATED:
        return None
    said, so = answers.sure.mean(), answers.right.mean()
    how = "too sure" if found.lean > 0 else "underconfident"
    return Seen(
        f"the model is {how}: its mean confidence in the predicted class is {100 * said:.1f} %, its accuracy "
        f"{100 * so:.1f} %, and the expected calibration error, corrected for chance, is {found.estimate:.2g}",
        "Divide the logits by a temperature fitted on rows that are used neither for training nor for scoring "
        "(`meden.calibrate(run, rows)`), or regularise more",
        command=f"meden fit {answers.source} --calibrate" if answers.source else "",
        value=found.estimate,
        interval=found.interval,
    )


def fit_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """Return the temperature T by which the mean of -log softmax(logits / T) at the true classes is least.

    The loss is convex in 1 / T. T is looked for from 0.01 to 100. Where all rows are right the loss falls with T until
    rounding makes it 0, so that T is some small number up to that; where all are wrong T is 100; where logits say
    nothing any T within is as good. :func:`careful_temperature` is for few rows.

    Args:
        logits: (n, C).
        classes: positions of the true ones, (n,).

    Example:
        >>> round(fit_temperature([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], [0, 0, 0, 1]), 2)
        1.82

    Reference:
        C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, 2017.
    """
    return math.exp(_least(lambda told: _total_loss(logits, classes, told)))


def careful_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """Return a temperature that few rows may decide: 1 unless they clearly show that another one is better.

    It is the most probable one where log T is normal about 0 with standard deviation log 2. It stays 1 where twice the
    gain in log-likelihood is below 6.63, which chance gives in 1 % of the cases; and where no row is wrong it is never
    below 1, since rows that are all right cannot say how sure is too sure.

    Args:
        logits: (n, C).
        classes: positions of the true ones, (n,).

    Returns:
        T, from 0.01 to 100.

    Example:
        >>> careful_temperature([[2.0, 0.0]] * 30, [0] * 30)
        1.0
        >>> round(careful_temperature([[9.0, 0.0]] * 30, [0] * 20 + [1] * 10), 1)
        7.2

    Reference:
        S. Wilks, The large-sample distribution of the likelihood ratio for testing composite hypotheses, 1938.
    """
    numbers, true = np.asarray(logits, dtype=np.float64), np.asarray(classes)
    told = _least(lambda told: _total_loss(numbers, true, told) + told**2 / (2 * LIKELY**2))
    gain = _total_loss(numbers, true, 0.0) - _total_loss(numbers, true, told)
    all_right = bool((numbers.argmax(axis=1) == true).all())
    return 1.0 if 2 * gain < SURE or (told < 0 and all_right) else math.exp(told)


def _total_loss(logits: ArrayLike, classes: ArrayLike, log_temperature: float) -> float:
    from scipy.special import log_softmax

    numbers, true = np.asarray(logits, dtype=np.float64), np.asarray(classes)
    told = log_softmax(numbers / math.exp(log_temperature), axis=1)
    return -float(told[np.arange(len(true)), true].sum())


def _least(loss: Callable[[float], float]) -> float:
    """Return the log T of the least loss."""
    from scipy.optimize import minimize_scalar

    ends = (-math.log(HOTTEST), math.log(HOTTEST))
    return float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6}).x)


def _by_bin(sure: Array, right: Array) -> tuple[Array, Array, Array]:
    """Return of each bin that has rows its share of them, what is said less what is so, and the latter's error."""
    place = bins_of(sure)
    num = np.bincount(place, minlength=NUM_BINS).astype(np.float64)
    kept = num > 0
    num = num[kept]
    said, so = (np.bincount(place, values, NUM_BINS)[kept] / num for values in (sure, right))
    likely = (so * num + said) / (num + 1)  # a share of 0 or 1 has an error too
    return num / num.sum(), said - so, np.sqrt(np.maximum(likely * (1 - likely), 1e-12) / num)


def _without_chance(sure: Array, right: Array) -> float:
    weights, distance, error = _by_bin(sure, right)
    plain = float(weights @ np.abs(distance))
    if weights @ _folded(0 * distance, error) >= plain:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if weights @ _folded(middle * distance, error) > plain else (middle, high)
    return low * plain


def _folded(mean: Array, deviation: Array) -> Array:
    """Return the mean of the absolute value of a normal variable."""
    from scipy.special import ndtr

    ratio = mean / deviation
    folded: Array = deviation * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))
    return folded
