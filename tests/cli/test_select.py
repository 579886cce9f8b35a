"""``meden select``: what it prints, what it writes, and how it goes on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Command

QUICK = ("--model", "linear", "--strengths", "4", "--folds", "2", "--recipe", "quick.yaml")


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    """Prices that follow from a size and a colour, beside two columns of noise."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"=size": random.normal(size=90), "[b]": random.normal(size=90), "other": random.random(90)})
    frame["colour"] = random.choice(["red", "blue"], size=90)
    frame["price"] = frame["=size"] + 2 * (frame["colour"] == "red") + 0.1 * random.normal(size=90)
    frame.to_csv("table.csv", index=False)
    Path("quick.yaml").write_text("optimizer: adam\nlr: 0.05\nepochs: 20\nbatch_size: 32\n")
    return frame


@pytest.mark.usefixtures("table")
def test_columns_by_name_a_page_a_table_and_going_on(meden: Command) -> None:
    command = ("select", "table.csv", "--target", "price", *QUICK, "--out", "selected")
    ended = meden(*command)
    assert ended.status == 0
    assert "of 4 columns survive at the one-SE strength" in ended.out and "[b]" in ended.out
    assert "Held-out R2" in ended.out and "noise columns" in ended.out
    written = pd.read_csv("selected/columns.csv").set_index("name")
    assert set(written.index) == {"'=size", "[b]", "other", "colour"} and written.kept[["'=size", "colour"]].all()
    assert "meden select table.csv" in Path("selected/report.html").read_text()
    again = meden(*command, "--json")
    found = json.loads(again.out)
    assert found["kept"] == [
        name.removeprefix("'") for name in ("=size", "[b]", "other", "colour") if name in found["kept"]
    ]
    assert [column["name"] for column in found["columns"]] == [name.removeprefix("'") for name in written.index]
    other = meden(*command, "--seed", "1")
    assert other.status == 2 and other.err.count("\n") < 30
    assert "error: --out 'selected' must be empty or hold this same study" in " ".join(other.err.split())


@pytest.mark.usefixtures("table")
def test_a_recipe_that_diverges_is_named(meden: Command) -> None:
    Path("wild.yaml").write_text("optimizer: sgd\nlr: 1.0e+20\nepochs: 5\n")
    ended = meden("select", "table.csv", "-t", "price", *QUICK[:-1], "wild.yaml", "--no-noise")
    assert ended.status == 1 and "failed: recipe must train" in ended.err and "lower its lr" in ended.err


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("table.csv", "-t", "cost"), "target must be a column of the table"),
        (("table.csv", "-t", "price", "--penalty", "l2"), "--penalty must be one of group_lasso, group_mcp"),
        (("table.csv", "-t", "price", "--model", "tabular"), "--model must be one of mlp, skip, linear"),
        (("table.csv", "-t", "price", "--strengths", "1"), "--strengths must be"),
        (("table.csv", "-t", "price", "--rate", "1"), "--rate must be"),
        (("table.csv", "-t", "price", "--drop", "other", "--drop", "[b]", "--drop", "colour"), "two or more columns"),
        (("table.csv", "-t", "price", "--out", "."), "--out must be a new or empty folder"),
        (("table.csv", "-t", "price", "--folds", "1"), "folds must be"),
    ],
)
def test_bad_input_is_one_line(meden: Command, given: tuple[str, ...], said: str) -> None:
    ended = meden("select", *given)
    assert ended.status == 2 and said in ended.err and ended.err.strip().count("error:") == 1
