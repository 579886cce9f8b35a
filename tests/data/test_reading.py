"""Reading: tables give what a person would read in them, or a line that names the column; new rows are read alike."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meden._checks import InputError
from meden.data import Dataset, Encoder, as_dataset
from meden.data.files import read_file
from meden.data.reading import ReadingWarning
from tests.data.written_tables import ANSWERS, LABELS, NUMBERS, WRITTEN, Written

SAID = {
    "early days, day first": "column 'a'.*'01/12/2024' was read month first, but no cell decides it",
    "target euro": "column 'y'.*'108,020 €' was read as 108020, but no cell decides it; with decimal ',' it is 108.02",
}
"""What no cell tells, and is therefore said."""
REFUSED = "a line that names the cell"


def read(folder: Path, table: str, **settings: Any) -> tuple[Dataset, str]:
    """Return a data set, and what was said of it."""
    path = folder / "t.csv"
    path.write_text(table, encoding="utf-8", newline="")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = as_dataset(path, target="y", **settings)
    return data, "; ".join(str(one.message) for one in caught if issubclass(one.category, ReadingWarning))


def same(found: Any, right: Any) -> bool:
    gone = found is None or (isinstance(found, float) and np.isnan(found))
    if right is None or gone:
        return right is None and gone
    return found == right if isinstance(right, str) else bool(np.isclose(float(found), right, rtol=1e-9))


@pytest.mark.parametrize("table", WRITTEN, ids=[table.name for table in WRITTEN])
def test_what_a_person_would_read(tmp_path: Path, table: Written) -> None:
    (tmp_path / "t.csv").write_text(table.text, encoding=table.encoding, newline="")
    if table.y[0] == REFUSED:
        with pytest.raises(InputError, match=r"target 'y' must hold numbers, as in most rows, got '.*' \(row \d+\)"):
            as_dataset(tmp_path / "t.csv", target="y")
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = as_dataset(tmp_path / "t.csv", target="y")
    if table.name in SAID:
        assert pd.Series([str(one.message) for one in caught]).str.contains(SAID[table.name]).any()
        return
    values, labels = data.inputs.values["a"], [data.classes[i] for i in data.labels] if data.classes else data.labels
    assert [(f, r) for f, r in zip(values, table.a, strict=True) if not same(f, r)] == []
    assert [(f, r) for f, r in zip(labels, table.y, strict=True) if not same(f, r)] == []


def table_of(cells: list[Any], sep: str = ",") -> str:
    rows = zip(cells, LABELS, ANSWERS, strict=True)
    return sep.join("aby") + "\n" + "".join(sep.join([f'"{cell}"', *rest]) + "\n" for cell, *rest in rows)


COLUMNS = [
    ("plain", NUMBERS, "number", ""),
    ("decimal comma", [str(v).replace(".", ",") for v in NUMBERS], "number", "decimal comma"),
    ("unit", [f"{v} mg" for v in NUMBERS], "number", "'mg' removed"),
    ("marks", ["?", "?", *NUMBERS[2:]], "number", "2 missing: '?'"),
    ("typo", ["1.2.3", *NUMBERS[1:]], "number", "unreadable, so taken as missing: '1.2.3' (row 0)"),
    ("days", [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2024" for i in range(40)], "date", "day first"),
    ("far", [-999.0, *NUMBERS[1:]], "number", "-999 (1 rows) lies far from all other values"),
    ("labels", LABELS, "category", ""),
]


@pytest.mark.parametrize(("cells", "kind", "said"), [one[1:] for one in COLUMNS], ids=[one[0] for one in COLUMNS])
def test_each_column_has_a_reading(tmp_path: Path, cells: list[Any], kind: str, said: str) -> None:
    data, warned = read(tmp_path, table_of(cells))
    assert [reading.name for reading in data.readings] == ["y", "a", "b"]
    reading = data.readings[1]
    assert reading.kind == kind
    assert said in "; ".join(reading.remarks) and said in warned
    assert bool(warned) == bool(said)


@pytest.mark.parametrize(("cells", "kind", "said"), [one[1:] for one in COLUMNS], ids=[one[0] for one in COLUMNS])
def test_new_rows_are_read_alike(tmp_path: Path, cells: list[Any], kind: str, said: str) -> None:
    data, _ = read(tmp_path, table_of(cells))
    encoder = data.fit_encoder(range(data.num_rows))
    copy = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert copy == encoder
    for part in (slice(0, 40), slice(20, 23)):  # three rows alone would tell less
        (tmp_path / "new.csv").write_text(table_of(cells).splitlines()[0] + "\n" + "".join(
            line + "\n" for line in table_of(cells).splitlines()[1:][part]))  # fmt: skip
        frame = read_file(tmp_path / "new.csv", as_text=copy.text_columns).frame
        assert torch.equal(copy.transform_frame(frame), data.features(encoder, np.arange(40)[part])), (kind, said)


def test_new_rows_without_thousands_are_refused_where_they_would_mean_another_number(tmp_path: Path) -> None:
    cells = [f"{1000 + 37 * i:,}".replace(",", ".") + ",5" for i in range(40)]
    data, _ = read(tmp_path, table_of(cells, ";"))
    encoder = data.fit_encoder(range(40))
    (tmp_path / "new.csv").write_text("a;b\n1.234;u\n")
    frame = read_file(tmp_path / "new.csv", as_text=encoder.text_columns).frame
    assert encoder.inputs.read(frame).values["a"].tolist() == [1234.0]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"column 'a' must hold numbers, got '12.3' \(row 0\)"):
        encoder.transform_frame(pd.DataFrame({"a": ["12.3"], "b": ["u"]}))


ASKED = [
    ("number", ["1", "2", "x", "y"] * 10, [1.0, 2.0, None, None]),
    ("category", ["1,5", "2,5"] * 20, ["1,5", "2,5"]),
    ("date", ["2024-01-02", "soon"] * 20, [19724.0, None]),
]


@pytest.mark.parametrize(("kind", "cells", "first"), ASKED)
def test_a_kind_may_be_asked_for(tmp_path: Path, kind: str, cells: list[str], first: list[Any]) -> None:
    data, _ = read(tmp_path, table_of(cells), read={"a": kind})
    values = data.inputs.values["a"]  # type: ignore[union-attr]
    assert all(same(found, right) for found, right in zip(values, first, strict=False))
    assert data.origin is not None and data.origin["read"] == {"a": kind}
    dropped, _ = read(tmp_path, table_of(cells), read={"a": "drop"})
    assert dropped.feature_names == ("b",)
    assert [(r.name, r.kind) for r in dropped.readings][-1] == ("a", "dropped")


def test_decimal_mark_separator_and_missing_marks_may_be_given(tmp_path: Path) -> None:
    whole = [f"{1 + i}.{100 + i}" for i in range(40)]
    as_thousands, _ = read(tmp_path, table_of(whole), decimal=",")
    assert as_thousands.inputs.values["a"][0] == 1100.0  # type: ignore[union-attr]
    as_decimals, _ = read(tmp_path, table_of(whole), decimal=".")
    assert as_decimals.inputs.values["a"][0] == 1.1  # type: ignore[union-attr]
    marked, said = read(tmp_path, table_of([-999, "-999.0", *NUMBERS[2:]]), na=["-999"])
    assert np.isnan(marked.inputs.values["a"]).sum() == 2 and "far" not in said  # type: ignore[union-attr]
    other, _ = read(tmp_path, "a:b:y\n" + "1:u:yes\n2:v:no\n" * 4, sep=":")
    assert other.feature_names == ("a", "b")


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"read": {"a": "text"}}, "read of 'a' must be one of number, category, date, drop, got 'text'"),
    ({"read": {"aa": "number"}}, "read must be a column of the table"),
    ({"read": {"y": "drop"}}, "read of the target 'y' must be number or category"),
    ({"read": {"b": "number"}}, "read of 'b' must be a kind that its cells can be read as, got 'number' for 'u'"),
    ({"sep": ";;"}, "sep must be one character"),
    ({"decimal": "'"}, "decimal must be one of"),
    ({"na": "-999"}, "na must be a list of texts"),
]


@pytest.mark.parametrize(("settings", "said"), BAD_OPTIONS)
def test_bad_options(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, table_of(NUMBERS), **settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_number_beside_which_all_others_vanish_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'a' must hold numbers of similar scale, got 1e\+39 \(row 3\)"):
        read(tmp_path, table_of([*NUMBERS[:3], "1e39", *NUMBERS[4:]]))
    with pytest.raises(InputError, match=r"column 'a' must hold finite values.*row 3"):
        read(tmp_path, table_of([*NUMBERS[:3], "inf", *NUMBERS[4:]]))
    data, _ = read(tmp_path, table_of([v * 1e39 for v in NUMBERS]))  # a unit is no fault
    encoder = data.fit_encoder(range(40))
    with pytest.raises(InputError, match=r"column 'a'.*got 1e\+300 \(row 1\)"):
        encoder.transform_frame(pd.DataFrame({"a": [1e39, 1e300], "b": ["u", "v"]}))


@pytest.mark.parametrize("seed", range(3))
def test_numbers_with_missing_words_have_the_bits_of_pandas(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = [repr(v) for v in rng.normal(size=40) * 10.0 ** rng.integers(-30, 30, 40)]
    plain = pd.DataFrame({"a": cells, "y": ANSWERS})
    plain.to_csv(tmp_path / "t.csv", index=False)
    expected = pd.read_csv(tmp_path / "t.csv")["a"].to_numpy()
    plain.loc[3, "a"] = "?"
    data, _ = read(tmp_path, plain.to_csv(index=False))
    kept = np.arange(40) != 3
    assert np.array_equal(data.inputs.values["a"][kept], expected[kept])  # type: ignore[union-attr]


def test_a_frame_of_strings_is_read_as_a_file(tmp_path: Path) -> None:
    for table in WRITTEN[:60]:
        (tmp_path / "t.csv").write_text(table.text, encoding=table.encoding, newline="")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from_file = as_dataset(tmp_path / "t.csv", target="y")
            raw = read_file(tmp_path / "t.csv", labels=["y"])
            from_frame = as_dataset(raw.frame, target="y")
        if raw.separator != ";":
            assert from_file.content_hash() == from_frame.content_hash(), table.name


def test_other_libraries() -> None:
    pyarrow, sparse = pytest.importorskip("pyarrow"), pytest.importorskip("scipy.sparse")
    frame = pd.DataFrame({"a": [1.0, None, 3.0, 4.0], "b": ["u", "v", "u", "v"], "y": ["yes", "no", "yes", "no"]})
    expected = as_dataset(frame, target="y").content_hash()
    assert as_dataset(pyarrow.Table.from_pandas(frame), target="y").content_hash() == expected
    x = np.eye(4, dtype=np.float32)
    dense = as_dataset((x, ANSWERS[:4])).content_hash()
    for form in (sparse.csr_matrix(x), sparse.coo_array(x), torch.tensor(x).to_sparse()):
        assert as_dataset((form, ANSWERS[:4])).content_hash() == dense
    with pytest.raises(InputError, match=r"must take at most 2 GiB when dense, got a sparse one that takes 37\.3 GiB"):
        as_dataset((sparse.csr_matrix((10**5, 10**5)), ANSWERS[:4]))


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = pd.DataFrame({"a": [1.0, None, 3.0, 4.0], "b": ["u", "v", "u", "v"], "y": ["yes", "no", "yes", "no"]})
    given = polars.DataFrame(frame.to_dict("list"))
    assert as_dataset(given, target="y").content_hash() == as_dataset(frame, target="y").content_hash()
    assert as_dataset((given.drop("y"), given["y"])).target == "y"
    with pytest.raises(InputError, match=r"LazyFrame; pass data.collect\(\)"):
        as_dataset(given.lazy(), target="y")
