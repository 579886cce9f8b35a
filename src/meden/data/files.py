"""Tables from files (CSV, TSV, Parquet, Feather, through pandas) and scikit-learn's bundled ones."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from meden._checks import InputError, nearest
from meden.data.tables import named_columns

_TEXT = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
_BINARY: dict[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".feather": pd.read_feather}
SUFFIXES = (*_TEXT, *_BINARY)

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


def read_table(path: str | Path, *, as_text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table from a file, by its suffix: .csv, .tsv (also .gz), .parquet or .feather.

    Text is UTF-8 with a header line. Empty fields and pandas' usual words for nothing (``NA``, ``N/A``, ``NaN``,
    ``null``, ``None``, ...) are missing values; pass a DataFrame of your own to keep such words as strings.

    Args:
        path: the file.
        as_text: columns of a text file to read as strings even if they look like numbers (for new rows of a table
            where they were strings).

    Raises:
        InputError: if the file is missing, unreadable, not UTF-8, empty, of an unknown suffix, or names a column twice.
    """
    path = Path(path)
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        allowed = f"end in {', '.join(SUFFIXES)}, or be a bundled name ({', '.join(BUNDLED)})"
        raise InputError(f"file must {allowed}, got {str(path)!r}{nearest(path.name, BUNDLED)}")
    if not path.is_file():
        raise InputError(f"file must exist, got {str(path)!r}{_beside(path)}")
    try:
        frame = _read_text(path, _TEXT[suffix], set(as_text)) if suffix in _TEXT else _BINARY[suffix](path)
    except UnicodeDecodeError as error:
        raise InputError(
            f"file must be UTF-8 text, got {_first_bad_byte(path)}; save {str(path)!r} as UTF-8"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"table must have rows, got the empty file {str(path)!r}") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"file {str(path)!r} must be a readable {suffix} table, got: {reason}") from error
    return named_columns(frame)


def _read_text(path: Path, separator: str, as_text: set[str]) -> pd.DataFrame:
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    named_columns(pd.DataFrame(columns=[name for name in header if name]))  # read_csv would rename the second
    types = {name: str for name in header if name in as_text}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:  # low_memory=False: a long column's type could differ from chunk to chunk; index_col=False: with a field
            # more per line than the header has, read_csv would shift every column
            frame = pd.read_csv(path, sep=separator, dtype=types, low_memory=False, index_col=False)
        except pd.errors.ParserWarning as error:
            raise InputError(
                f"lines of {str(path)!r} must have {len(header)} fields, as its header, got more"
            ) from error
    nameless = [name for name, given in zip(frame.columns, header, strict=True) if not given]
    if nameless:
        warnings.warn(f"{len(nameless)} column without a name in {str(path)!r} (row numbers?) left out", stacklevel=4)
    return frame.drop(columns=nameless)


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
