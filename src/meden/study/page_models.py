"""The models of a study side by side: what the choice is worth beside the baselines, and everything that was tried."""

from __future__ import annotations

import math

from meden.language import Own
from meden.report import Chart, Column, ReportTable, Section, TableRow
from meden.report.gains import Gain as Bar
from meden.report.gains import gains_chart, gains_keys
from meden.space.dimensions import Choice
from meden.study.metrics import HIGHER_IS_BETTER, SHARES, MetricName, spoken
from meden.study.page_text import mark_of, unit_of
from meden.study.results import BASELINES, Results, Trial
from meden.study.verdict import gain_text

MARKED = {"both": "chosen, best", "one_se": "chosen", "best": "best"}
PLAIN = "plain"


def gains_section(results: Results) -> Section | None:
    """Return what the choice is worth beside each baseline, in what people read and in loss; None without baselines."""
    if not results.baselines:
        return None
    metrics = tuple(dict.fromkeys((results.told, "loss")))
    bars = {metric: _bars(results, metric) for metric in metrics}
    text = (
        "Higher is better for accuracy, R2 and similar metrics, lower for losses and errors. The lines are 90 % "
        "bootstrap intervals over the held-out rows. The number of the choice is corrected for the selection among "
        "many configurations; the others are means over the folds. The last columns of the table compare the "
        "choice with each model row by row, and show whether they differ.",
    )
    return Section(
        title="Against simpler models",
        text=text,
        keys=gains_keys(bars[metrics[0]], "90 % interval"),
        charts=tuple(_chart(results, metric, own) for metric, own in bars.items()),
        table=_gains_table(results, metrics),
    )


def table_section(results: Results) -> Section:
    """Return all configurations and baselines in one table, the best first."""
    names, told = list(results.space), results.told
    columns = (
        Column("no."),
        Column("which", numeric=False, worded=True),
        Column("held-out loss", measured=True),
        Column("± SE", measured=True),
        Column(f"{spoken(told)}{' %' * (told in SHARES)}", measured=True),
        Column("training loss", measured=True),
        *(Column(Own(name), numeric=not isinstance(results.space[name], Choice)) for name in names),
        Column("epochs kept"),
        Column("status", numeric=False, worded=True),
    )
    sign = -1 if results.chosen_by in HIGHER_IS_BETTER else 1
    decided = {id(trial): sign * results.decided_by(trial) for trial in (*results.ranked, *results.baselines)}
    ranked = sorted((*results.ranked, *results.baselines), key=lambda trial: _last(decided[id(trial)]))
    text = "Best first; click a header to sort by it. Epochs kept are medians over the folds."
    text += " Baselines have no number and are never chosen." * bool(results.baselines)
    table = ReportTable(columns, tuple(_table_row(results, trial) for trial in ranked))
    return Section(title="All configurations", text=(text,), table=table)


def _bars(results: Results, metric: MetricName) -> list[Bar]:
    scale = 100.0 if metric in SHARES else 1.0
    bars = []
    for trial in sorted(results.baselines, key=lambda trial: trial.number):
        name, role = BASELINES[trial.baseline], "reference" if trial.baseline == PLAIN else "other"
        if trial.status != "ok":
            bars.append(Bar(name, math.nan))
            continue
        score = results.baseline_score(trial.baseline, metric)
        bars.append(Bar(name, scale * score.estimate, scale * score.low, scale * score.high, role))  # type: ignore[arg-type]
    score = results.score_of(metric)
    return [*bars, Bar("chosen", scale * score.estimate, scale * score.low, scale * score.high, "chosen")]


def _chart(results: Results, metric: MetricName, bars: list[Bar]) -> Chart:
    name = spoken(metric)
    unit = ", %" if metric in SHARES else f" ({unit_of(results)})" if metric == "loss" else ""
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    return gains_chart(f"Held-out {name}: {better} is better", bars, x_title=f"{name}{unit}")


def _gains_table(results: Results, metrics: tuple[MetricName, ...]) -> ReportTable:
    names = [spoken(metric) for metric in metrics]
    scales = [100 if metric in SHARES else 1 for metric in metrics]
    units = [" %" * (metric in SHARES) for metric in metrics]
    columns = (
        Column("model", numeric=False, worded=True),
        *(Column(f"{name}{unit}", measured=True) for name, unit in zip(names, units, strict=True)),
        *(Column(f"chosen minus this, {name} (90 % interval)", numeric=False, worded=True) for name in names),
    )
    rows = []
    for trial in sorted(results.baselines, key=lambda trial: trial.number):
        means = [scale * results.mean_of(metric, trial) for metric, scale in zip(metrics, scales, strict=True)]
        has = [
            gain_text(results.gain_over(trial.baseline, metric), named=False) if trial.status == "ok" else trial.outcome
            for metric in metrics
        ]
        rows.append(TableRow((BASELINES[trial.baseline], *means, *has)))
    scores = [scale * results.score_of(metric).estimate for metric, scale in zip(metrics, scales, strict=True)]
    return ReportTable(columns, (*rows, TableRow(("chosen, corrected", *scores, *("" for _ in metrics)), "one_se")))


def _table_row(results: Results, trial: Trial) -> TableRow:
    mark, is_baseline = mark_of(results, trial), bool(trial.baseline)
    scale = 100 if results.told in SHARES else 1
    measured = (trial.loss, trial.loss_error, scale * results.mean_of(results.told, trial), trial.train_loss)
    which = BASELINES[trial.baseline] if is_baseline else MARKED.get(mark, "")
    params = [trial.params.get(name) for name in results.space]
    number, epoch = None if is_baseline else trial.number, trial.median_epoch
    return TableRow((number, which, *measured, *params, epoch or None, trial.outcome), mark)


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
