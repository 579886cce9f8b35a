"""``meden compare``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from meden import search
from meden._checks import InputError, check_choice
from meden.cli.command_line import command_line
from meden.cli.console import (
    AllowVersion,
    Data,
    Folds,
    Gap,
    JsonFlag,
    Model,
    Order,
    RecipeFile,
    Seed,
    Target,
    print_json,
    progress,
    say,
    stdout,
)
from meden.cli.folders import REPORT, check_study_folder
from meden.cli.formats import ReportFormat, report_format
from meden.cli.options import Processes, Reading, spread
from meden.cli.rows import show_data, show_first_look
from meden.cli.settings import parse_alternatives
from meden.recipe import Recipe
from meden.search import Comparison
from meden.study.ledger import LEDGER
from meden.tabular.defaults import FOLDS
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up

USUAL = ("L2: l2=0.01", "L1: l1=0.001", "dropout: dropout=0.3")
"""What is compared unless ``--with`` says otherwise; a linear model has nothing to drop."""


@spread
def compare(
    context: typer.Context,
    data: Data,
    target: Target = None,
    alternatives: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            "-w",
            help="An alternative, its name first, may be repeated: `'both: l2=0.01, dropout=0.5'`. "
            f"Unless given: {', '.join(USUAL)}.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results and a report; the same command goes on from there."),
    ] = None,
    format: ReportFormat = "html",
    model: Model = "mlp",
    recipe: RecipeFile = None,
    folds: Folds = FOLDS,
    seeds: Annotated[int, typer.Option("--seeds", help="Fits per alternative and fold.")] = 1,
    order: Order = None,
    gap: Gap = 0,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    processes: Processes = Processes(),  # noqa: B008
    allow_version: AllowVersion = False,
    as_json: JsonFlag = False,
) -> None:
    """Say which regulariser helps on a table, and by how much, with error bars.

    All alternatives train on the same folds, from the same starting weights. The first, `none`, is the recipe as it
    is. That of `mlp` and `linear` stops early and has no penalty, so that what helps stands out; that of `tabular` is
    regularised already.

    Examples:

        meden compare data.csv --target price

        meden compare wine --with "L2: l2=0.01" --with "dropout: dropout=0.5" --with "small: width=16, depth=1"

        meden compare data.csv --target price --seeds 5 --out runs/compared --jobs 2
    """  # noqa: D412
    check_choice("--model", model, NETWORKS)
    kind = report_format(format)
    usual = USUAL[:-1] if model == "linear" else USUAL
    others = parse_alternatives(alternatives or usual, NETWORKS[model])
    if "none" in others:
        raise InputError("--with must not be called 'none': that is the recipe as it is, which is always there")
    if out is not None:
        check_study_folder("--out", out)
    loaded = None if recipe is None else Recipe.load(recipe)
    setup = set_up(
        reading.data(data, target),
        model=model,
        recipe=loaded,
    )

    def start() -> None:
        show_data(setup.data)
        show_first_look(setup.data, order=order, folds=folds, seed=seed)

    with _interruptible(out), progress() as show:
        made = search.compare(
            setup.make_model,
            setup.data,
            {"none": None, **others},
            folds=folds,
            seeds=seeds,
            recipe=setup.recipe,
            order=order,
            gap=gap,
            seed=seed,
            study_dir=out,
            allow_version=allow_version,
            on_start=start,
            on_progress=show,
            **processes.arguments(),
        )
    if out is not None:
        made.report((out / REPORT).with_suffix(f".{kind}"), format=kind, command=command_line(context))
    _show(made, as_json)


@contextmanager
def _interruptible(out: Path | None) -> Iterator[None]:
    """Say of a comparison that is interrupted that its folder keeps what is done."""
    try:
        yield
    except KeyboardInterrupt:
        if out is None or not (out / LEDGER).exists():
            raise
        say(f"interrupted; the same command goes on from what is done so far in {out}")
        raise typer.Exit(1) from None


def _show(made: Comparison, as_json: bool) -> None:
    if as_json:
        rows = made.table().to_dict("records")
        print_json({"metric": made.metric, "alternatives": rows, "verdict": made.verdict.to_dict()})
    else:
        for sentence in made.verdict.sentences:
            stdout.print(sentence.text)
        stdout.print()
        stdout.print(str(made))
    if not any(math.isfinite(alternative.losses.mean()) for alternative in made.alternatives):
        raise typer.Exit(1)
