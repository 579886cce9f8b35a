"""``meden predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError
from meden._files import write_whole
from meden.cli.console import JsonFlag, print_json, stdout
from meden.cli.folders import check_new_file, trained
from meden.data import read_table
from meden.report.numbers import plural


def predict(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    rows: Annotated[Path, typer.Argument(help="File with the columns the model was trained on; others are ignored.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("predictions.csv"),
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Predict the target of new rows: a label with its probabilities, or a number.

    The output has one line for each row, in the same order.

    Example:

        meden predict runs/study new_rows.csv -o predictions.csv
    """  # noqa: D412
    check_new_file("--out", out, force=force)
    run = trained(folder)
    if run.failure:
        raise InputError(f"folder must hold a model that can predict, got {str(folder)!r}, whose run {run.failure}")
    assert run.encoder is not None
    predictions = run.predict(read_table(rows, as_text=run.encoder.text_columns)).frame()
    write_whole(out, predictions.to_csv(index=False).encode())
    if as_json:
        print_json({"rows": len(predictions), "file": str(out)})
    else:
        stdout.print(f"{plural(len(predictions), 'prediction')}: {out}")
