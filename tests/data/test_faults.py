"""Tables that training refuses: what is wrong is told, and the rest is read as if it were alone."""

import numpy as np
import pytest

from meden import InputError, as_dataset
from meden.data.faults import Faults, read_with_faults
from meden.data.reading import ReadOptions
from tests.diagnosis.tables import clean, numbers


def read(frame, **options):
    return read_with_faults(frame, target="y", **options)


def test_a_sound_table_is_read_as_ever():
    dataset, faults = read(clean())
    assert faults == Faults() and dataset.content_hash() == as_dataset(clean(), target="y").content_hash()


def test_the_rest_is_read_as_if_it_were_alone():
    frame = numbers(40).assign(empty=None, nothing="?", patient=np.arange(40.0) // 2).astype({"y": object})
    frame.loc[3, "y"], frame.loc[5, "y"], frame.loc[6, "y"], frame.loc[8, "patient"] = None, "n.k.", -np.inf, np.nan
    frame.loc[[10, 12], "length"], frame.loc[11, "width"] = [np.inf, -np.inf], 1e35
    with pytest.raises(InputError):
        as_dataset(frame, target="y", groups="patient")
    dataset, faults = read(frame, groups="patient", options=ReadOptions(na=["?"]))
    assert faults.empty == ("empty", "nothing") and faults.unreadable == {}
    assert faults.cells == {"length": ((10, "inf"), (12, "-inf")), "width": ((11, "1e+35"),)}
    assert faults.unlabelled == ((3, ""), (5, "n.k."), (6, "-inf")) and faults.ungrouped == ((8, ""),)
    assert faults.in_cells and faults.columns == ("empty", "nothing")
    rows = np.setdiff1d(np.arange(40), [3, 5, 6, 8])
    assert faults.rows.tolist() == rows.tolist()
    mended = frame.drop(columns=["empty", "nothing"]).astype({"y": object})
    mended.loc[[10, 12], "length"], mended.loc[11, "width"] = np.nan, np.nan
    alone = as_dataset(mended.iloc[rows].reset_index(drop=True).astype({"y": float}), target="y", groups="patient")
    assert dataset.content_hash() == alone.content_hash()


def test_cells_as_texts_are_named_by_their_rows_in_the_table():
    frame = clean(40).astype({"length": object})
    frame.loc[1, "y"], frame.loc[4, "length"], frame.loc[7, "length"] = None, "1e999", "see note"
    dataset, faults = read(frame.astype({"length": str}))
    assert faults.cells == {"length": ((4, "1e999"),)}
    assert {reading.name: reading.unread for reading in dataset.readings if reading.unread} == {
        "length": ((7, "see note"),)
    }


def test_columns_of_lists_are_left_out_and_said():
    dataset, faults = read(clean(30).assign(path=[[1, 2]] * 30))
    assert list(faults.unreadable) == ["path"] and "must hold numbers, strings" in faults.unreadable["path"]
    assert "path" not in dataset.feature_names and not faults.in_cells


REFUSED = {
    "constant": (clean(30).assign(y="a"), {}, "at least two different values"),
    "no target at all": (clean(30).assign(y=None), {}, "30 missing of 30"),
    "nothing but the target": (clean(30)[["y"]].assign(x=None), {}, "at least one column besides the target"),
    "unknown column": (clean(30), {"drop": ["lenght"]}, "did you mean 'length'"),
    "asked for numbers": (clean(30), {"options": ReadOptions(read={"colour": "number"})}, "read of 'colour'"),
    "labels of other rows": (clean(30), {"groups": [1, 2]}, r"one label per row \(30\), got 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_at_all_is_refused(case):
    frame, options, told = REFUSED[case]
    with pytest.raises(InputError, match=told):
        read(frame, **options)
