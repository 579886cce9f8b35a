"""Which columns of a table survive, how sure that is, and what they are worth.

Legend: ``P`` columns, ``F`` folds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meden._shown import Pair, Shown, ShownFields
from meden.report.numbers import percent, plural
from meden.search import FoldMean, Path
from meden.search.alternative import CONFIDENCE, mean_over_folds
from meden.study.metrics import HIGHER_IS_BETTER, RANGES, MetricName, spoken
from meden.study.selection import Score
from meden.study.stability import Frequency, fewest_told
from meden.study.verdict import gain_text, value_text

Array = NDArray[np.float64]
With = Literal["all", "kept", "none"]
NAMED = 12
"""Columns that a sentence names."""
ASSUMED = (
    "This share holds if columns depend on each other as in a Gaussian copula, which is not so if some are "
    "squares, ratios or bins of others."
)


@dataclass(frozen=True, repr=False)
class SelectedColumn(ShownFields):
    """One column of the table and how it fared in the selection."""

    name: str
    kept: bool
    """Whether it is kept at the one-SE strength."""
    frequency: Frequency
    """How often it is kept, over all folds and seeds."""
    norm: float
    """Norm of its weights at that strength, averaged over folds and seeds."""
    false_discovery_rate: float | None
    """Estimated share of false discoveries among the columns that stand out from noise at least as clearly; 1 if it
    does not stand out; None if there was no comparison with noise."""


@dataclass(frozen=True, eq=False, repr=False)
class InputSelection(Shown):
    """The result of :func:`meden.tabular.select.select_inputs`; printing it gives sentences."""

    columns: tuple[SelectedColumn, ...]
    """The columns, the most frequently kept first."""
    names: tuple[str, ...]
    """Names of all columns, (P,), in the order of the table."""
    metric: MetricName
    results: Mapping[With, Mapping[MetricName, Array]]
    """Held-out results of each fold, (F,): with all columns, with the columns kept in that fold, and with none."""
    overlap: float
    """Scored rows per fitting row, averaged over the folds."""
    rate: float
    """Allowed share of false discoveries among the columns that stand out from noise."""
    copies: int
    """Noise columns per column; 0 if there was no comparison with noise."""
    path: Path

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns that are kept at the one-SE strength, in the order of the table."""
        chosen = {column.name for column in self.columns if column.kept}
        return tuple(name for name in self.names if name in chosen)

    @property
    def told_from_noise(self) -> tuple[str, ...]:
        """Columns that stand out from the noise columns at the allowed rate, in the order of the table.

        On average, no more than that share of them are false discoveries if columns depend on each other as in a
        Gaussian copula, which is not so if some are squares, ratios or bins of others.
        """
        rates = {column.name: column.false_discovery_rate for column in self.columns}
        return tuple(name for name in self.names if (rate := rates[name]) is not None and rate <= self.rate)

    @property
    def fewest_told(self) -> int | None:
        """Columns that must stand out from noise before any is reported at the allowed rate; None without noise."""
        return fewest_told(self.copies, self.rate) if self.copies else None

    def score(
        self, with_columns: With = "kept", metric: MetricName | None = None, confidence: float = CONFIDENCE
    ) -> Score:
        """Return the held-out result, with its interval, using all columns, the kept ones or none."""
        name = metric or self.metric
        found = mean_over_folds(self.results[with_columns][name], self.overlap, confidence)
        return _as_score(found, name, confidence).within(*RANGES[name])

    def gain(self, over: With = "all", metric: MetricName | None = None) -> Score:
        """Return the paired gain of the kept columns over all or none; above 0 is better, in any metric."""
        name = metric or self.metric
        sign = 1 if name in HIGHER_IS_BETTER else -1
        differences = sign * (self.results["kept"][name] - self.results[over][name])
        return _as_score(mean_over_folds(differences, self.overlap, CONFIDENCE), name, CONFIDENCE)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The results in sentences, the answer first."""
        notes = (f"Note on the path: {note}." for note in self.path.notes)
        return (*self._warning(), self._survivors(), self._worth(), *self._noise(), *notes)

    def _warning(self) -> Iterable[str]:
        if self.kept and (gain := self.gain("none")).low <= 0:
            are = "are no better than none" if gain.estimate <= 0 else "are not shown to be better than none"
            yield f"The columns that survive {are} on held-out rows: {gain_text(gain)}."

    def _survivors(self) -> str:
        num = plural(len(self.names), "column")
        if not self.kept:
            return (
                f"None of {num} survives at the one-SE strength: no model with inputs is better than a constant model."
            )
        return f"{len(self.kept)} of {num} survive at the one-SE strength: {named(self.kept)}."

    def _worth(self) -> str:
        each = {name: self.score(name) for name in self.results}
        shown = {name: value_text(score.metric, score.estimate) for name, score in each.items()}
        kept = each["kept"]
        ends = f"{value_text(kept.metric, kept.low)} to {value_text(kept.metric, kept.high)}"
        return (
            f"Held-out {spoken(self.metric)}: {shown['kept']} with the kept columns ({ends}), {shown['all']} with "
            f"all, {shown['none']} with none; kept against all: {gain_text(self.gain(), named=False)}."
        )

    def _noise(self) -> Iterable[str]:
        if not self.copies:
            return
        beside, found = plural(self.copies * len(self.names), "noise column"), self.told_from_noise
        if not found:
            yield f"No column stands out from {beside}: none is shown to be better than noise columns."
            yield from self._fewest()
            return
        stand = f"{plural(len(found), 'column')} stand{'s' * (len(found) == 1)} out from {beside}"
        luck = f"on average at most {percent(self.rate)} of them are false discoveries"
        yield f"{stand} ({luck}): {named(found)}."
        yield ASSUMED
        yield from self._fewest()
        if others := [name for name in self.kept if name not in found]:
            yield f"Kept, but not shown to be better than noise columns: {named(others)}."

    def _fewest(self) -> Iterable[str]:
        if self.fewest_told is not None and self.fewest_told > 1:
            noise = plural(self.copies, "noise column")
            yield f"At this rate, fewer than {self.fewest_told} columns can never stand out, with {noise} for each."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "kept": list(self.kept),
            "told_from_noise": list(self.told_from_noise),
            "allowed_rate": self.rate,
            "noise_columns": self.copies * len(self.names),
            "fewest_told": self.fewest_told,
            "metric": self.metric,
            "scores": {name: dataclasses.asdict(self.score(name)) for name in self.results},
            "gain_over_all": dataclasses.asdict(self.gain()),
            "strength": self.path.one_se.strength,
            "columns": [_flat(column) for column in self.columns],
            "notes": list(self.path.notes),
            "verdict": list(self.sentences),
        }

    def _pairs(self) -> Iterable[Pair]:
        yield "kept", self.kept
        yield "of", len(self.names)
        yield "stands out from noise", self.told_from_noise

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def named(names: Iterable[str]) -> str:
    """Return names as a sentence lists them."""
    every = list(names)
    return ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED} more" if len(every) > NAMED else "")


def _flat(column: SelectedColumn) -> dict[str, Any]:
    frequency = {"frequency": column.frequency.share, "low": column.frequency.low, "high": column.frequency.high}
    fields = dataclasses.asdict(column)
    return (
        {name: fields[name] for name in ("name", "kept")}
        | frequency
        | {name: fields[name] for name in ("norm", "false_discovery_rate")}
    )


def _as_score(found: FoldMean, metric: str, confidence: float) -> Score:
    return Score(found.mean, found.low, found.high, confidence, found.mean, metric)
