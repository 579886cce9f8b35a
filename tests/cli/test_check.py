"""``meden check``, and the first look at a table that commands which train begin with."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import meden as package
from meden.diagnosis.tables import quick
from tests.cli.conftest import Command
from tests.cli.test_bad_input import BAD_TABLES, refused
from tests.diagnosis.tables import CASES, clean, repeated, separable

QUICK = ("--target", "y", "--model", "linear", "--folds", "2", "--recipe", "quick.yaml", "--no-baselines")


@pytest.fixture
def leaky(folder: Path) -> pd.DataFrame:
    frame = CASES["target_copy"].planted()
    frame.to_csv("leaky.csv", index=False)
    Path("quick.yaml").write_text("epochs: 1\nbatch_size: 64\n")
    return frame


def test_what_the_command_says_is_what_python_says(meden: Command, leaky: pd.DataFrame) -> None:
    found = package.check(leaky, target="y")
    told = meden("check", "leaky.csv", "--target", "y")
    assert told.status == 0 and "240 rows, 6 features" in told.err
    assert told.out == f"{str(found).replace('tune DATA', 'tune leaky.csv')}\n"
    assert "error target_copy: Column 'more' is the target 'y'" in told.out and "--drop more" in told.out
    as_json = json.loads(meden("check", "leaky.csv", "--target", "y", "--json").out)
    assert as_json["num_rows"] == 240 and [one["code"] for one in as_json["findings"]] == ["target_copy"]


def test_rules_are_selected_and_listed(meden: Command, leaky: pd.DataFrame) -> None:
    assert meden("check", "leaky.csv", "--target", "y", "--ignore", "target_copy").out == "nothing stands out\n"
    assert meden("check", "leaky.csv", "--target", "y", "--select", "tied_rows").out == "nothing stands out\n"
    listed = json.loads(meden("check", "--list", "--json").out)["rules"]
    assert {row["family"] for row in listed} == {"data", "honesty"} and {row["code"] for row in listed} == set(CASES)


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_page(meden: Command, folder: Path, suffix: str) -> None:
    frame = separable(15)
    pd.concat([frame, frame.iloc[:4]]).to_csv("bees.csv", index=False)
    asked = ("check", "bees.csv", "--target", "y", "--report", f"check.{suffix}")
    told = meden(*asked)
    assert told.status == 0 and told.out.endswith(f"Report: check.{suffix}\n")
    page = Path(f"check.{suffix}").read_text().replace("\\_", "_")
    for part in ("duplicate_rows", "label_suspects", "What each column predicts alone", "Probable label errors"):
        assert part in page
    assert "which exists" in meden(*asked).err and meden(*asked, "--force").status == 0


def test_a_split_and_an_order(meden: Command, folder: Path) -> None:
    CASES["rows_across"].planted().to_csv("split.csv", index=False)
    told = meden("check", "split.csv", "--target", "y", "--split", "part").out
    assert "error rows_across: Of 160 scored rows, the fitting rows contain an equal row for 6 (such as rows " in told
    assert "`meden check split.csv --target y --drop part`" in told
    CASES["time_drift"].planted().to_csv("days.csv", index=False)
    assert "time_drift" in meden("check", "days.csv", "--target", "y", "--order", "day").out


FOUND = {"missing_column": "empty_column", "infinite": "unusable_number", "target_missing": "missing_target"}
"""Tables that training refuses, and what ``check`` finds in them."""


@pytest.mark.parametrize("case", FOUND)
def test_what_training_refuses_is_found(meden: Command, folder: Path, case: str) -> None:
    frame, target, _ = BAD_TABLES[case]
    frame.assign(again=frame["size"].rank(), constant=1).to_csv("x.csv", index=False)
    told = meden("check", "x.csv", "--target", target)
    assert told.status == 0 and f"error {FOUND[case]}: " in told.out and "info constant_column: " in told.out


def test_rows_are_named_as_they_are_in_the_file(meden: Command, folder: Path) -> None:
    frame = pd.concat([clean(60), clean(60).iloc[[50]]], ignore_index=True)
    frame.loc[[2, 30], "y"] = None
    frame.assign(part=["train"] * 60 + ["test"]).to_csv("x.csv", index=False)
    alone = meden("check", "x.csv", "--target", "y", "--drop", "part", "--report", "x.md").out
    assert "2 rows of 61 have no usable target 'y': nothing in rows 2 and 30" in alone and "rows 50 and 60" in alone
    assert "| 50 | 60 |" in Path("x.md").read_text()
    divided = meden("check", "x.csv", "--target", "y", "--split", "part").out
    assert "such as rows 60 and 50" in divided and "`" not in divided  # no command trains on such a table


OPTIONS = {
    "plain.csv": [],
    "named.csv": ["--drop", "id", "--na", "n.k.", "--sep", ";", "--decimal", ",", "--read", "count=category"],
    "in time.tsv": ["--order", "day", "--folds", "3", "--task", "classification", "--sep", "tab"],
    "split.csv": ["--split", "part", "--groups", "patient"],
    "empty.csv": [],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_commands_that_are_advised_run_as_they_are(meden: Command, folder: Path, name: str) -> None:
    frame = CASES["target_copy"].planted().sample(frac=1, random_state=0)
    frame = frame.assign(id=range(240), day=range(240), patient=np.arange(240) // 6)
    frame["part"] = np.where(frame["patient"] % 3 == 0, "score", "fit")
    if name == "named.csv":
        frame["length"] = frame["length"].astype(object).where(frame.index > 9, "n.k.")
    if name == "empty.csv":
        frame["nothing"] = None
    semicolons = name == "named.csv"
    separator = ";" if semicolons else "\t" if name.endswith("tsv") else ","
    frame.to_csv(name, index=False, sep=separator, decimal="," if semicolons else ".")
    Path("quick.yaml").write_text("epochs: 1\nbatch_size: 64\n")
    options = OPTIONS[name]
    found = json.loads(meden("check", name, "--target", "y", *options, "--json").out)["findings"]
    lines = {one["code"]: shlex.split(one["command"]) for one in found if one["command"]}
    assert "target_copy" in lines
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert option == "--split" or value in lines["target_copy"]
    for left_out in {"split.csv": ["part"], "empty.csv": ["nothing"]}.get(name, []):
        assert left_out in lines["target_copy"]
    program, command, *rest = lines["target_copy"]
    assert (program, command) == ("meden", "tune")
    quick = ["--model", "linear", "--recipe", "quick.yaml", "--no-baselines", "--search", "l2=1", "--budget", "1"]
    ended = meden(command, *rest, *quick, *([] if "--folds" in rest else ["--folds", "2"]))
    assert ended.status == 0, ended.err
    assert "target_copy" not in ended.err


@pytest.mark.parametrize("case", sorted(set(BAD_TABLES) - {"rare_class", *FOUND}))
def test_bad_tables(meden: Command, folder: Path, case: str) -> None:
    frame, target, told = BAD_TABLES[case]
    frame.to_csv("x.csv", index=False)
    assert told in refused(meden, folder, "check", "x.csv", "--target", target)


def test_no_cell_and_no_name_gives_orders_to_the_terminal(meden: Command, folder: Path) -> None:
    red, left = "\x1b[31mred", "\u202eleft [b]"
    frame = CASES["target_copy"].planted().rename(columns={"more": red, "colour": left})
    frame = frame.assign(y=frame["y"].map({"yes": "\x9b2J yes", "no": "\u0646\u200c no"}))
    frame[left] = [*frame[left][:-1], "\x1b]0;title\x07"]
    frame.to_csv("x.csv", index=False)
    printed = [*meden("check", "x.csv", "--target", "y"), *meden("check", "x.csv", "--target", f"{red}.")]
    printed.append(str(package.check(frame, target="y")))
    told = "".join(part for part in printed if isinstance(part, str))
    assert not {c for c in told if not c.isprintable()} - {"\n", "\u200c"}
    assert r"\x1b[31mred (" in told or r"\x1b[31mred " in told  # the table of readings
    assert r"\u202eleft [b]" in told and r"\x9b2J yes" in told and "did you mean" in told


BAD_OPTIONS = {
    ("--select", "targt_copy"): "did you mean 'target_copy'?",
    ("--ignore", "nothing"): "ignore must name codes or families",
    ("--split", "prat"): "split must be a column of the table, got 'prat'; did you mean 'part'?",
    ("--split", "colour"): "split must be one of fit, train",
    ("--order", "colour"): "order must be a column of numbers or dates",
    ("--groups", "nobody"): "groups must be a column",
    ("--folds", "1"): "folds must be a whole number of at least 2",
    ("--seed", "-1"): "seed must be a whole number of at least 0",
    ("--report", "no/where.html"): "--report must be in an existing folder",
    ("--read", "length"): "--read must look like age=number",
}


@pytest.mark.parametrize("given", BAD_OPTIONS)
def test_bad_options(meden: Command, folder: Path, given: tuple[str, ...]) -> None:
    clean().assign(part="train").to_csv("x.csv", index=False)
    assert BAD_OPTIONS[given] in refused(meden, folder, "check", "x.csv", "--target", "y", *given)


@pytest.mark.parametrize("command", ["check", "learning-curve", "select", "tune", "fit", "compare", "evaluate"])
@pytest.mark.parametrize("path", ["runs/none", "none.csv"])
def test_a_path_that_is_not_there(meden: Command, folder: Path, command: str, path: str) -> None:
    told = refused(meden, folder, command, path, *(["rows.csv"] if command == "evaluate" else ["--target", "y"]))
    assert f"{path!r}" in told and any(said in told for said in ("no such", "does not exist", "must exist"))


def test_too_little_to_check(meden: Command, folder: Path) -> None:
    clean(1).to_csv("one.csv", index=False)
    assert "at least two different values" in refused(meden, folder, "check", "one.csv", "--target", "y")
    clean(40).assign(part="train").to_csv("fit.csv", index=False)
    told = refused(meden, folder, "check", "fit.csv", "--target", "y", "--split", "part")
    assert "split must have rows that score (score, test), got only 'train'" in told and "write test" not in told
    clean(40).assign(part=["train", "valid"] * 20).to_csv("two.csv", index=False)
    told = refused(meden, folder, "check", "two.csv", "--target", "y", "--split", "part")
    assert "got only 'train' and 'valid'; write test for rows that only give the score" in told
    assert "data must be a file" in refused(meden, folder, "check")
    few = clean(12).assign(part=["train", "test"] * 6, patient=range(12), day=range(12))
    few.to_csv("few.csv", index=False)
    for options in (("--split", "part"), ("--order", "day"), ("--groups", "patient"), ("--folds", "5")):
        assert meden("check", "few.csv", "--target", "y", *options).status == 0


def test_commands_that_train_begin_with_a_first_look(meden: Command, leaky: pd.DataFrame) -> None:
    tune = meden("tune", "leaky.csv", *QUICK, "--search", "l2=1e-3,1", "--budget", "1", "--out", "study")
    fit = meden("fit", "leaky.csv", "--target", "y", "--model", "linear", "--recipe", "quick.yaml", "--out", "run")
    compare = meden(
        "compare", "leaky.csv", "--target", "y", "--model", "linear", "--recipe", "quick.yaml", "--folds", "2"
    )
    for ended in (tune, fit, compare):
        assert ended.status == 0, ended.err
        lines = [line for line in ended.err.splitlines() if "target_copy" in line]
        assert len(lines) == 1 and lines[0].startswith("error target_copy: Column 'more' is the target")
    assert "target_copy" not in meden("resume", "study").err


def test_a_first_look_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    table = package.study.check.table_of(package.as_dataset(repeated(8), target="y"))
    assert [one.code for one in quick.first_look(table)] == ["duplicate_rows"]
    assert quick.first_look(table, seconds=-1.0) == ()
    draw = np.random.default_rng(0)
    wide = pd.DataFrame(draw.standard_normal((20_000, 150))).add_prefix("x").assign(y=draw.random(20_000))
    large = package.study.check.table_of(package.as_dataset(wide, target="y"))
    looked: list[int] = []
    rule = next(rule for rule in quick.RULES if rule.code == "duplicate_rows")
    monkeypatch.setattr(quick, "RULES", (rule,))
    monkeypatch.setattr(type(rule), "__call__", lambda _, table: looked.append(table.num_rows))
    began = time.process_time()
    quick.first_look(large)
    assert looked == [quick.MOST_CELLS // 150] and time.process_time() - began < 5
