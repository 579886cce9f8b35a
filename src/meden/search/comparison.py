"""What a comparison found: held-out results of alternatives, paired with those of the first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError
from meden._shown import Pair, Shown, ShownFields
from meden.data import Fold
from meden.recipe import Recipe
from meden.search.comparison_page import comparison_report
from meden.study.results import TrialStatus

Array = NDArray[np.float64]
CONFIDENCE = 0.95


class FoldMean(NamedTuple):
    """A mean over folds, of results or of paired differences."""

    mean: float
    error: float
    """Standard error, corrected for what the training parts of the folds share."""
    low: float
    high: float
    """Ends of the 95 % interval."""


@dataclass(frozen=True, repr=False)
class Alternative(ShownFields):
    """One way to train, and its results; arrays are (F,), one number for each fold, averaged over seeds."""

    name: str
    recipe: Recipe
    model_args: Mapping[str, Any]
    losses: Array
    """Mean data loss of the held-out rows; NaN where a run diverged."""
    scores: Array
    """Mean accuracy, or mean squared error in the units of the target, of the held-out rows."""
    train_losses: Array
    """Mean data loss of the fitting rows."""
    status: TrialStatus
    reason: str
    """Why it diverged; empty where it is ok."""


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """The outcome of :func:`meden.compare`; printing it gives a table."""

    metric: str
    alternatives: tuple[Alternative, ...]
    """The first is what the others are compared with."""
    num_seeds: int
    overlap: float
    """Scored rows for each row that trains, on average over the folds."""

    def difference(self, name: str, of: str = "loss") -> FoldMean:
        """Return how far an alternative is from the first one, in the same folds.

        Args:
            name: of the alternative.
            of: ``"loss"`` or the metric.

        Raises:
            InputError: if there is no such alternative or quantity.

        Reference:
            C. Nadeau and Y. Bengio, Inference for the generalization error, 2003 (the corrected variance).
        """
        named = {alternative.name: alternative for alternative in self.alternatives}
        if name not in named or of not in ("loss", self.metric):
            raise InputError(
                f"name must be one of {', '.join(named)} and of one of loss, {self.metric}, got {name!r} and {of!r}"
            )
        column = "losses" if of == "loss" else "scores"
        return mean_over_folds(getattr(named[name], column) - getattr(self.alternatives[0], column), self.overlap)

    def table(self) -> pd.DataFrame:
        """Return one row per alternative: held-out loss and metric with standard errors, differences with intervals."""
        return pd.DataFrame([self._row(alternative) for alternative in self.alternatives])

    def report(self, path: Path | str) -> Path:
        """Write one HTML file that opens offline: the losses of all alternatives, and the table."""
        return comparison_report(
            [self._row(alternative) for alternative in self.alternatives], self.metric, self.summary, path
        )

    @property
    def summary(self) -> str:
        """What the numbers are, in one line."""
        num_folds, first = len(self.alternatives[0].losses), self.alternatives[0].name
        text = f"{num_folds} folds, {self.num_seeds} seed{'s' * (self.num_seeds > 1)}; ± one standard error, "
        text += "corrected for the rows that folds share; "
        return text + f"differences from {first!r} are paired, with 95 % intervals"

    def _row(self, alternative: Alternative) -> dict[str, Any]:
        row: dict[str, Any] = {"name": alternative.name, "train_loss": float(alternative.train_losses.mean())}
        for name, values in (("loss", alternative.losses), (self.metric, alternative.scores)):
            found = self.difference(alternative.name, name)
            own = mean_over_folds(values, self.overlap)
            row |= {name: own.mean, f"{name}_error": own.error, f"{name}_low": own.low, f"{name}_high": own.high}
            row |= {f"{name}_{part}": value for part, value in zip(_PARTS, found, strict=True)}
        return row | {"status": alternative.status, "reason": alternative.reason}

    def __str__(self) -> str:
        blocks = [self._block("loss", "losses", "train_losses"), self._block(self.metric, "scores", None)]
        diverged = [f"{a.name} {a.status}: {a.reason}" for a in self.alternatives if a.status != "ok"]
        return "\n".join([*blocks, self.summary, *diverged])

    def _pairs(self) -> Iterable[Pair]:
        yield "alternatives", len(self.alternatives)
        yield from ((alternative.name, self._told(alternative)) for alternative in self.alternatives)
        yield "numbers", self.summary

    def _told(self, alternative: Alternative) -> str:
        """Return loss, metric and the difference from the first one in a line."""
        if alternative.status != "ok":
            return f"{alternative.status}: {alternative.reason}"
        told = (
            f"loss {_number_text(alternative.losses.mean())}, {self.metric} {_number_text(alternative.scores.mean())}"
        )
        found = self.difference(alternative.name)
        is_first = alternative is self.alternatives[0] or not math.isfinite(found.mean)
        return told if is_first else f"{told}; loss differs by {_difference_text(found)}"

    def _block(self, of: str, column: str, train: str | None) -> str:
        """Return the lines of one quantity: training rows, held-out rows, the difference from the first."""
        lines = [(of, "train" if train else "", "held-out", "difference")]
        for alternative in self.alternatives:
            own = mean_over_folds(getattr(alternative, column), self.overlap)
            trained = _number_text(getattr(alternative, train).mean()) if train else ""
            is_first = alternative is self.alternatives[0]
            difference = "" if is_first else _difference_text(self.difference(alternative.name, of))
            lines.append((alternative.name, trained, _number_text(own.mean, own.error), difference))
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        padded = (zip(line, widths, strict=True) for line in lines)
        return (
            "\n".join("  ".join(cell.ljust(width) for cell, width in line if width).rstrip() for line in padded) + "\n"
        )


_PARTS = ("difference", "difference_error", "difference_low", "difference_high")


def mean_over_folds(values: Array, overlap: float, confidence: float = CONFIDENCE) -> FoldMean:
    """Return mean, corrected standard error and interval of results, or differences, in folds of a cross-validation.

    Args:
        values: (F,), two or more.
        overlap: scored rows for each row that trains. Folds share training rows, so that their results are not
            independent; the variance of the mean is s^2 (1/F + overlap) and not s^2 / F.
        confidence: coverage of the interval, in (0, 1).

    Example:
        >>> found = mean_over_folds(np.array([1.0, 2.0, 3.0]), overlap=0.5)
        >>> round(found.mean, 3), round(found.error, 3)
        (2.0, 0.913)
    """
    from scipy import stats

    num_folds = len(values)
    mean = float(values.mean())
    error = float(values.std(ddof=1) * math.sqrt(1 / num_folds + overlap))
    half = error * float(stats.t.ppf((1 + confidence) / 2, num_folds - 1))
    return FoldMean(mean, error, mean - half, mean + half)


def overlap(folds: Sequence[Fold]) -> float:
    """Return the scored rows for each row that trains, on average over the folds."""
    return float(np.mean([len(fold.score) / (len(fold.fit) + len(fold.stop)) for fold in folds]))


def _number_text(mean: float, error: float | None = None) -> str:
    if not math.isfinite(mean):
        return "-"
    return f"{mean:.4g}" if error is None else f"{mean:.4g} ± {error:.2g}"


def _difference_text(found: FoldMean) -> str:
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]" if math.isfinite(found.mean) else "-"
