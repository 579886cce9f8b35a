"""``meden select``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, get_args

import pandas as pd
import typer
from rich import box
from rich.table import Table

from meden._checks import InputError, check_choice, check_count, check_number
from meden._files import write_whole
from meden.cli.command_line import command_line
from meden.cli.console import (
    AllowVersion,
    Data,
    Folds,
    Gap,
    JsonFlag,
    Order,
    RecipeFile,
    Seed,
    Target,
    print_json,
    progress,
    say,
    stdout,
)
from meden.cli.folders import REPORT, check_new_folder
from meden.cli.formats import ReportFormat, report_format
from meden.cli.found import cut_off
from meden.cli.options import Processes, Reading, spread
from meden.cli.rows import show_data, without_formulas
from meden.language import Own
from meden.penalties import GroupLasso, GroupMCP, SparsePenalty
from meden.recipe import Recipe
from meden.report.numbers import number
from meden.search import CV
from meden.search.path_source import Diverged
from meden.study.ledger import LEDGER
from meden.tabular.defaults import FOLDS
from meden.tabular.select import RATE, SELECTORS, STRENGTHS, WITH_NOISE, WITHOUT_NOISE, select_inputs
from meden.tabular.selection import InputSelection
from meden.tabular.selection_page import selection_report
from meden.workers.workers import Backend, Workers

COLUMNS = "columns.csv"
SHOWN = 25
"""Columns of the table on the terminal; the file and the page have all."""
PENALTIES: dict[str, type[SparsePenalty]] = {"group_lasso": GroupLasso, "group_mcp": GroupMCP}


@spread
def select(
    context: typer.Context,
    data: Data,
    target: Target = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help=f"Output folder for a report and {COLUMNS}. Run the same command again to resume."
        ),
    ] = None,
    format: ReportFormat = "html",
    model: Annotated[
        str,
        typer.Option("--model", help="Network whose inputs are selected: `mlp` (a multilayer perceptron) or `linear`."),
    ] = next(iter(SELECTORS)),
    penalty: Annotated[
        str,
        typer.Option(
            "--penalty", help="Penalty on all weights that read a column: `group_lasso`, or `group_mcp` (not convex)."
        ),
    ] = "group_lasso",
    strengths: Annotated[int, typer.Option("--strengths", help="Number of strengths on the path.")] = STRENGTHS,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise/--no-noise",
            help="Compare the columns with noise columns (knockoffs); takes more than twice the time.",
        ),
    ] = True,
    rate: Annotated[
        float,
        typer.Option("--rate", help="Target false discovery rate among the columns that stand out from noise."),
    ] = RATE,
    recipe: RecipeFile = None,
    folds: Folds = FOLDS,
    seeds: Annotated[int, typer.Option("--seeds", help="Fits per strength and fold.")] = 1,
    order: Order = None,
    gap: Gap = 0,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    processes: Processes = Processes(),  # noqa: B008
    allow_version: AllowVersion = False,
    as_json: JsonFlag = False,
) -> None:
    """Select the columns of a table that matter, and estimate how certain that is and what dropping the others costs.

    Removes the inputs of a network one by one by increasing a penalty on all weights that read a column, and keeps the
    columns that survive at the one-SE strength: the fewest columns whose loss is within one standard error of the best.
    Reports how often each column survives over folds and seeds, with an interval, and which columns stand out from
    added noise columns. The expected share of false discoveries among these is at most --rate if columns depend on each
    other as in a Gaussian copula, which does not hold if some are squares, ratios or bins of others.

    Examples:

        meden select data.csv --target price

        meden select breast_cancer --out runs/selected --seeds 3

        meden select data.csv --target price --model linear --no-noise --json

        meden select visits.parquet --target readmitted --groups patient --drop id --rate 0.1
    """  # noqa: D412 - typer prints the paragraphs as they stand
    check_choice("--model", model, SELECTORS)
    check_choice("--penalty", penalty, PENALTIES)
    check_count("--strengths", strengths, low=2)
    check_number("--rate", rate, low=0.0, high=1.0, low_open=True, high_open=True)
    kind = report_format(format)
    if out is not None and not (out / WITHOUT_NOISE / LEDGER).exists():
        check_new_folder("--out", out)
    loaded = None if recipe is None else Recipe.load(recipe)
    dataset = reading.data(data, target)
    if len(dataset.feature_names) < 2:
        raise InputError(f"data must have two or more columns to select from, got {list(dataset.feature_names)}")
    cv = CV(folds=folds, seeds=seeds, order=order, gap=gap)
    check_choice("--backend", processes.backend, get_args(Backend))
    processes.check()
    workers = Workers(**processes.arguments())
    show_data(dataset)
    command = command_line(context)
    with _as_asked(out), cut_off((out or Path()) / WITHOUT_NOISE / LEDGER, command), progress() as show:
        found = select_inputs(
            dataset,
            model=model,
            device=processes.device,
            penalty=PENALTIES[penalty],
            num=strengths,
            recipe=loaded,
            noise=noise,
            rate=rate,
            cv=cv,
            workers=workers,
            study_dir=out,
            seed=seed,
            allow_version=allow_version,
            on_progress=show,
        )
    if out is not None:
        table = without_formulas(pd.DataFrame(found.to_dict()["columns"]))
        write_whole(out / COLUMNS, table.to_csv(index=False).encode())
        page = selection_report(found, (out / REPORT).with_suffix(f".{kind}"), format=kind, command=command)
        say(f"Report:  {page}")
        say(f"Columns: {out / COLUMNS}")
    _show(found, as_json)


@contextmanager
def _as_asked(out: Path | None) -> Iterator[None]:
    """Name the folder as the command line does; a recipe that does not train is no mistake in what was asked.

    Raises:
        Exit: if the runs diverged.
    """
    try:
        yield
    except Diverged as error:
        say(f"failed: {error}")
        raise typer.Exit(1) from None
    except InputError as error:
        text = str(error).replace("study_dir", "--out")
        for part in (WITHOUT_NOISE, WITH_NOISE):
            text = text.replace(repr(str((out or Path()) / part)), repr(str(out)))
        raise InputError(text) from None


def _show(found: InputSelection, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    for sentence in found.sentences:
        stdout.print(sentence)
    noise = ("false discovery rate",) * bool(found.copies)
    table = Table("column", "kept", "frequency (95 %)", "norm", *noise, box=box.SIMPLE)
    for column in found.columns[:SHOWN]:
        often = column.frequency
        cells = (Own(column.name), "yes" * column.kept, f"{often.share:.2f} ({often.low:.2f} to {often.high:.2f})")
        rate = (number(column.false_discovery_rate),) if column.false_discovery_rate is not None else ()
        table.add_row(*cells, number(column.norm), *rate)
    stdout.print(table)
    if (left := len(found.columns) - SHOWN) > 0:
        stdout.print(f"and {left} more columns")
