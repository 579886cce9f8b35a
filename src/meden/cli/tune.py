"""``meden tune`` and ``meden resume``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from meden import search
from meden._checks import InputError
from meden.cli.console import Drop, JsonFlag, Seed, Target, Task, check_new_folder, print_json, progress, stdout
from meden.data import as_dataset
from meden.models import MLP
from meden.recipe import Recipe
from meden.search import Choice, IntUniform, LogUniform, Study, Uniform
from meden.search.space import Dimension, Space
from meden.search.strategies import STRATEGIES
from meden.stopping import EarlyStopping

TABLE_SPACE: dict[str, Dimension] = {
    "l2": LogUniform(1e-5, 1.0),
    "l1": LogUniform(1e-6, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "lr": LogUniform(5e-4, 1e-2),
}
"""What is searched unless ``--search`` says otherwise."""
TABLE_RECIPE = Recipe(epochs=100, batch_size=64, early_stopping=EarlyStopping(patience=12))
"""What every configuration of a table starts from, unless ``--recipe`` says otherwise."""


def tune(
    data: Annotated[str, typer.Argument(help="CSV, TSV, Parquet or Feather file, or a bundled name such as `digits`.")],
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of the study.")] = Path("runs/study"),
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--search", "-s", help="What to search: `l2=1e-5:1:log`, `dropout=0:0.6`, `depth=1:4:int`, `width=64,128`."
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="YAML recipe that all configurations share.")] = None,
    folds: Annotated[int, typer.Option("--folds", help="Folds of the cross-validation.")] = 5,
    budget: Annotated[int, typer.Option("--budget", help="Configurations to try.")] = 24,
    strategy: Annotated[str, typer.Option("--strategy", help=f"One of {', '.join(STRATEGIES)}.")] = "tpe",
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings per configuration and fold.")] = 1,
    groups: Annotated[str | None, typer.Option("--groups", help="Column of rows that stay together.")] = None,
    order: Annotated[str | None, typer.Option("--order", help="Column that orders the rows in time.")] = None,
    drop: Drop = None,
    task: Task = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Find how much to regularise a network on a table.

    Cross-validates many configurations, chooses the simplest one within a standard error of the best, trains it on
    all rows, and writes the model and a report.

    Examples:

        meden tune data.csv --target price

        meden tune breast_cancer --search l1=1e-5:1e-2:log --budget 16 --out runs/cancer

        meden tune visits.parquet --target readmitted --groups patient --drop id
    """  # noqa: D412 - typer prints the paragraphs as they stand
    check_new_folder("--out", out)
    settings = {
        "data": data if not Path(data).exists() else str(Path(data).resolve()),
        "target": target,
        "task": task,
        "groups": groups,
        "order": order,
        "drop": list(drop or ()),
        "search": list(space or ()),
        "recipe": (Recipe.load(recipe) if recipe else TABLE_RECIPE).to_dict(),
        "folds": folds,
        "budget": budget,
        "strategy": strategy,
        "seeds": seeds,
        "seed": seed,
    }
    _show(finish(settings, out), out, as_json)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a study that was cut off.")], as_json: JsonFlag = False
) -> None:
    """Go on with a study that was cut off; the result equals that of an uninterrupted one.

    Example:

        meden resume runs/study
    """  # noqa: D412
    _show(finish(read_settings(folder), folder), folder, as_json)


def read_settings(folder: Path) -> dict[str, Any]:
    """Read ``study.json``.

    Raises:
        InputError: if the folder holds no study.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / "study.json").read_text())
    except (OSError, json.JSONDecodeError):
        raise InputError(f"folder must hold a study (a study.json), got {str(folder)!r}") from None
    return settings


def search_of(settings: Mapping[str, Any], out: Path) -> Study:
    """Run the search that ``settings`` describe, or what of it the ledger does not hold yet."""
    dataset = as_dataset(
        settings["data"],
        target=settings["target"],
        task=settings["task"],
        groups=settings["groups"],
        drop=settings["drop"],
    )
    space = parse_space(settings["search"])
    total = settings["budget"] * settings["folds"] * settings["seeds"]
    with progress("training", total) as (bar, job):

        def show(done: search.Progress) -> None:
            bar.update(job, completed=done.done, total=done.total, note=f"best loss {done.best_loss:.4g}")

        return search.tune(
            MLP,
            dataset,
            space,
            **{name: settings[name] for name in ("folds", "budget", "strategy", "seeds", "seed", "order")},
            recipe=Recipe.from_dict(settings["recipe"]),
            study_dir=out,
            on_start=lambda: _write_settings(settings, out),
            on_progress=show,
        )


def finish(settings: Mapping[str, Any], out: Path) -> Study:
    """Search, train the choice on all rows, write model and report."""
    study = search_of(settings, out)
    run = study.refit()
    run.save(out)
    study.report(out / "report.html")
    return study


def parse_space(texts: list[str]) -> Space:
    """Return the space that ``--search`` options describe; none is the default space of tables.

    Raises:
        InputError: naming the option that cannot be read.

    Example:
        >>> parse_space(["l2=1e-5:1:log", "width=64,128"])
        {'l2': LogUniform(low=1e-05, high=1.0), 'width': Choice(64, 128)}
    """
    return dict(_dimension(text) for text in texts) if texts else TABLE_SPACE


def _dimension(text: str) -> tuple[str, Dimension]:
    name, equals, values = text.partition("=")
    try:
        if not equals or not name.strip():
            raise ValueError
        if ":" not in values:
            return name.strip(), Choice(*(_scalar(value) for value in values.split(",")))
        low, high, *kind = values.split(":")
        if kind == ["int"]:
            return name.strip(), IntUniform(int(low), int(high))
        if kind not in ([], ["log"]):
            raise ValueError
        return name.strip(), (LogUniform if kind else Uniform)(float(low), float(high))
    except InputError as error:
        raise InputError(f"--search {text!r}: {error}") from None
    except ValueError:
        raise InputError(
            f"--search must look like l2=1e-5:1:log, dropout=0:0.6, depth=1:4:int or width=64,128, got {text!r}"
        ) from None


def _scalar(text: str) -> str | int | float | bool:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.strip().lower(), text.strip())


def _write_settings(settings: Mapping[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "study.json").write_text(json.dumps(dict(settings), indent=1))


def summary(study: Study) -> dict[str, Any]:
    """Return what a study found, as plain values."""
    return {
        name: {
            "params": trial.params,
            "loss": trial.loss,
            "loss_error": trial.loss_error,
            study.metric: trial.score,
            "epochs": trial.median_epoch,
        }
        for name, trial in (("one_se", study.one_se), ("best", study.best))
    } | {
        "score": {"loss": study.score.estimate, "low": study.score.low, "high": study.score.high},
        "naive_loss": study.score.naive,
        "configurations": len(study.trials),
        "diverged": sum(trial.status != "ok" for trial in study.trials),
    }


def _show(study: Study, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(summary(study) | {"folder": str(out)})
        return
    table = Table("", *study.space, "held-out loss", study.metric, "epochs", title="Chosen")
    for name, trial in (("one_se (simplest within one standard error)", study.one_se), ("best", study.best)):
        values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in trial.params.values()]
        loss = f"{trial.loss:.4g} ± {trial.loss_error:.2g}"
        table.add_row(name, *values, loss, f"{trial.score:.4g}", str(trial.median_epoch))
    stdout.print(table)
    score = study.score
    stdout.print(
        f"Held-out loss of the best, corrected for having been chosen among {len(study.trials)}: "
        f"{score.estimate:.4g} (90 % interval {score.low:.4g} to {score.high:.4g}; uncorrected {score.naive:.4g})."
    )
    stdout.print(f"Model and report: {out}/report.html   Predict: meden predict {out} rows.csv -o predictions.csv")
