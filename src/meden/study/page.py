"""A study as a report: what was chosen, what it is worth, and the evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meden.diagnosis import Diagnosis, diagnose
from meden.report import (
    Code,
    Column,
    Format,
    Mark,
    Report,
    ReportTable,
    Section,
    TableRow,
    Tile,
    findings_section,
    run_folder,
    write,
)
from meden.report import curves as learning
from meden.report import scores as panels
from meden.report.numbers import number, plural
from meden.report.recipes import recipe_text, versions
from meden.space.dimensions import Choice, Dimension, LogUniform, Maybe
from meden.study.data_summary import SHOWN
from meden.study.evidence import evidence_of
from meden.study.metrics import UNITS, spoken
from meden.study.results import Results, Trial
from meden.study.selection import Score
from meden.study.verdict import expectation, value_text

MARKED: dict[Mark, str] = {"both": "chosen, best", "one_se": "chosen", "best": "best"}


def study_report(
    results: Results,
    path: Path | str,
    *,
    found: Diagnosis | None = None,
    title: str | None = None,
    extra: Sequence[Section] = (),
    format: Format = "html",
) -> Path:
    """Write the report of a study and return where it is.

    Args:
        results: of a search that is finished or not.
        path: of the file.
        found: what stands out; None judges the curves of the choice.
        title: above the report; None names the target.
        extra: more sections, shown after the headline.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    title = title or f"How much to regularise: {results.data.target}"
    last = (_table(results), _data(results))
    if not results.usable:
        lead = f"There is nothing to choose: {results.reason}."
        report = Report(title=title, lead=lead, text=(*_mixed(results), _counts(results)), sections=(*extra, *last))
        return write(report, path, format)
    findings = findings_section(found or diagnose(evidence_of(results)))
    shown = (_scores(results), _curves(results), findings, last[0], _recipe(results, run_folder(path)), last[1])
    sections = (*extra, *shown)
    report = Report(
        title=title, lead=_lead(results), tiles=_tiles(results), text=_paragraphs(results), sections=sections
    )
    return write(report, path, format)


def _usable(results: Results) -> list[Trial]:
    return [trial for trial in results.trials if math.isfinite(trial.loss)]


def _finished(results: Results) -> list[Trial]:
    """Return all that were not given up in a race."""
    return [trial for trial in results.trials if trial.status != "dropped"]


def _params_text(params: Mapping[str, Any]) -> str:
    """Return ``l2 = 0.01, dropout = 0.3``."""
    return ", ".join(f"{name} = {_value(value)}" for name, value in params.items())


def _value(value: Any) -> str:
    if value is None:
        return "off"
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _lead(results: Results) -> str:
    return f"{_choice(results)} {expectation(results).text}"


def _choice(results: Results) -> str:
    chosen, best = results.choice, results.best
    tried = plural(len(results.trials), "configuration")
    if len(results.trials) == 1:
        return f"Only one configuration was tried: {_params_text(chosen.params)}."
    if chosen is best:
        simpler = ", and none simpler does as well" * (results.one_se is best)
        return f"Use {_params_text(chosen.params)}: the best of {tried}{simpler}."
    simplest = f"Use {_params_text(chosen.params)}: the simplest of {tried} that does as well as the best"
    return f"{simplest}, within one standard error."


def _tiles(results: Results) -> tuple[Tile, ...]:
    chosen, unit = results.choice, UNITS[results.data.task]
    gap = chosen.loss - chosen.train_loss
    worth = {score.metric: score for score in (results.score_of(), results.score)}
    return (
        *(_score_tile(results, score) for score in worth.values()),
        Tile("Gap to its training loss", number(gap), f"training loss {number(chosen.train_loss)} {unit}"),
    )


def _score_tile(results: Results, score: Score) -> Tile:
    """Return what the choice is worth on new rows, and its mean over the folds beside it."""
    low, high, naive = (value_text(score.metric, value) for value in (score.low, score.high, score.naive))
    notes = [f"{score.confidence:.0%} interval {low} to {high}", f"mean over {_folds(results)} {naive}, uncorrected"]
    if score.metric == "loss":
        notes.append(UNITS[results.data.task])
    if score.metric == "mse":
        notes.append(f"root {number(math.sqrt(score.estimate))} in units of the target")
    name = score.metric.replace("_", " ")
    return Tile(f"Expected {name} of the choice", value_text(score.metric, score.estimate), "; ".join(notes))


def _paragraphs(results: Results) -> tuple[str, ...]:
    chosen, best = results.choice, results.best
    choice = f"The choice is configuration {chosen.number}"
    if chosen is not best:
        decided_by = spoken(results.chosen_by)
        choice += (
            f"; the best mean held-out {decided_by} has configuration {best.number} ({_params_text(best.params)}). "
            f"Compared fold by fold, the difference between the two is within one standard error, and the choice is "
            f"simpler"
        )
    compared = (f"{choice}.",) if len(results.trials) > 1 else ()
    unfinished = (f"The search is unfinished: {results.reason}.",) if results.num_missing else ()
    return (*unfinished, *_mixed(results), *compared, _counts(results))


def _mixed(results: Results) -> tuple[str, ...]:
    return (f"Versions are mixed: {results.mixed}.",) if results.mixed else ()


def _counts(results: Results) -> str:
    num_seeds = len({row.seed for trial in results.trials for row in trial.rows})
    num_rows = sum(row.num_epochs > 0 for trial in results.trials for row in trial.rows)
    standardised = "s of the standardised target" if results.data.standardised else ""
    tried, dropped = len(results.trials), len(results.trials) - len(_finished(results))
    diverged = tried - dropped - len(_usable(results))
    lost = f", {dropped} lost a race and {'was' if dropped == 1 else 'were'} given up early" if dropped else ""
    return (
        f"{plural(tried, 'configuration')}, {_folds(results)}, {plural(num_seeds, 'seed')}: "
        f"{plural(num_rows, 'fit')}; {plural(diverged, 'configuration') if diverged else 'none'} diverged{lost}. "
        f"In the table, SE is one standard error over the folds. "
        f"Losses are without penalties, in {UNITS[results.data.task]}{standardised}."
    )


def _folds(results: Results) -> str:
    return plural(len(results.folds), "fold")


def _mark(results: Results, trial: Trial) -> Mark:
    if not math.isfinite(trial.loss):
        return "diverged"
    marks: dict[tuple[bool, bool], Mark] = {(True, True): "both", (True, False): "one_se", (False, True): "best"}
    return marks.get((trial is results.choice, trial is results.best), "")


def _scores(results: Results) -> Section:
    unit = UNITS[results.data.task]
    points = [_point(results, trial) for trial in _finished(results)]
    alone = len(results.space) == 1
    charts = [panels.score_chart(d, points, unit=unit, connected=alone) for d in _dimensions(results)]
    text = (
        "A held-out loss far above the training loss is overfitting: more regularisation may help. Both high is "
        "underfitting: less may help. If the choice lies at the end of an axis, widen the range.",
    )
    return Section(title="Score against strength", text=text, keys=panels.score_keys(points), charts=tuple(charts))


def _point(results: Results, trial: Trial) -> panels.Point:
    name = f"configuration {trial.number}: {_params_text(trial.params)}"
    return panels.Point(name, trial.loss, trial.loss_error, trial.train_loss, _mark(results, trial))


def _dimensions(results: Results) -> list[panels.Axis]:
    return [
        panels.Axis(name, _scale(dimension), tuple(trial.params[name] for trial in _finished(results)))
        for name, dimension in results.space.items()
    ]


def _scale(dimension: Dimension) -> panels.Scale:
    if isinstance(dimension, Maybe):
        return _scale(dimension.inner)
    if isinstance(dimension, Choice):
        return "category"
    return "log" if isinstance(dimension, LogUniform) else "linear"


def _curves(results: Results) -> Section:
    loosest = min(_usable(results), key=lambda trial: trial.simplicity)
    shown: dict[int, tuple[str, Trial]] = {}
    for role, trial in (("Chosen", results.choice), ("Best", results.best), ("Least regularised", loosest)):
        earlier = f"{shown[trial.number][0]}, {role.lower()}" if trial.number in shown else role
        shown[trial.number] = (earlier, trial)
    curves = {role: _fold_curves(trial) for role, trial in shown.values()}
    top = learning.highest([curve for several in curves.values() for curve in several])
    titles = {role: f"{role}: {_params_text(trial.params)}" for role, trial in shown.values()}
    y_title = f"loss ({UNITS[results.data.task]})"
    charts = [
        learning.curves_chart(titles[role], several, y_title=y_title, top=top) for role, several in curves.items()
    ]
    stopped = any(curve.held_out for several in curves.values() for curve in several)
    text = (
        "One thin line for each fold, their mean in bold for as long as at least half of the folds go on. The axes are "
        "the same, so that the charts can be compared.",
    )
    keys = learning.KEYS if stopped else learning.KEYS[::2]
    return Section(title="Learning curves", text=text, keys=keys, charts=tuple(charts))


def _fold_curves(trial: Trial) -> list[learning.LearningCurve]:
    return [
        learning.LearningCurve(f"fold {row.fold}, seed {row.seed}", row.train_loss, row.stop_loss, row.best_epoch)
        for row in trial.rows
    ]


def _table(results: Results) -> Section:
    names = list(results.space)
    columns = (
        Column("no."),
        Column("marked", numeric=False),
        Column("held-out loss", measured=True),
        Column("± SE", measured=True),
        Column("accuracy %" if results.metric == "accuracy" else "mse", measured=True),
        Column("training loss", measured=True),
        *(Column(name, numeric=not isinstance(results.space[name], Choice)) for name in names),
        Column("epochs kept"),
        Column("status", numeric=False),
    )
    rows = tuple(_table_row(results, trial, names) for trial in results.ranked)
    text = ("Best first; click on a header to sort by it. Epochs kept is the median over the folds.",)
    return Section(title="All configurations", text=text, table=ReportTable(columns, rows))


def _table_row(results: Results, trial: Trial, names: Sequence[str]) -> TableRow:
    mark = _mark(results, trial)
    scale = 100 if results.metric == "accuracy" else 1
    measured = (trial.loss, trial.loss_error, scale * trial.score, trial.train_loss)
    params = [trial.params[name] for name in names]
    values = (trial.number, MARKED.get(mark, ""), *measured, *params, trial.median_epoch, trial.outcome)
    return TableRow(values, mark)


def _recipe(results: Results, folder: str) -> Section:
    recipe, model_args = results.recipe_of(results.choice)
    fixed = {**results.model.arguments, **model_args}
    arguments = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
    epochs = plural(max(1, results.choice.median_epoch), "epoch")
    own = results.model.name is not None and not results.model.arguments
    maker = results.model.text if own else "make_model"
    made_with = ", ".join(["num_inputs", "num_outputs"] * own + [arguments] * bool(arguments))
    use = f"""import meden

run = study.refit()                                # trains it on all rows, for {epochs}
run.predict(rows)

run = meden.load_run({folder!r}, {maker})  # or: the model that was refitted and saved
recipe = meden.Recipe.load("recipe.yaml")          # or: the text above, for a loop of your own
run = meden.fit({maker}({made_with}), train=(X, y), valid=(Xv, yv), recipe=recipe)"""
    text = ("Everything that decides how the choice is trained, apart from model and data.",)
    codes = (Code("recipe.yaml", recipe_text(recipe)), Code("In Python", use))
    facts = {"Arguments of the model": arguments} if fixed else {}
    return Section(title="The recipe of the choice", text=text, codes=codes, facts=facts)


def _data(results: Results) -> Section:
    data, first = results.data, results.folds[0]
    labels = ", ".join(map(str, data.classes[:12])) + (", …" if len(data.classes) > 12 else "")
    features = plural(data.num_features, "feature")
    parts = f"{len(first.fit):,} rows fit, {len(first.stop):,} stop, {len(first.score):,} score"
    facts = {
        "Target": f"{data.target} ({data.task})",
        "Rows and features": f"{data.num_rows:,} rows, {features}",
        **({"Classes": f"{len(data.classes)}: {labels}"} if data.classes else {}),
        "Folds": f"{_folds(results)}; in the first {parts}",
        "Hash of the data": data.hash[:SHOWN],
        "Searched": "; ".join(f"{name}: {dimension!r}" for name, dimension in results.space.items()),
        "Study seed": str(results.seed),
        "Time of the search": f"{number(results.seconds)} s",
    }
    return Section(title="Data and software", facts=facts | versions())
