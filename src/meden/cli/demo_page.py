"""What ``meden demo`` says of its evidence: a table, sentences that their intervals allow, sections of the report.

Legend: ``S`` splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats

from meden.report import Chart, Column, ReportTable, Section, TableRow
from meden.report.charts import CHOSEN as GREEN
from meden.report.charts import HELD_OUT, OTHER, TRAIN, axis_title, chart, label, scatter
from meden.report.curves import line_chart, mean_curve
from meden.report.numbers import number

PLAIN, ONE, CHOSEN = "plain network", "chosen by meden, one network", "chosen by meden, folds averaged"
COLOURS = {PLAIN: TRAIN, ONE: HELD_OUT, CHOSEN: GREEN}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What one split gave; accuracies are those of the held-out rows, in percent."""

    accuracy: Mapping[str, float]
    """By method."""
    without: Mapping[str, float]
    """One network with the chosen configuration, without one group of its settings."""
    curves: Mapping[str, Sequence[float]]
    """Accuracy on some of the held-out rows after each epoch, of the plain network and of the chosen one."""
    params: Mapping[str, Any]
    """The choice."""


@dataclass(frozen=True)
class Interval:
    """A mean over splits and the half width of Student's 95 % interval."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Array) -> Interval:
        """Return the interval of independent values (S,), two or more.

        Example:
            >>> Interval.of(np.array([1.0, 2.0, 3.0])).text()
            '2.0 ± 2.5'
        """
        half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
        return cls(float(values.mean()), float(half))

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return abs(self.mean) > self.half

    def text(self, sign: str = "") -> str:
        """Return ``mean ± half``."""
        return f"{self.mean:{sign}.1f} ± {self.half:.1f}"


@dataclass(frozen=True)
class Evidence:
    """What all splits gave."""

    accuracy: Mapping[str, Array]
    """Held-out accuracy in percent by method, (S,)."""
    without: Mapping[str, Array]
    """The same for one network with the chosen configuration, without one group of its settings."""
    curves: Mapping[str, list[float]]
    """Mean held-out accuracy in percent after each epoch."""
    params: Sequence[Mapping[str, Any]]
    """The choice of each split."""
    num_train: int
    num_held_out: int

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], num_train: int, num_held_out: int) -> Evidence:
        """Return the outcomes of the splits, method by method."""
        accuracy, without = (
            {name: np.array([part[name] for part in parts]) for name in parts[0]}
            for parts in ([o.accuracy for o in outcomes], [o.without for o in outcomes])
        )
        curves = {name: mean_curve([o.curves[name] for o in outcomes]) for name in outcomes[0].curves}
        return cls(accuracy, without, curves, [o.params for o in outcomes], num_train, num_held_out)

    def over(self, name: str) -> Interval:
        """Return by how many points the choice is better than a method, paired by split."""
        return Interval.of(self.accuracy[CHOSEN] - self.accuracy[name])

    @property
    def best_simple(self) -> str:
        """The simple model with the highest held-out accuracy: it is picked on rows that the choice never saw."""
        return max((name for name in self.accuracy if name not in COLOURS), key=lambda name: self.accuracy[name].mean())

    def losses(self) -> dict[str, Interval]:
        """Return how many points are lost without each part of the choice, paired by split."""
        one = self.accuracy[ONE]
        parts = {name: Interval.of(one - values) for name, values in self.without.items()}
        return parts | {"averaging the networks of the folds": self.over(ONE)}

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values."""
        methods = {
            name: _values(values) | {"less plain": _mean(Interval.of(values - self.accuracy[PLAIN]))}
            for name, values in self.accuracy.items()
        }
        return {
            "splits": len(self.params),
            "training rows": self.num_train,
            "held-out rows": self.num_held_out,
            "held-out accuracy, %": methods,
            "gain over plain": _mean(self.over(PLAIN)),
            "gain over the best simple model": {"name": self.best_simple} | _mean(self.over(self.best_simple)),
            "lost without": {name: _mean(interval) for name, interval in self.losses().items()},
            "without": {name: _values(values) for name, values in self.without.items()},
            "curves": self.curves,
            "chosen": [dict(params) for params in self.params],
        }


def intro(evidence: Evidence) -> str:
    """Say what was done."""
    return (
        f"{evidence.num_train} training images, {evidence.num_held_out:,} held out; means and 95 % intervals over "
        f"{len(evidence.params)} splits. The settings of every method were chosen by cross-validation on the "
        "training images:"
    )


def printed_table(evidence: Evidence) -> Table:
    """Return the printed table: a line per method, with the paired difference from the plain network."""
    table = Table("", "held-out accuracy, %", "over plain (paired)")
    for row in _rows(evidence):
        table.add_row(*row)
    return table


def verdict(evidence: Evidence) -> list[str]:
    """Say in words what the intervals allow to be said: the headline first."""
    accuracy, gain = (Interval.of(evidence.accuracy[CHOSEN]), evidence.over(PLAIN))
    simple, over = evidence.best_simple, evidence.over(evidence.best_simple)
    wrong = 1 - (100 - accuracy.mean) / max(100 - evidence.accuracy[PLAIN].mean(), 1e-9)
    headline = f"On the held-out images, what meden chose is {_compared(gain)} the same network unregularised"
    headline += f": {wrong:.0%} fewer mistakes." if gain.is_clear and gain.mean > 0 else "."
    return [
        headline,
        f"It is {_compared(over)} the best of the simple models ({simple}).",
        f"Chosen on the first split: {_params(evidence.params[0])}.",
        f"Points lost without one part: {_lost(evidence)}.",
    ]


def sections(evidence: Evidence) -> list[Section]:
    """Return the evidence for the report: the comparison, then every split."""
    headline, simple, _, lost = verdict(evidence)
    text = (
        f"{headline} {simple}",
        f"Each of {len(evidence.params)} splits trains on {evidence.num_train} images and is scored on the other "
        f"{evidence.num_held_out:,}. The plain network has the same initial weights, learning rate, batches and "
        "number of epochs, and no regularisation. All choices were made by cross-validation on the training "
        "images; the network, its learning rate and epochs, and the search ranges were fixed beforehand, on other "
        "splits of the same images. Intervals are 95 % Student's t intervals over the splits, whose training "
        "images hardly overlap.",
        (
            f"{lost} Each number is the mean loss of accuracy over the splits when one network is trained with the "
            "choice but without that part."
        ),
    )
    curves = line_chart(
        "Accuracy after each epoch on a part of the held-out images, mean over the splits",
        evidence.curves,
        [COLOURS[name] for name in evidence.curves],
        y_title="held-out accuracy, %",
        from_zero=False,
    )
    return [
        Section(title="Plain against chosen", text=text, charts=(_bars(evidence), curves), table=_means(evidence)),
        Section(title="Each split", text=("Held-out accuracy in percent.",), table=_each(evidence)),
    ]


def _rows(evidence: Evidence) -> list[tuple[str, str, str]]:
    plain = evidence.accuracy[PLAIN]
    return [
        (name, Interval.of(values).text(), "" if name == PLAIN else Interval.of(values - plain).text("+"))
        for name, values in evidence.accuracy.items()
    ]


def _compared(difference: Interval) -> str:
    """Say which is better, by how much, and whether that may be chance.

    Example:
        >>> _compared(Interval(4.2, 0.9)), _compared(Interval(0.4, 0.9))
        ('4.2 ± 0.9 points more accurate than', 'not clearly better or worse (+0.4 ± 0.9 points) than')
    """
    if not difference.is_clear:
        return f"not clearly better or worse ({difference.text('+')} points) than"
    size = Interval(abs(difference.mean), difference.half).text()
    return f"{size} points {'more' if difference.mean > 0 else 'less'} accurate than"


def _lost(evidence: Evidence) -> str:
    parts = sorted(evidence.losses().items(), key=lambda item: -item[1].mean)
    return "; ".join(f"{name} {lost.text()}" + ("" if lost.is_clear else " (could be chance)") for name, lost in parts)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {number(round(value, 6))}" for name, value in params.items())


def _bars(evidence: Evidence) -> Chart:
    """Return accuracies with their intervals, a line each."""
    names = list(evidence.accuracy)[::-1]
    intervals = [Interval.of(evidence.accuracy[name]) for name in names]
    colours = [COLOURS.get(name, OTHER) for name in names]
    trace = scatter(
        x=[interval.mean for interval in intervals],
        y=list(range(len(names))),
        mode="markers",
        marker={"size": 11, "color": colours},
        error_x={"type": "data", "array": [i.half for i in intervals], "thickness": 2, "color": OTHER},
        hovertext=[f"{label(name)}: {interval.text()}" for name, interval in zip(names, intervals, strict=True)],
        hoverinfo="text",
    )
    ticks = {"tickvals": list(range(len(names))), "ticktext": [label(name) for name in names]}
    title = "Held-out accuracy, mean and 95 % interval"
    return chart(title, [trace], x=axis_title("held-out accuracy, %"), y=ticks | {"range": [-0.5, len(names) - 0.5]})


def _means(evidence: Evidence) -> ReportTable:
    columns = (
        Column("method", numeric=False, worded=True),
        Column("held-out accuracy, %"),
        Column("over plain (paired)"),
    )
    rows = [TableRow(row, "both" if row[0] == CHOSEN else "") for row in _rows(evidence)]
    return ReportTable(columns, tuple(rows))


def _each(evidence: Evidence) -> ReportTable:
    columns = (Column("split"), *(Column(name, measured=True) for name in evidence.accuracy))
    splits = zip(*evidence.accuracy.values(), strict=True)
    rows = [TableRow((i, *(round(float(value), 2) for value in split))) for i, split in enumerate(splits, start=1)]
    return ReportTable(columns, tuple(rows))


def _mean(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "half width of the 95 % interval": interval.half}


def _values(values: Array) -> dict[str, Any]:
    return _mean(Interval.of(values)) | {"splits": values.tolist()}
