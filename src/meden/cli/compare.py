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
"""What is compared unless ``--with`` is given; a linear model has no units to drop."""


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
            help="Alternative to compare, as `'name: setting=value, ...'`, for example `'both: l2=0.01, "
            f"dropout=0.5'`. Repeatable. Default: {', '.join(USUAL)}.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Output folder for the results and a report. Run the same command again to resume."
        ),
    ] = None,
    format: ReportFormat = "html",
    model: Model = "mlp",
    recipe: RecipeFile = None,
    folds: Folds = FOLDS,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds, that is fits per alternative and fold.")] = 1,
    order: Order = None,
    gap: Gap = 0,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    processes: Processes = Processes(),  # noqa: B008
    allow_version: AllowVersion = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare regularisers on a table, with confidence intervals.

    All alternatives are trained on the same folds and from the same initial weights. The first, `none`, is the
    unchanged recipe. For `mlp` and `linear` it stops early and has no penalty, so that the effect of each alternative
    is visible; for `tabular` it is regularised already.

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
        raise InputError("--with must not use the name 'none', which is reserved for the unchanged recipe")
    if out is not None:
        check_study_folder("--out", out)
    loaded = None if recipe is None else Recipe.load(recipe)
    processes.check()
    setup = set_up(
        reading.data(data, target),
        model=model,
        device=processes.device,
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
        say(f"interrupted; run the same command again to continue from what is done in {out}")
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
