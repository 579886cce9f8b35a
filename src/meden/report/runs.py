"""The report of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from meden.diagnosis import diagnose
from meden.history import History, Record
from meden.report.charts import BEST, CHOSEN, HELD_OUT, OTHER, TRAIN
from meden.report.curves import EpochCurve, curves_chart, highest, line_chart
from meden.report.document import Chart, Code, Key, Report, Section, Tile
from meden.report.files import Format, write
from meden.report.findings import findings_section
from meden.report.numbers import number, percent, plural
from meden.report.recipes import recipe_text, versions
from meden.run import Run

KEYS = (
    Key("training rows", "▬", TRAIN),
    Key("held-out rows", "▬", HELD_OUT),
    Key("state kept", "●", HELD_OUT),
)
SCORES = {"accuracy": "accuracy", "mse": "mean squared error, squared target units"}
USE = """import meden

recipe = meden.Recipe.load("recipe.yaml")  # the text above, or the file in the run's folder
run = meden.load_run(FOLDER)  # the trained model: run.model, run.predict(rows)"""


def run_report(
    run: Run, path: Path | str, *, title: str = "One run", extra: Sequence[Section] = (), format: Format = "html"
) -> Path:
    """Write the report of one run and return where it is.

    Args:
        run: from :func:`meden.fit`, :func:`meden.load_run` or ``study.refit()``.
        path: of the file.
        title: above the report.
        extra: more sections, shown before the recipe.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    kept = _kept(run)
    report = Report(
        title=title,
        lead=_lead(run, kept),
        tiles=() if kept is None else _tiles(kept),
        text=(f"How it ended: {run.reason}.",),
        sections=(_curves(run), findings_section(diagnose(run)), *extra, _recipe(run, run_folder(path))),
    )
    return write(report, path, format)


def run_folder(path: Path | str) -> str:
    """Return the folder of the run that a report lies beside, or a word to put it in."""
    folder = Path(path).parent
    return str(folder) if (folder / "run.json").exists() else "THE_RUN_FOLDER"


def _kept(run: Run) -> Record | None:
    return next((record for record in run.history if record.epoch == run.best_epoch), None)


def _lead(run: Run, kept: Record | None) -> str:
    if run.status == "diverged":
        return f"The run diverged: {run.reason}."
    epochs = f"Trained for {plural(len(run.history), 'epoch')}; the state after epoch {run.best_epoch} was kept"
    if kept is None or kept.valid is None:
        return f"{epochs}. No rows were held out, so the performance on new rows is unknown."
    gap = kept.valid["loss"] - kept.train["loss"]
    before = "" if run.temperature == 1 else " (these losses are from before the logits were divided by a temperature)"
    return f"{epochs}: held-out loss {number(kept.valid['loss'])}, {number(gap)} above the training loss{before}."


def _tiles(kept: Record) -> tuple[Tile, ...]:
    """Return each score on held-out rows with that on training rows, then what the weights are like."""
    where = "held-out" if kept.valid else "training"
    scores = kept.valid or kept.train
    tiles = [
        Tile(f"{where} {name}", _score(name, value), f"training {_score(name, kept.train[name])}" if kept.valid else "")
        for name, value in scores.items()
    ]
    if kept.num_zeros is None or kept.weight_norm is None:
        return tuple(tiles)
    groups = [Tile(f"groups of {label}", f"{num:,} zero") for label, num in kept.num_zero_groups.items()]
    return (*tiles, Tile("weights", f"{kept.num_zeros:,} zeros", f"Euclidean norm {number(kept.weight_norm)}"), *groups)


def _score(name: str, value: float) -> str:
    return percent(value) if name == "accuracy" else number(value)


def _curves(run: Run) -> Section:
    history = run.history
    held_out = history.column("valid.loss") if _has_valid(history) else []
    curve = EpochCurve("loss", history.column("train.loss"), held_out, run.best_epoch)
    charts = [curves_chart("Data loss, without penalties", [curve], y_title="loss", top=highest([curve]))]
    return Section(
        title="Over the epochs",
        text=("Losses and scores are measured in evaluation mode, in the same way for both sets of rows.",),
        keys=KEYS if held_out else KEYS[::2],
        charts=tuple(charts + _score_charts(history) + _other_charts(history)),
    )


def _score_charts(history: History) -> list[Chart]:
    names = [name for name in (history[0].train if len(history) else ()) if name != "loss"]
    columns = {name: {"training": history.column(f"train.{name}")} for name in names}
    if _has_valid(history):
        columns = {name: lines | {"held out": history.column(f"valid.{name}")} for name, lines in columns.items()}
    return [
        line_chart(name, lines, (TRAIN, HELD_OUT), y_title=SCORES.get(name, name), from_zero=False)
        for name, lines in columns.items()
    ]


def _other_charts(history: History) -> list[Chart]:
    labels = list(history[0].penalties) if len(history) else []
    penalties = {name: [record.penalties.get(name, math.nan) for record in history] for name in labels}
    palette = (CHOSEN, BEST, TRAIN, HELD_OUT, OTHER)
    charts = [line_chart("Learning rate", {"lr": history.column("lr")}, (OTHER,), y_title="learning rate")]
    charts.append(
        line_chart("Weight norm", {"norm": history.column("weight_norm")}, (OTHER,), y_title="Euclidean norm")
    )
    if any(history.column("num_zeros")):
        charts.append(line_chart("Exact zeros", {"zeros": history.column("num_zeros")}, (OTHER,), y_title="parameters"))
    if labels := list(history[-1].num_zero_groups) if len(history) else []:
        zeros = {label: [record.num_zero_groups.get(label, math.nan) for record in history] for label in labels}
        charts.append(line_chart("Groups that are zero", zeros, palette, y_title="groups"))
    if penalties:
        charts.append(line_chart("Penalties", penalties, palette, y_title="strength times value"))
    return charts


def _has_valid(history: History) -> bool:
    return any(record.valid for record in history)


def _recipe(run: Run, folder: str) -> Section:
    seconds = run.history[-1].seconds if len(run.history) else 0.0
    facts = {
        "Ended": run.reason,
        "State kept": f"epoch {run.best_epoch}, step {run.best_step:,}",
        "Seed": str(run.seed),
        "Seconds": number(seconds),
    }
    made_with = (
        {"Model made with": ", ".join(f"{k}={v!r}" for k, v in run.model_args.items())} if run.model_args else {}
    )
    load = repr(folder) if run.model_name else f"{folder!r}, make_model"
    codes = (Code("recipe.yaml", recipe_text(run.recipe)), Code("In Python", USE.replace("FOLDER", load)))
    return Section(title="The recipe", codes=codes, facts=facts | made_with | versions())
