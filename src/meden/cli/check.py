"""``meden check``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError
from meden.cli.console import (
    Folds,
    JsonFlag,
    Order,
    Seed,
    Target,
    print_json,
    stdout,
)
from meden.cli.folders import check_new_file
from meden.cli.options import Reading, spread
from meden.cli.rows import show_data
from meden.cli.rules import IgnoreOption, SelectOption, names, show_rules
from meden.data.reading import ReadingWarning
from meden.diagnosis import Split, chosen_rules
from meden.diagnosis.tables.table import Table
from meden.study.check import check as checked


@spread
def check(
    data: Annotated[
        str | None,
        typer.Argument(
            help="CSV, TSV, Parquet or Feather file, or a bundled name: breast_cancer, diabetes, digits, iris, wine."
        ),
    ] = None,
    target: Target = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Column that says of each row `fit` (or `train`), `stop`, `score` (or `test`)."),
    ] = None,
    order: Order = None,
    folds: Folds = 5,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write a page here: .html, or .md for Markdown.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page if it is there.")] = False,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    list_rules: Annotated[bool, typer.Option("--list", help="Show all rules: code, family, severity.")] = False,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Say what is wrong with a table, or with a split of it, before anything is trained.

    It knows the target among the inputs, columns that name rows, their order or their group, copies of rows, labels
    that are probably wrong, rare classes, numbers stored as text, missing values that tell the target, neighbours that
    are alike; with `--split` or `--order` also rows that come from elsewhere; with `--split` rows and groups on both
    sides, later rows that fit, columns scaled or encoded by all rows. Messages call the line under the header row 0.

    Examples:

        meden check data.csv --target price

        meden check data.csv --target price --report check.html

        meden check visits.parquet --target readmitted --groups patient --order day

        meden check all.csv --target y --split part --ignore near_duplicates --json

        meden check --list
    """  # noqa: D412 - typer prints the paragraphs as they stand
    if list_rules:
        show_rules([rule for rule in chosen_rules(names(select), names(ignore)) if rule.of in (Table, Split)], as_json)
        return
    if data is None:
        raise InputError("data must be a file or a bundled name, got none (rules: --list)")
    if report is not None:
        check_new_file("--report", report, force=force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadingWarning)
        found = checked(
            data,
            target=target,
            order=order,
            split=split,
            folds=folds,
            seed=seed,
            select=names(select),
            ignore=names(ignore),
            **reading.arguments(),
        )
    show_data(found.table.dataset)
    if report is not None:
        found.report(report, "md" if report.suffix == ".md" else "html")
    if as_json:
        print_json(found.to_dict() | ({} if report is None else {"file": str(report)}))
        return
    stdout.print(str(found))
    if report is not None:
        stdout.print(f"Report: {report}")
