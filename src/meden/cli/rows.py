"""Rows from files: options of reading, and one table that says how each column was read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from meden._checks import InputError
from meden.cli.console import describe, say, stderr
from meden.data import Dataset, Encoder, as_dataset
from meden.data.files import read_file
from meden.data.reading import Reading, ReadingWarning, ReadOptions
from meden.diagnosis.tables.quick import SECONDS, first_look
from meden.language import Own, translated
from meden.run import Ensemble, Run
from meden.study.check import table_of

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
"""First characters of a cell that a spreadsheet would evaluate as a formula; full-width signs count as well."""


def read_data(data: str, *, drop: Sequence[str] | None, read: Iterable[str] | None, **options: Any) -> Dataset:
    """Return the data set of a file, or a bundled one; :func:`show_data` says how it was read.

    Args:
        data: file or bundled name.
        drop: columns to leave out.
        read: texts such as ``age=number``.
        **options: of :func:`meden.as_dataset`, as they are typed.
    """
    given = as_typed(options.pop("sep"), options.pop("decimal"), options.pop("na"))
    options |= {"sep": given.sep, "decimal": given.decimal, "na": given.na}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadingWarning)
        return as_dataset(data, drop=drop or (), read=parse_read(read or ()), **options)


def read_rows(
    path: Path, encoder: Encoder, options: ReadOptions, *, labels: Sequence[str] = (), as_text: Sequence[str] = ()
) -> pd.DataFrame:
    """Return new rows as they stand in a file, one for each line, and say what above them was passed over.

    Args:
        path: the file.
        encoder: knows the columns.
        options: of reading, as they are typed.
        labels: columns in which only empty cells are missing.
        as_text: columns to take as they are written, beside the encoder's.
    """
    texts = (*encoder.text_columns, *as_text)
    raw = read_file(path, as_text=texts, labels=labels, sep=options.sep, decimal=options.decimal, new_rows=True)
    for note in raw.notes:
        say(f"{path}: {note}")
    return raw.frame


def reading_as(run: Run | Ensemble, options: ReadOptions) -> Run | Ensemble:
    """Return a run that reads new rows by what is said of them."""
    runs = run.runs if isinstance(run, Ensemble) else (run,)
    told = tuple(replace(one, encoder=one.encoder and one.encoder.reading_as(options.mark, options.na)) for one in runs)
    return Ensemble(runs=told) if isinstance(run, Ensemble) else told[0]


def show_data(dataset: Dataset) -> None:
    """Say on standard error what was read and how: a line, and a table with all columns."""
    say(describe(dataset))
    for note in dataset.notes:
        say(note)
    if dataset.readings:
        stderr.print(readings_table(dataset))


def show_first_look(
    dataset: Dataset, *, order: str | None = None, folds: int = 5, seed: int = 0, time_limit: float | None = None
) -> None:
    """Say on standard error what is wrong with a table at first sight, a line each; it takes 5 seconds, or 1/50 of all.

    Args:
        dataset: what is to be trained on; those with several targets a row are passed over.
        order: column that sorts the rows in time.
        folds: that they are divided into.
        seed: of what is drawn.
        time_limit: seconds for everything.
    """
    if dataset.num_rows < 2 or dataset.labels.ndim > 1:
        return
    seconds = SECONDS if time_limit is None else min(SECONDS, time_limit / 50)
    found = first_look(table_of(dataset, order=order, folds=folds, seed=seed), seconds)
    for finding in found:
        say(str(finding))


def readings_table(dataset: Dataset) -> Table:
    """Return how each column was read; neighbours that were read alike share a line."""
    table = Table("column", "read as", "missing", "remarks")

    def alike(reading: Reading) -> tuple[Any, ...]:
        return reading.name == dataset.target, reading.kind, reading.num_missing, reading.remarks

    for (is_target, kind, num_missing, remarks), group in groupby(dataset.readings, key=alike):
        names = [reading.name for reading in group]
        name = names[0] if len(names) == 1 else f"{names[0]}{translated(' to ')}{names[-1]} ({len(names)})"
        name += translated(" (target)") if is_target else ""
        table.add_row(Own(name), kind, str(num_missing or ""), "; ".join(remarks))
    return table


def parse_read(texts: Iterable[str]) -> dict[str, str]:
    """Return ``column=kind`` texts as a mapping.

    Raises:
        InputError: naming a text that cannot be read, or a column given twice.

    Example:
        >>> parse_read(["age=number", "a=b=date"])
        {'age': 'number', 'a=b': 'date'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, kind = text.rpartition("=")
        if not equals or not name:
            raise InputError(f"--read must look like age=number, got {text!r}")
        if name in found:
            raise InputError(f"--read must name each column once, got {name!r} twice")
        found[name] = kind
    return found


def as_typed(sep: str | None, decimal: str | None, na: Sequence[str] | None) -> ReadOptions:
    r"""Return what ``--sep``, ``--decimal`` and ``--na`` stand for: ``tab`` and ``\t`` are the character.

    Raises:
        InputError: naming the option.

    Example:
        >>> as_typed("tab", None, None).sep
        '\t'
    """
    separator = {"tab": "\t", "\\t": "\t", "space": " "}.get(sep or "", sep)
    try:
        return ReadOptions(sep=separator, decimal=decimal, na=tuple(na or ()))
    except InputError as error:
        raise InputError(f"--{error}") from None


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with a quote before texts and names that a spreadsheet would take for a formula.

    Example:
        >>> without_formulas(pd.DataFrame({"prediction": ["=1+1", "no"], "p_=1+1": [-0.5, 1.0]})).values.tolist()
        [["'=1+1", -0.5], ['no', 1.0]]
    """
    return frame.map(_quoted).rename(columns=_quoted)


def _quoted(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
