"""``meden predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from meden._checks import InputError, check_choice
from meden._files import write_whole
from meden.cli.console import Decimal, JsonFlag, Missing, Sep, print_json, say, stdout
from meden.cli.folders import check_new_file, trained
from meden.cli.rows import as_typed, read_rows, reading_as, without_formulas
from meden.data.dataset import check_column
from meden.data.new_rows import ON_MISSING
from meden.data.numerals import is_plain
from meden.data.targets import Label
from meden.report.numbers import plural
from meden.run import RUN
from meden.study.folder import STUDY
from meden.study.ledger import LEDGER


def predict(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    rows: Annotated[
        Path, typer.Argument(help="File with the columns the model was trained on; other columns are ignored.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("predictions.csv"),
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that identifies each row; it comes first in the output.")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Keep labels such as `=1+1`, which a spreadsheet would evaluate as formulas."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file if it exists.")] = False,
    on_missing: Annotated[
        str,
        typer.Option(
            "--on-missing",
            help="What to do with rows that cannot be predicted. `error`: stop and write nothing; `empty`: leave "
            "their predictions empty.",
        ),
    ] = "error",
    as_json: JsonFlag = False,
) -> None:
    """Predict the target of new rows: labels with probabilities, or numbers.

    Columns are read as those the model was trained on, unless `--decimal` or `--na` is given. The output has one line
    per input row, in the same order; row 0 in messages is the line below the header. Labels that start like a
    spreadsheet formula (`=`, `+`, `-`, `@`) get a quote in front.

    A row cannot be predicted if a cell cannot be read as its column was in training, if all its cells are empty and no
    training row was, or if the model's output is not finite. Numbers far outside the training range are clipped, with a
    warning. A target column is ignored, with a warning: `meden evaluate` compares it with the predictions.

    Examples:

        meden predict runs/study new_rows.csv -o predictions.csv

        meden predict runs/study new_rows.csv --id customer -o predictions.csv
    """  # noqa: D412
    check_choice("--on-missing", on_missing, ON_MISSING)
    check_new_file("--out", out, force=force)
    _check_apart(out, rows)
    options = as_typed(sep, decimal, na)
    run = reading_as(trained(folder), options)
    if run.failure:
        raise InputError(f"folder must hold a model that can predict, got {str(folder)!r}, whose run {run.failure}")
    assert run.encoder is not None
    label, names = run.encoder.label.name, () if id_column is None else (id_column,)
    frame = read_rows(rows, run.encoder, options, as_text=names, labels=names)
    ids = None if id_column is None else _ids(frame, id_column, run.encoder.classes)
    predictions = run.predict(frame, on_missing="empty" if on_missing == "empty" else "error").frame()
    if label in frame.columns:
        say(
            f"column {label!r} is the target and is ignored; to score predictions against it: meden evaluate "
            f"{folder} {rows}"
        )
    written = predictions if raw else without_formulas(predictions)
    if ids is not None:
        written = pd.concat([ids if raw else _quoted(ids), written], axis=1)
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
        raise InputError(f"--out must not be the input file, got {str(out)!r} for both")
    place = out.resolve()
    of_meden = any((place.parent / name).exists() for name in (RUN, STUDY, LEDGER))
    if of_meden and place.suffix.lower() != ".csv":
        raise InputError(f"--out must be a .csv file when it is in the folder of a study or run, got {str(out)!r}")


def _ids(frame: pd.DataFrame, name: str, classes: Sequence[Label]) -> pd.Series[Any]:
    """Return the column that names each row.

    Raises:
        InputError: if it is not there, has the name of another column of the output, or does not name each row by
            itself: who joins tables by it would get other rows.
    """
    check_column("--id", name, frame)
    if name in ("prediction", *(f"p_{label}" for label in classes)):
        raise InputError(f"--id must not have the name of a prediction column, got {name!r}")
    ids = frame[name].reset_index(drop=True)
    wrong = ids.isna() | ids.duplicated(keep=False)
    if wrong.any():
        first = int(wrong.to_numpy().argmax())
        told = "nothing" if pd.isna(ids[first]) else f"{ids[first]!r} more than once"
        raise InputError(
            f"--id must be a column whose values identify each row, but {name!r} holds {told} (first in row "
            f"{first}; {plural(int(wrong.sum()), 'such row')}); without --id, predictions are in the order of the "
            "rows"
        )
    return ids


def _quoted(ids: pd.Series[Any]) -> pd.DataFrame:
    """Return names as :func:`without_formulas` does, numbers as they are."""
    quoted = without_formulas(ids.to_frame())
    numbers = ids.map(lambda cell: isinstance(cell, str) and is_plain(cell)).to_numpy(dtype=bool)
    quoted.iloc[numbers, 0] = ids[numbers]
    return quoted
