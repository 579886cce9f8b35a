"""Tables from files (CSV, TSV, Parquet, Feather, through pandas) and scikit-learn's bundled ones."""

from __future__ import annotations

import dataclasses
import gzip
import io
import itertools
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from meden._checks import InputError, nearest, one_line
from meden.data.layout import LOOKED_AT, drop_lines, tell_layout
from meden.data.numerals import is_plain
from meden.data.reading import EXACT, ReadingWarning
from meden.data.tables import named_columns

_TEXT = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
_BINARY: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".feather": pd.read_feather}
SUFFIXES = (*_TEXT, *_BINARY)
_NAMELESS = "\0"

_BUNDLED = {
    "breast_cancer": "diagnosis",
    "diabetes": "progression",
    "digits": "digit",
    "iris": "species",
    "wine": "cultivar",
}
BUNDLED = tuple(_BUNDLED)
"""Names of the tables that need no file."""


def bundled_table(name: str) -> tuple[pd.DataFrame, str]:
    """Return one of scikit-learn's tables and the name of its target column, classes by their names.

    Example:
        >>> frame, target = bundled_table("iris")
        >>> target, sorted(frame[target].unique())
        ('species', ['setosa', 'versicolor', 'virginica'])
    """
    from sklearn import datasets

    target = _BUNDLED[name]
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame.rename(columns={"target": target})
    if name in ("breast_cancer", "iris", "wine"):
        frame[target] = [str(bunch.target_names[i]) for i in frame[target]]
    return frame, target


@dataclasses.dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it stands in a file: named columns, cells that are no plain numbers as texts."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    """What of the file is unusual or was passed over, in words."""
    separator: str | None = None
    """Between the fields of a text file."""


def read_table(
    path: str | Path, *, as_text: Iterable[str] = (), sep: str | None = None, new_rows: bool = False
) -> pd.DataFrame:
    """Read a table from a file, by its suffix: .csv, .tsv (also .gz), .parquet or .feather.

    Text is UTF-8 with a header line. Empty fields and pandas' usual words for nothing (``NA``, ``N/A``, ``NaN``,
    ``null``, ``None``, ...) are missing values; pass a DataFrame of your own to keep such words as strings. What
    separates the fields is told from the file; titles, comments, headers that recur and the like are passed over, with
    a warning. Of a file of new rows only what is above the header is passed over.

    Args:
        path: the file.
        as_text: columns of a text file to read as strings even if they look like numbers (for new rows of a table
            where they were strings).
        sep: what separates the fields of a text file.
        new_rows: whether each line under the header is a row to be predicted, blank lines at the end apart.

    Raises:
        InputError: if the file is missing, unreadable, not UTF-8, empty, of an unknown suffix, or names a column twice.
    """
    raw = read_file(path, as_text=as_text, sep=sep, new_rows=new_rows)
    if raw.notes:
        warnings.warn(f"{str(path)!r}: {'; '.join(raw.notes)}", ReadingWarning, stacklevel=2)
    return raw.frame


def read_file(
    path: str | Path,
    *,
    as_text: Iterable[str] = (),
    labels: Iterable[str] = (),
    sep: str | None = None,
    decimal: str | None = None,
    new_rows: bool = False,
) -> RawTable:
    """Read a file as :func:`read_table` does; it says what it passed over, and keeps all words of some columns.

    Args:
        path: the file.
        as_text: columns to read as strings.
        labels: columns in which only empty cells are missing: ``NA`` and ``None`` may be labels there.
        sep: what separates the fields of a text file; None is told from the file.
        decimal: the decimal mark, where it is known: with ``","`` a point may stand between thousands.
        new_rows: as in :func:`read_table`.
    """
    path = Path(path)
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        allowed = f"end in {', '.join(SUFFIXES)}, or be a bundled name ({', '.join(BUNDLED)})"
        absent = "" if path.exists() else ", which does not exist"
        near = nearest(path.name, BUNDLED) or ("" if path.exists() else _beside(path))
        raise InputError(f"file must {allowed}, got {str(path)!r}{absent}{near}")
    if not path.is_file():
        raise InputError(f"file must exist, got {str(path)!r}{_beside(path)}")
    try:
        if suffix in _TEXT:
            return _read_text(path, _TEXT[suffix], set(as_text), set(labels), sep, decimal, new_rows)
        return RawTable(named_columns(_BINARY[suffix](path)))
    except UnicodeDecodeError as error:
        raise InputError(
            f"file must be UTF-8 text, got {_first_bad_byte(path)}; save {str(path)!r} as UTF-8"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"table must have rows, got the empty file {str(path)!r}") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = one_line(error)
        raise InputError(f"file {str(path)!r} must be a readable {suffix} table, got: {reason}") from error


def _read_text(
    path: Path,
    usual: str,
    as_text: set[str],
    labels: set[str],
    sep: str | None,
    decimal: str | None,
    new_rows: bool,
) -> RawTable:
    lines = _first_lines(path)
    if not any(line.strip() for line in lines):
        raise pd.errors.EmptyDataError
    layout = tell_layout(lines, usual, sep)
    header = [name.strip() for name in layout.header]
    named_columns(pd.DataFrame(columns=[name for name in header if name]))  # read_csv would rename the second
    names = [name or f"{_NAMELESS}{position}" for position, name in enumerate(header)]
    # low_memory=False: a long column's type could differ from chunk to chunk; index_col=False: with a field more per
    # line than the header has, read_csv would shift every column
    settings: dict[str, Any] = {"sep": layout.separator, "names": names, "low_memory": False, "index_col": False}
    settings |= {"header": 0 if layout.header_line else None, "skipinitialspace": True}
    settings |= {"skip_blank_lines": False} if new_rows else {"skiprows": layout.skipped}

    def read(**more: Any) -> pd.DataFrame:
        source: Path | io.StringIO = path
        if new_rows:
            source = _from_header(path, layout.skipped)
        elif layout.comments:
            source = _uncommented(path)
        return pd.read_csv(source, **settings, **more)  # type: ignore[no-any-return]

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = read(dtype={name: str for name in names if name in as_text})
        except pd.errors.ParserWarning as error:
            raise InputError(
                f"lines of {str(path)!r} must have at most {len(header)} fields, as many as the header, got more"
            ) from error
    words = [name for name in frame.columns if name in labels and frame[name].isna().any()]
    if words:
        every = read(usecols=words, dtype=str, keep_default_na=False)
        frame[words] = every.where(every.map(str.strip) != "")
    rest = [name for name in frame.columns if name not in words]
    if texts := [name for name in rest if _may_be_otherwise(frame[name], decimal)]:
        frame[texts] = read(usecols=texts, dtype=str)
    nameless = [name for name in names if name.startswith(_NAMELESS)]
    notes = [f"{len(nameless)} column without a name (row numbers?) ignored"] if nameless else []
    frame = frame.drop(columns=nameless)
    kept, left_out = (frame, ()) if new_rows else drop_lines(frame)
    if left_out:
        kept = kept.apply(_retyped)
    return RawTable(kept, (*layout.notes, *notes, *left_out), layout.separator)


def _first_lines(path: Path) -> list[str]:
    with _opened(path) as file:
        return list(itertools.islice(file, 4 * LOOKED_AT))


def _opened(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _uncommented(path: Path) -> io.StringIO:
    """Return the text with comment lines empty: lines keep their numbers."""
    with _opened(path) as file:
        return io.StringIO("".join("\n" if line.startswith("#") else line for line in file))


def _from_header(path: Path, skipped: int) -> io.StringIO:
    """Return the text without the first lines, and without blank ones at the end."""
    with _opened(path) as file:
        return io.StringIO("".join(itertools.islice(file, skipped, None)).rstrip("\r\n") + "\n")


def _may_be_otherwise(column: pd.Series[Any], decimal: str | None) -> bool:
    """Say whether the texts of a column of floats may tell more: points between thousands, whole numbers cut short."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return False
    if decimal == ",":
        return True
    values = column.dropna().abs().to_numpy()
    if not values.size or not np.isfinite(values).all():
        return False
    if (values >= EXACT).any() and (values % 1 == 0).all():
        return True
    grouped = (values < 1000).all() and (values >= 1).sum() == (values > 0).sum() and (values % 1 != 0).any()
    if not grouped:
        return False
    thousandths = values * 1000
    return bool(np.allclose(thousandths, thousandths.round(), rtol=0, atol=1e-6))


def _retyped(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as the type it would have been read as without the lines that are left out."""
    present = column.dropna()
    if not len(present) or not present.map(lambda v: isinstance(v, str)).all():
        return column
    texts = present.str.strip()
    if texts.map(is_plain).all():
        return pd.to_numeric(column.str.strip())
    return column.map({"True": True, "False": False}) if texts.isin(["True", "False"]).all() else column


def _first_bad_byte(path: Path) -> str:
    raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return f"byte 0x{raw[error.start]:02x} at offset {error.start}, line {line} (Latin-1 or Windows-1252?)"
    return "another encoding"


def _beside(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
    return nearest(path.name, siblings)
