"""Real tables with strings and missing values: what the command line predicts is what Python predicts."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from meden.data import read_table
from meden.run import load_run
from tests.cli.conftest import Command

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLES = {"credit_g": "class", "ames_housing": "SalePrice"}


@pytest.mark.parametrize("name", TABLES)
def test_tune_and_predict(meden: Command, folder: Path, name: str) -> None:
    source = DATA / name / f"{name}.csv"
    if not source.exists():
        pytest.skip("needs the real tables (MEDEN_DATA)")
    Path("quick.yaml").write_text("epochs: 3\nbatch_size: 256\n")
    options = ("--target", TABLES[name], "--recipe", "quick.yaml", "--folds", "2", "--budget", "2", "--out", "study")
    assert meden("tune", source, *options).status == 0
    frame = read_table(source).drop(columns=TABLES[name]).sample(300, random_state=0)
    frame.to_csv("rows.csv", index=False)
    ended = meden("predict", "study", "rows.csv", "-o", "out.csv")
    assert ended.status == 0 and ended.out.startswith("300 predictions")
    expected = load_run("study").predict(frame).frame()
    pd.testing.assert_frame_equal(pd.read_csv("out.csv"), expected, check_exact=True)
