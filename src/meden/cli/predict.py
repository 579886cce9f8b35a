"""``meden predict``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError, check_choice
from meden._files import write_whole
from meden.cli.console import Decimal, JsonFlag, Missing, Sep, print_json, stdout
from meden.cli.folders import check_new_file, trained
from meden.cli.rows import as_typed, read_rows, without_formulas
from meden.data.new_rows import ON_MISSING
from meden.data.reading import ReadOptions
from meden.report.numbers import plural
from meden.run import RUN, Ensemble, Run
from meden.study.folder import STUDY
from meden.study.ledger import LEDGER


def predict(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    rows: Annotated[Path, typer.Argument(help="File with the columns the model was trained on; others are ignored.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("predictions.csv"),
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Keep labels such as `=1+1` that a spreadsheet takes for formulas."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")] = False,
    on_missing: Annotated[
        str,
        typer.Option(
            "--on-missing",
            help="`error`: predict nothing if a row has no answer; `empty`: leave the predictions of such rows empty.",
        ),
    ] = "error",
    as_json: JsonFlag = False,
) -> None:
    """Predict the target of new rows: a label with its probabilities, or a number.

    Columns are read as those the model was trained on, unless `--decimal` or `--na` say otherwise. The output has one
    line for each line under the header, in the same order; messages call the first of them row 0. Labels that begin
    like a formula of a spreadsheet (`=`, `+`, `-`, `@`) get a quote before them.

    A row has no answer if a cell cannot be read as what its column was in training, if all its cells are empty though
    no row in training may have been, or if the model's output is not finite. Numbers far outside of what was trained
    on are clipped, and that is said.

    Example:

        meden predict runs/study new_rows.csv -o predictions.csv
    """  # noqa: D412
    check_choice("--on-missing", on_missing, ON_MISSING)
    check_new_file("--out", out, force=force)
    _check_apart(out, rows)
    options = as_typed(sep, decimal, na)
    run = _reading_as(trained(folder), options)
    if run.failure:
        raise InputError(f"folder must hold a model that can predict, got {str(folder)!r}, whose run {run.failure}")
    assert run.encoder is not None
    told = run.predict(read_rows(rows, run.encoder, options), on_missing="empty" if on_missing == "empty" else "error")
    predictions = told.frame()
    written = predictions if raw else without_formulas(predictions)
    write_whole(out, written.to_csv(index=False).encode())
    if as_json:
        num_empty = int(predictions.iloc[:, 0].isna().sum())
        print_json({"rows": len(predictions), "empty": num_empty, "file": str(out)})
    else:
        stdout.print(f"{plural(len(predictions), 'prediction')}: {out}")


def _check_apart(out: Path, rows: Path) -> None:
    """Check that predictions replace neither the rows nor a file of a study or run; there they may be a .csv file.

    Raises:
        InputError: if they would.
    """
    if out.exists() and rows.exists() and out.samefile(rows):
        raise InputError(f"--out must be another file than the rows, got {str(out)!r} for both")
    place = out.resolve()
    of_meden = any((place.parent / name).exists() for name in (RUN, STUDY, LEDGER))
    if of_meden and place.suffix.lower() != ".csv":
        raise InputError(f"--out must be a .csv file in a folder that holds a study or run, got {str(out)!r}")


def _reading_as(run: Run | Ensemble, options: ReadOptions) -> Run | Ensemble:
    """Return a run that reads new rows by what is said of them."""
    runs = run.runs if isinstance(run, Ensemble) else (run,)
    told = tuple(replace(one, encoder=one.encoder and one.encoder.reading_as(options.mark, options.na)) for one in runs)
    return Ensemble(runs=told) if isinstance(run, Ensemble) else told[0]
