"""What each strength is worth, and how much of the rows it leaves to be known by heart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meden._checks import InputError
from meden._shown import Pair, Shown, ShownFields
from meden.diagnosis.memory.memorisation import membership_aucs
from meden.diagnosis.memory.separation import Auc
from meden.language import Own
from meden.report import Column, Format, Report, ReportTable, Section, TableRow, write
from meden.report.exposure import Traded, series_keys, traded_chart
from meden.report.numbers import number
from meden.study.page_text import params_text, unit_of
from meden.study.results import Results, Trial
from meden.study.row_losses import are_kept, check_told, kept_losses

MOST_ROWS = 20_000
"""Rows that a point goes by, at most: with more its interval is narrower than its mark, and a page takes minutes."""


@dataclass(frozen=True, repr=False)
class TradeoffPoint(ShownFields):
    """A configuration: what it is worth on rows it has not seen, and how surely its loss tells those that it has."""

    params: Mapping[str, Any]
    loss: float
    loss_error: float
    """Standard error over the folds."""
    auc: Auc
    """Of membership, by the loss alone."""
    lira: Auc | None
    """By likelihood ratios; None for too few fits."""


@dataclass(frozen=True, repr=False)
class Tradeoff(Shown):
    """Held-out loss against what is known by heart, one curve a regulariser; printing it gives a table."""

    curves: Mapping[str, Sequence[TradeoffPoint]]
    """By name, each in the order of its strengths."""
    unit: str
    """Of the losses."""
    connected: bool = True
    """Whether neighbours differ in one thing alone."""

    @classmethod
    def together(cls, each: Mapping[str, Tradeoff]) -> Tradeoff:
        """Return several, whose curves are told apart by new names, such as ``{"L2": ..., "dropout": ...}``."""
        if not each:
            raise InputError("each must name at least one trade-off, got none")
        curves = {
            name if len(one.curves) == 1 else f"{name}: {inner}": points
            for name, one in each.items()
            for inner, points in one.curves.items()
        }
        first = next(iter(each.values()))
        return cls(curves, first.unit, all(one.connected for one in each.values()))

    @property
    def uses_ratios(self) -> bool:
        """Whether all points have likelihood ratios, by which they are then drawn."""
        return all(point.lira is not None for points in self.curves.values() for point in points)

    def auc_of(self, point: TradeoffPoint) -> Auc:
        """Return the AUC that a point is drawn by."""
        return point.lira if self.uses_ratios and point.lira is not None else point.auc

    def section(self) -> Section:
        """Return the chart and the table of all points."""
        series = {name: [self._traded(point) for point in points] for name, points in self.curves.items()}
        by = "likelihood ratios against the other fits" if self.uses_ratios else "the loss alone"
        text = (
            "Each point is a configuration; points further left memorise less, points further down have a lower "
            f"loss. The AUC is by {by}, with 95 % intervals; losses have one standard error over the folds. A "
            "strength that moves a point left but not up improves privacy at no cost.",
        )
        columns = (
            *(Column(name, numeric=False) for name in ("curve", "configuration")),
            *(Column(name, measured=True) for name in ("held-out loss", "AUC by the loss", "AUC by likelihood ratios")),
        )
        rows = tuple(
            TableRow(
                (
                    *(name, params_text(point.params), point.loss, point.auc.value),
                    None if point.lira is None else point.lira.value,
                )
            )
            for name, points in self.curves.items()
            for point in points
        )
        made = traded_chart("Loss against memorisation", series, unit=self.unit, connected=self.connected)
        table = ReportTable(columns, rows)
        title = "What each strength does for privacy"
        return Section(title=title, text=text, keys=series_keys(list(map(Own, series))), charts=(made,), table=table)

    def report(self, path: Path | str, *, format: Format = "html") -> Path:
        """Write one HTML file that opens offline.

        Args:
            path: of the file.
            format: ``"html"``, or ``"md"``: Markdown without the chart.
        """
        points = [point for curve in self.curves.values() for point in curve]
        most, least = (choose(points, key=lambda p: self.auc_of(p).value) for choose in (max, min))
        lead = (
            f"The membership AUC goes from {self.auc_of(least).value:.3f} ({params_text(least.params)}) to "
            f"{self.auc_of(most).value:.3f} ({params_text(most.params)}), where 0.5 means that nothing is memorised."
        )
        title = "What regularisation does for privacy"
        return write(Report(title=title, lead=lead, sections=(self.section(),)), path, format)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {name: [asdict(point) for point in points] for name, points in self.curves.items()}

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {params_text(p.params)}: loss {number(p.loss)} ± {number(p.loss_error)}, AUC {self.auc_of(p)}"
            for name, points in self.curves.items()
            for p in points
        )

    def _pairs(self) -> Iterable[Pair]:
        for name, points in self.curves.items():
            yield name, [f"loss {number(p.loss)} at AUC {self.auc_of(p).value:.3f}" for p in points]

    def _traded(self, point: TradeoffPoint) -> Traded:
        found = self.auc_of(point)
        told = params_text(point.params)
        return Traded(told, point.loss, point.loss_error, found.value, found.low, found.high)


def tradeoff_of(results: Results) -> Tradeoff:
    """Return what is known by heart in each configuration of a study, by 20,000 of its rows, against what it is worth.

    Raises:
        InputError: if losses of fitting rows were kept of no configuration, or folds are ordered in time.
    """
    trials = [trial for trial in results.trials if are_kept(results, trial)]
    if not trials:
        check_told(results)
        raise InputError(
            "losses of fitting rows must have been kept for at least one configuration: search with "
            "keep_losses=True (meden tune --keep-losses)"
        )
    space = results.space
    ordered = sorted(trials, key=lambda t: (t.simplicity, [space[name].position(t.params[name]) for name in space]))
    points = [_point(results, trial) for trial in ordered]
    return Tradeoff({" and ".join(space): points}, unit_of(results), connected=len(space) == 1)


def _point(results: Results, trial: Trial) -> TradeoffPoint:
    by_loss, by_ratio = membership_aucs(kept_losses(results, trial).thinned(MOST_ROWS))
    assert by_loss is not None  # some fold scores two rows
    return TradeoffPoint(dict(trial.params), trial.loss, trial.loss_error, by_loss, by_ratio)
