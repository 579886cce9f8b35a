"""What a comparison found: held-out results of alternatives, paired with those of the first."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meden._checks import InputError
from meden._shown import Pair, Shown
from meden.report import Format
from meden.search.alternative import CONFIDENCE, Alternative, FoldMean, mean_over_folds
from meden.search.comparison_origin import Origin
from meden.search.comparison_page import comparison_report
from meden.search.comparison_verdict import comparison_verdict, intervals_text, single_confidence
from meden.study.metrics import HIGHER_IS_BETTER
from meden.study.selection import Score
from meden.study.verdict import Gain, Verdict


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """The result of :func:`meden.compare`; prints as a table.

    Attributes:
        metric: what scores are.
        alternatives: what was compared; the first is what the others are compared with.
        num_seeds: runs of each alternative in each fold.
        overlap: scored rows for each row that trains, on average over the folds.
        origin: what makes it again; None where that is not known.
    """

    metric: str
    alternatives: tuple[Alternative, ...]
    num_seeds: int
    overlap: float
    origin: Origin | None = None

    def difference(self, name: str, of: str = "loss") -> FoldMean:
        """Return how far an alternative is from the first one, in the same folds.

        The intervals of all alternatives hold together with 95 %: each is widened for their number, by Bonferroni.

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
        differences = getattr(named[name], column) - getattr(self.alternatives[0], column)
        return mean_over_folds(differences, self.overlap, single_confidence(CONFIDENCE, len(self.alternatives) - 1))

    def gain(self, name: str) -> Gain:
        """Return how much better an alternative is than the first one; above 0 is better, in metric and loss.

        Intervals are those of :meth:`difference`.

        Raises:
            InputError: if there is no such alternative.
        """
        told, loss = (self._gain(name, of) for of in (self.metric, "loss"))
        return Gain(self.alternatives[0].name, told, loss)

    @functools.cached_property
    def verdict(self) -> Verdict:
        """What the numbers say, in sentences: which alternatives help, and by how much; printing it gives them."""
        first, intervals = self.alternatives[0].name, intervals_text(CONFIDENCE, len(self.alternatives) - 1)
        lost = {
            alternative.name: alternative.outcome for alternative in self.alternatives if alternative.status != "ok"
        }
        return comparison_verdict(self._gains(), lost, first, intervals)

    def table(self) -> pd.DataFrame:
        """Return one row per alternative: held-out loss and metric with standard errors, differences with intervals."""
        return pd.DataFrame([self._row(alternative) for alternative in self.alternatives])

    def report(self, path: Path | str, *, format: Format = "html", command: str = "") -> Path:
        """Write one HTML file that opens offline: the verdict, gains over the first, curves, table, recipes.

        Args:
            path: of the file.
            format: ``"html"``, or ``"md"``: Markdown without the charts.
            command: the command line that made the comparison, to be shown; empty shows a call in Python.
        """
        return comparison_report(
            self.alternatives,
            [self._row(alternative) for alternative in self.alternatives],
            self._gains(),
            self.verdict,
            path,
            metric=self.metric,
            summary=self.summary,
            origin=self.origin,
            command=command,
            format=format,
        )

    @property
    def summary(self) -> str:
        """What the numbers are, in one line."""
        num_folds, first = len(self.alternatives[0].losses), self.alternatives[0].name
        text = f"{num_folds} folds, {self.num_seeds} seed{'s' * (self.num_seeds > 1)}; ± one standard error, "
        text += "corrected for the rows that folds share; "
        together = f" that hold for all {num} together (Bonferroni)" if (num := len(self.alternatives) - 1) > 1 else ""
        return text + f"differences from {first!r} are paired, with 95 % intervals{together}"

    def _gains(self) -> dict[str, Gain]:
        """Return the gains of those that can be compared with the first."""
        names = [alternative.name for alternative in self.alternatives[1:]]
        found = {name: self.gain(name) for name in names}
        return {name: gain for name, gain in found.items() if math.isfinite(gain.loss.estimate + gain.told.estimate)}

    def _gain(self, name: str, of: str) -> Score:
        found, sign = self.difference(name, of), 1 if of in HIGHER_IS_BETTER else -1
        low, high = sorted((sign * found.low, sign * found.high))
        return Score(sign * found.mean, low, high, CONFIDENCE, sign * found.mean, of)

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


def _number_text(mean: float, error: float | None = None) -> str:
    if not math.isfinite(mean):
        return "-"
    return f"{mean:.4g}" if error is None else f"{mean:.4g} ± {error:.2g}"


def _difference_text(found: FoldMean) -> str:
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]" if math.isfinite(found.mean) else "-"
