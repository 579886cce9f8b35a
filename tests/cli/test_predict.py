"""``meden predict``: names of rows are kept, and a target that is there is said to be ignored."""

from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Command
from tests.cli.test_evaluate import FIT, table


@pytest.fixture
def trained(meden: Command, folder: Path) -> pd.DataFrame:
    frame = table()
    frame.to_csv("x.csv", index=False)
    assert meden("fit", "x.csv", *FIT, "--drop", "who").status == 0
    return frame


def test_names_of_rows_come_first_as_they_are_written(meden: Command, trained: pd.DataFrame) -> None:
    names = ["007", "NA", "=1+1", "-5", "1e3", "a b", *(f"n{k}" for k in range(84))]
    trained.drop(columns="y").assign(key=names).to_csv("new.csv", index=False)
    plain = meden("predict", "run", "new.csv", "-o", "plain.csv")
    ended = meden("predict", "run", "new.csv", "-o", "named.csv", "--id", "key")
    assert (plain.status, ended.status, ended.err) == (0, 0, "")
    found = pd.read_csv("named.csv", dtype=str, keep_default_na=False)
    assert found.columns[0] == "key"
    assert found["key"].tolist() == [f"'{name}" if name == "=1+1" else name for name in names]
    pd.testing.assert_frame_equal(found.drop(columns="key"), pd.read_csv("plain.csv", dtype=str))
    assert meden("predict", "run", "new.csv", "-o", "raw.csv", "--id", "key", "--raw").status == 0
    assert pd.read_csv("raw.csv", dtype=str, keep_default_na=False)["key"].tolist() == names


def test_a_feature_may_name_the_rows(meden: Command, trained: pd.DataFrame) -> None:
    trained.drop(columns="y").to_csv("new.csv", index=False)
    for out, options in (("plain.csv", ()), ("named.csv", ("--id", "a"))):
        assert meden("predict", "run", "new.csv", "-o", out, *options).status == 0
    found = pd.read_csv("named.csv")
    pd.testing.assert_frame_equal(found.drop(columns="a"), pd.read_csv("plain.csv"))
    assert found["a"].tolist() == pd.read_csv("new.csv")["a"].tolist()


BAD = {
    "twice": (lambda f: f.assign(key=["k", *f.index[:-2], "k"]), "'k' more than once (first in row 0; 2 such rows)"),
    "nothing": (lambda f: f.assign(key=f["a"].where(f.index > 1)), "nothing (first in row 0; 2 such rows)"),
    "elsewhere": (lambda f: f.assign(keys=f.index), "--id must be a column of the table"),
}


@pytest.mark.parametrize(("spoiled", "told"), BAD.values(), ids=BAD)
def test_names_that_name_no_single_row(meden: Command, trained: pd.DataFrame, spoiled, told: str) -> None:  # type: ignore[no-untyped-def]
    spoiled(trained.drop(columns="y")).to_csv("new.csv", index=False)
    ended = meden("predict", "run", "new.csv", "--id", "key")
    assert ended.status == 2 and told in ended.err and ended.err.count("\n") == 1, ended.err
    assert not Path("predictions.csv").exists()


@pytest.mark.parametrize("name", ["prediction", "p_yes"])
def test_names_that_are_called_as_predictions_are(meden: Command, trained: pd.DataFrame, name: str) -> None:
    trained.drop(columns="y").assign(**{name: trained.index}).to_csv("new.csv", index=False)
    assert "--id must not have the name of a prediction column" in meden("predict", "run", "new.csv", "--id", name).err


def test_a_target_that_is_there_is_said_to_be_ignored(meden: Command, trained: pd.DataFrame) -> None:
    ended = meden("predict", "run", "x.csv", "-o", "a.csv")
    assert ended.status == 0 and ended.err.count("\n") == 1
    assert "column 'y' is the target and is ignored" in ended.err and "meden evaluate run x.csv" in ended.err
    trained.drop(columns="y").to_csv("new.csv", index=False)
    assert meden("predict", "run", "new.csv", "-o", "b.csv").err == ""
    assert Path("a.csv").read_text() == Path("b.csv").read_text()
