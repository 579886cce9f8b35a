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
        typer.Option(
            "--split", help="Column that assigns each row to `fit` (or `train`), `stop` or `score` (or `test`)."
        ),
    ] = None,
    order: Order = None,
    folds: Folds = 5,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write a report to this file (.html, or .md for Markdown).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the report if it exists.")] = False,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    list_rules: Annotated[bool, typer.Option("--list", help="List all rules with code, family and severity.")] = False,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Check a table, or a split of it, for problems before training.

    The checks find target leakage, columns that identify rows, their order or their group, duplicate rows, probable
    label errors, rare classes, numbers stored as text, missing values that depend on the target, and neighbouring rows
    with similar targets. With `--split` or `--order` they also find distribution shift; with `--split` also rows and
    groups on both sides, fitting rows later than scored ones, and columns scaled or encoded on all rows. Row 0 in
    messages is the line below the header.

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
        raise InputError("data must be a file or a bundled name, got none (to list the rules: --list)")
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
