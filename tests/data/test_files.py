"""Files: what is read, and the one line that every unreadable one gets."""

import csv
import gzip
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meden._checks import InputError
from meden.data import BUNDLED, as_dataset, read_table
from meden.data.layout import LONGEST_CELL

GOOD = b"a,y\n1,yes\n2,no\n3,yes\n4,no\n"


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", GOOD),
        ("t.CSV", GOOD),
        ("bom.csv", b"\xef\xbb\xbf" + GOOD),
        ("t.tsv", GOOD.replace(b",", b"\t")),
        ("t.csv.gz", gzip.compress(GOOD, mtime=0)),
        ("trailing.csv", b"a,y\n1,yes,\n2,no,\n3,yes,\n4,no,\n"),
    ],
)
def test_text_tables(tmp_path: Path, name: str, content: bytes) -> None:
    data = as_dataset(write(tmp_path, name, content), target="y")
    assert data.feature_names == ("a",)
    assert data.classes == ("no", "yes")
    assert data.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_binary_tables_equal_the_csv(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"a": [1.5, None, 3.0, 4.0], "b": ["x", None, "x", "y"], "y": ["u", "v", "u", "v"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    getattr(frame, f"to_{suffix}")(tmp_path / f"t.{suffix}")
    hashes = {as_dataset(tmp_path / name, target="y").content_hash() for name in ("t.csv", f"t.{suffix}")}
    assert hashes == {as_dataset(frame, target="y").content_hash()}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_tables(name: str) -> None:
    data = as_dataset(name)
    assert data.task == ("regression" if name == "diabetes" else "classification")
    assert len(data.classes) == {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2, "diabetes": 0}[name]
    assert data.num_outputs == (len(data.classes) or 1)


BAD_FILES = [
    ("accent.csv", b"a,y\n1,2\ncaf\xe9,3\n", "byte 0xe9 at offset 11, line 3"),
    ("accent.csv.gz", gzip.compress(b"a,y\n1,2\ncaf\xe9,3\n", mtime=0), "byte 0xe9 at offset 11, line 3"),
    ("wide.csv", "a,y\n1,2\n".encode("utf-16"), "UTF-16"),
    ("empty.csv", b"", "rows, got the empty file"),
    ("header.csv", b"a,y\n", "must have rows, got none"),
    ("twice.csv", b"a,a,y\n1,2,3\n1,2,4\n", "unique, got duplicates of 'a'"),
    ("ragged.csv", b"a,y\n1,2\n1,2,3\n", "Expected 2 fields in line 3"),
    ("shifted.csv", b"a,y\n0,1,2\n1,2,3\n", "must have at most 2 fields"),
    ("bad.parquet", b"nonsense", "readable .parquet table"),
    ("bad.feather", b"nonsense", "readable .feather table"),
    ("bad.csv.gz", b"nonsense", "readable .csv.gz table"),
    ("cut.csv.gz", gzip.compress(GOOD * 99, mtime=0)[:-20], "readable .csv.gz table"),
    ("t.txt", GOOD, "must end in .csv"),
    ("t.xlsx", GOOD, "must end in .csv"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_bad_files_get_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        as_dataset(write(tmp_path, name, content), target="y")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "titanic.csv", GOOD)
    with pytest.raises(InputError, match=r"must exist, got .*titanik.csv'; did you mean 'titanic.csv'\?"):
        read_table(tmp_path / "titanik.csv")
    with pytest.raises(InputError, match="must exist"):
        read_table(tmp_path / "no" / "such.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="must exist"):
        read_table(tmp_path / "folder.csv")


def test_a_misspelt_bundled_name_is_suggested() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        as_dataset("digts")


def test_row_numbers_without_a_name_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": [1, 2, 3, 4], "y": ["u", "v", "u", "v"]}).to_csv(path)
    with pytest.warns(UserWarning, match="without a name"):
        assert as_dataset(path, target="y").feature_names == ("a",)


def test_words_for_nothing_are_missing(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, "t.csv", b"a,b\nNA,None\n,x\n1,null\n"))
    assert frame["a"].isna().tolist() == [True, True, False]
    assert frame["b"].isna().tolist() == [True, False, True]


def test_columns_read_as_text_keep_their_zeros(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", b"code,n\n007,1\n,2\n")
    assert read_table(path, as_text=["code"])["code"].iloc[0] == "007"
    assert read_table(path)["code"].iloc[0] == 7


def test_a_long_mixed_column_has_one_type(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "1\n" * 300_000 + "x\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = read_table(path)
    assert {type(v) for v in frame["a"].iloc[[0, -1]]} == {str}


def test_long_cells_and_headers_are_read(tmp_path: Path) -> None:
    usual = csv.field_size_limit()
    frame = pd.DataFrame({"n" * 3_000_000: [1.5, 2.5, 3.5], "b": ["x, " * 70_000, "y", "z"], "y": ["u", "v", "u"]})
    frame.to_csv(tmp_path / "long.csv", index=False)
    assert [len(name) for name in read_table(tmp_path / "long.csv")] == [3_000_000, 1, 1]
    assert read_table(tmp_path / "long.csv")["b"].tolist() == frame["b"].tolist()
    (tmp_path / "open.csv").write_text('a,b\n1,"' + "x" * (LONGEST_CELL + 1) + "\n")
    with pytest.raises(InputError, match=r"cells must hold at most 16,777,216 characters, got a longer one"):
        read_table(tmp_path / "open.csv")
    assert csv.field_size_limit() == usual


@pytest.mark.parametrize("sep", ["", "||", '"', "\n", 3])
def test_a_separator_that_is_none(tmp_path: Path, sep: Any) -> None:
    with pytest.raises(InputError, match="sep must be one character, such as ';', got"):
        read_table(write(tmp_path, "t.csv", b"a,b\n1,2\n"), sep=sep)
