"""Bad input: one clear line, exit 2, no traceback, nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meden._files import FORMAT, MAJOR
from meden.history import History, Record
from tests.cli.conftest import Command


def table(num_rows: int = 30) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": random.normal(size=num_rows),
            "colour": random.choice(["red", "blue"], size=num_rows),
            "price": random.choice(["low", "high"], size=num_rows),
        }
    )


def refused(meden: Command, folder: Path, *arguments: object) -> str:
    before = sorted(folder.rglob("*"))
    ended = meden(*arguments)
    assert ended.status == 2, ended.err
    line = ended.err.strip().removeprefix("error: ")
    assert ended.err.startswith("error: ") and "\n" not in line and "Traceback" not in ended.err
    assert ended.out == "" and sorted(folder.rglob("*")) == before
    return line


def test_missing_file_suggests_one_beside_it(meden: Command, folder: Path) -> None:
    table().to_csv("prices.csv", index=False)
    assert "did you mean 'prices.csv'" in refused(meden, folder, "tune", "price.csv", "--target", "price")


def test_unreadable_file(meden: Command, folder: Path) -> None:
    Path("x.parquet").write_bytes(b"no parquet")
    assert "must be a readable .parquet table" in refused(meden, folder, "tune", "x.parquet", "--target", "y")
    Path("x.csv").mkdir()
    assert "file must exist" in refused(meden, folder, "tune", "x.csv", "--target", "y")


@pytest.mark.parametrize("content", ["", "size,price\n"])
def test_empty_table(meden: Command, folder: Path, content: str) -> None:
    Path("x.csv").write_text(content)
    assert "must have rows" in refused(meden, folder, "tune", "x.csv", "--target", "price")


def test_text_that_is_not_utf8(meden: Command, folder: Path) -> None:
    Path("x.csv").write_bytes("größe,price\n1,2\n".encode("latin-1"))
    assert "file must be UTF-8 text" in refused(meden, folder, "tune", "x.csv", "--target", "price")


BAD_TABLES = {
    "target_absent": (table(), "prcie", "did you mean 'price'"),
    "target_constant": (table().assign(price="low"), "price", "at least two different values"),
    "rare_class": (
        table().assign(price=["rare"] + ["low"] * 29),
        "price",
        "two or more rows, to train on and to score",
    ),
    "missing_column": (table().assign(colour=None), "price", "only empty cells in 'colour'"),
    "infinite": (table().assign(size=[np.inf] + [0.5] * 29), "price", "size"),
    "target_missing": (table().assign(price=[None] + ["a", "b"] * 14 + ["a"]), "price", "1 missing of 30"),
    "target_alone": (table()[["price"]], "price", "at least one column besides the target"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
@pytest.mark.parametrize("command", ["tune", "fit", "compare"])
def test_bad_tables(meden: Command, folder: Path, case: str, command: str) -> None:
    frame, target, told = BAD_TABLES[case]
    if (case, command) == ("rare_class", "fit"):
        pytest.skip("fit makes no folds")
    frame.to_csv("x.csv", index=False)
    assert told in refused(meden, folder, command, "x.csv", "--target", target)


BAD_OPTIONS = {
    ("tune", "--search", "l2=-1:1"): "got -1",
    ("tune", "--search", "l2=nan:1"): "Uniform low must be a finite number",
    ("tune", "--search", "l2=0:1:log"): "above 0",
    ("tune", "--search", "dropout=0:1"): "dropout should be less than 1, got 1.0",
    ("tune", "--search", "dropuot=0:0.5"): "did you mean 'dropout'",
    ("tune", "--search", "l2"): "--search must look like",
    ("tune", "--search", "l2=1:2:3"): "--search must look like",
    ("tune", "--search", "width=0,64"): "width must be a whole number of at least 1, got 0",
    ("tune", "--strategy", "grd"): "did you mean 'grid'",
    ("tune", "--model", "linar"): "--model must be one of tabular, mlp, linear, got 'linar'; did you mean 'linear'",
    ("tune", "--time-limit", "0"): "time_limit must be a finite number above 0",
    ("tune", "--folds", "1"): "folds must be a whole number of at least 2",
    ("tune", "--folds", "two"): "Invalid value for",
    ("tune", "--budget", "0"): "budget",
    ("tune", "--seeds", "0"): "seeds",
    ("tune", "--seed", "-1"): "seed",
    ("tune", "--task", "regresion"): "did you mean 'regression'",
    ("tune", "--task", "regression"): "must hold numbers",
    ("tune", "--drop", "color"): "did you mean 'colour'",
    ("tune", "--groups", "color"): "did you mean 'colour'",
    ("tune", "--order", "colour"): "order must be a column of numbers or dates",
    ("tune", "--recipe", "none.yaml"): "recipe 'none.yaml' cannot be read",
    ("tune", "--recipe", "wrong.yaml"): "did you mean 'dropout'",
    ("tune", "--bugdet", "3"): "No such option",
    ("fit", "--recipe", "own.yaml"): "got 'Mine'; a class of your own is named at loading, by penalties={",
    ("fit", "--set", "l2=-0.1"): "got -0.1",
    ("fit", "--set", "l1=nan"): "got nan",
    ("fit", "--set", "dropout=1"): "less than 1, got 1",
    ("fit", "--set", "dropout=-0.1"): "got -0.1",
    ("fit", "--set", "drpout=0.1"): "did you mean 'dropout'",
    ("fit", "--set", "lr"): "--set must look like",
    ("fit", "--model", "MLP"): "--model must be one of tabular, mlp, linear, got 'MLP'",
    ("fit", "--held-out", "1.5"): "--held-out",
    ("compare", "--with", "l2=0.1"): "--with must look like",
    ("compare", "--with", "none: l2=0.1"): "must not use the name 'none'",
    ("compare", "--with", "L2: l3=0.1"): "--with 'L2': name must be one of",
    ("compare", "--with", "L2: l2=-1"): "got -1",
    ("compare", "--model", "forest"): "--model must be one of",
}


@pytest.mark.parametrize(("arguments", "told"), BAD_OPTIONS.items(), ids=" ".join)
def test_bad_options(meden: Command, folder: Path, arguments: tuple[str, ...], told: str) -> None:
    table().to_csv("x.csv", index=False)
    Path("wrong.yaml").write_text("dropuot: 0.5\n")
    Path("own.yaml").write_text("regularizers: [{penalty: Mine, strength: 0.1}]\n")
    command, *options = arguments
    assert told in refused(meden, folder, command, "x.csv", "--target", "price", *options)


def test_a_time_limit_that_allows_nothing(meden: Command, folder: Path) -> None:
    """How long an epoch takes is known once the table has been read, and that is told."""
    table().to_csv("x.csv", index=False)
    ended = meden("tune", "x.csv", "--target", "price", "--time-limit", "0.001", "--out", "study")
    assert ended.status == 2 and ended.out == "" and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("error: time_limit must be at least about ")
    assert not (folder / "study" / "run.json").exists()


def test_a_folder_that_holds_something(meden: Command, folder: Path) -> None:
    table().to_csv("x.csv", index=False)
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    for command in ("tune", "fit"):
        told = refused(meden, folder, command, "x.csv", "--target", "price", "--out", "full")
        assert "new or empty folder" in told
    assert "new or empty folder" in refused(meden, folder, "demo", "--out", "full")


@pytest.mark.parametrize("command", ["diagnose", "evaluate", "predict", "report", "resume"])
def test_folders_that_hold_nothing_of_ours(meden: Command, folder: Path, command: str) -> None:
    table().to_csv("x.csv", index=False)
    rows = ["x.csv"] if command in ("evaluate", "predict") else []
    assert "nowhere" in refused(meden, folder, command, "nowhere", *rows)
    Path("broken").mkdir()
    for name in ("run.json", "study.json"):
        Path("broken", name).write_text("{")
    assert "broken" in refused(meden, folder, command, "broken", *rows)


def test_files_of_a_newer_format(meden: Command, folder: Path) -> None:
    table().to_csv("x.csv", index=False)
    Path("quick.yaml").write_text("epochs: 1\n")
    options = ("--recipe", "quick.yaml", "--budget", "1", "--folds", "2", "--search", "l2=0.1")
    assert meden("tune", "x.csv", "-t", "price", "-o", "study", *options).status == 0
    commands = {"report": ("-o", "new.html"), "diagnose": (), "resume": ()}
    read = {
        "study.json": commands,
        "ledger.jsonl": commands,
        "run.json": {"predict": ("x.csv",), "evaluate": ("x.csv",)},
    }
    for name, readers in read.items():
        path, whole = Path("study", name), Path("study", name).read_text()
        path.write_text(whole.replace(f'"format": "{FORMAT}"', f'"format": "{MAJOR + 1}.0"', 1))
        for command, rest in readers.items():
            told = refused(meden, folder, command, "study", *rest)
            assert name in told and f"(format {FORMAT}), got format {MAJOR + 1}.0; update meden" in told
        path.write_text(whole)


BAD_CONVERSIONS = {
    ("1", "--from", "sklearn.Rigde", "--to", "torch.SGD"): "did you mean 'sklearn.Ridge'",
    ("1", "--from", "sklearn.Ridge", "--to", "torch.SGD"): "n, the number of training rows",
    ("nan", "--from", "sklearn.Lasso", "--to", "meden.L1"): "finite",
    ("1", "--from", "torch.AdamW", "--to", "torch.SGD", "--lr", "0.1"): "time constant",
    ("1", "--from", "sklearn.Lasso", "--to", "torch.SGD"): "L1 part",
}


@pytest.mark.parametrize(("arguments", "told"), BAD_CONVERSIONS.items(), ids=" ".join)
def test_bad_conversions(meden: Command, folder: Path, arguments: tuple[str, ...], told: str) -> None:
    assert told in refused(meden, folder, "convert", *arguments)


SETUP = """
import torch
model = torch.nn.Linear(2, 1)
def nothing(): pass
def four(): return 1, 2, 3, 4
def wrong(): return model, "sgd"
number = 3
"""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("setup_a", "must look like package.module:function"),
        ("setup_b:nothing", "No module named 'setup_b'"),
        ("setup_a:nothin", "did you mean 'nothing'"),
        ("setup_a:number", "function must be one of setup_a"),
        ("setup_a:nothing", "must return (model, optimizer) or (model, optimizer, handles), got NoneType"),
        ("setup_a.py:four", "got 4 values"),
        ("setup_a:wrong", "optimizer must be a torch.optim.Optimizer, got str"),
    ],
)
def test_bad_audits(meden: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, function: str, told: str) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("setup_a.py").write_text(SETUP)
    assert told in refused(meden, folder, "audit", function)


def test_nothing_to_diagnose(meden: Command, folder: Path) -> None:
    assert "or a log, got 'nowhere': no such file or folder" in refused(meden, folder, "diagnose", "nowhere")
    assert "path must be" in refused(meden, folder, "diagnose")
    assert "did you mean 'overfit'" in refused(meden, folder, "diagnose", "--list", "--select", "overfitt")
    record = Record(epoch=1, step=1, lr=0.1, train={"loss": 1.0}, num_zeros=0, weight_norm=1.0, seconds=1.0)
    History([record]).save(Path("history.json"))
    assert "--memorisation" in refused(meden, folder, "diagnose", "history.json", "--memorisation")
    for content in ("no json", "[1, 2]", '[{"epoch": 1}]', "{}", "[]"):
        Path("history.json").write_text(content)
        assert "history.json" in refused(meden, folder, "diagnose", "history.json")


REPEATED = {
    "target": ("fit", "x.csv", "-t", "price", "--target", "size"),
    "seed": ("compare", "x.csv", "-t", "price", "--seed", "1", "--seed=1"),
    "budget": ("tune", "x.csv", "-t", "price", "--budget", "2", "--budget", "3"),
    "out": ("predict", "run", "x.csv", "-o", "a.csv", "-ob.csv"),
    "on-missing": ("predict", "run", "x.csv", "--on-missing", "empty", "--on-missing", "error"),
    "from": ("convert", "1", "--from", "a", "--from", "b", "--to", "c"),
    "json": ("diagnose", "run", "--json", "--json"),
}


@pytest.mark.parametrize(("option", "arguments"), REPEATED.items(), ids=REPEATED)
def test_an_option_that_is_given_twice(meden: Command, folder: Path, option: str, arguments: tuple[str, ...]) -> None:
    table().to_csv("x.csv", index=False)
    assert refused(meden, folder, *arguments) == f"--{option} must be given once, got 2 values"


def test_options_that_may_be_repeated(meden: Command, folder: Path) -> None:
    table().assign(a=1.0, b=2.0).to_csv("x.csv", index=False)
    more = ("--drop", "a", "--drop", "b", "--set", "epochs=1", "--set", "lr=0.1", "--na", "x", "--na", "y")
    reads = ("--read", "size=number", "--read", "colour=category")
    ended = meden("fit", "x.csv", "--target", "price", "--out", folder / "run", *more, *reads)
    assert ended.status == 0, ended.err


def test_what_came_is_said_of_options_of_another_type(meden: Command, folder: Path) -> None:
    table().to_csv("x.csv", index=False)
    assert refused(meden, folder, "tune", "x.csv", "-t", "price", "--jobs", "many").count("got 'many'") == 1
    assert "got 'much'" in refused(meden, folder, "convert", "much", "--from", "a", "--to", "b")
    assert "--held-out must be a finite number in (0, 1), got 1" in refused(
        meden, folder, "fit", "x.csv", "-t", "price", "--held-out", "1"
    )
    table(3).assign(price=["low", "high", "low"]).to_csv("x.csv", index=False)
    assert "--held-out must leave about" in refused(meden, folder, "fit", "x.csv", "-t", "price")


def test_long_messages_lose_their_middle(meden: Command, folder: Path) -> None:
    table().rename(columns={"size": "size" * 2000}).to_csv("x.csv", index=False)
    line = refused(meden, folder, "fit", "x.csv", "-t", "prize")
    assert len(line) < 900 and " [...] " in line and line.endswith("did you mean 'price'?")
    table().to_csv("x.csv", index=False)
    line = refused(meden, folder, "fit", "x.csv", "-t", "price", "--set", "lr=" + "x" * 5000)
    assert len(line) < 900 and line.startswith("Recipe lr")


def test_a_number_beyond_all_others_is_one_line(meden: Command, folder: Path) -> None:
    frame = table()
    frame.loc[3, "size"] = 1e308
    frame.to_csv("x.csv", index=False)
    assert "got 1e+308 (row 3)" in refused(meden, folder, "fit", "x.csv", "-t", "price")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("loss\n1\n", "at least two columns"),
        (
            "epoch,loss\n1,0.5\n",
            "held-out losses (such as val_loss or eval_loss), got epoch, loss; name the two with --tr",
        ),
        ("epoch,loss,val_loss\n", "must hold at least one epoch, got none"),
        ("epoch,loss,val_loss\n2,1,1\n1,1,1\n", "must not decrease in epoch, got 1 after 2 in row 2"),
        ("city,price\nParis,3\n", "got city, price"),
        ("", "csv"),
    ],
)
def test_logs_that_cannot_be_diagnosed(meden: Command, folder: Path, content: str, told: str) -> None:
    Path("log.csv").write_text(content)
    assert told in refused(meden, folder, "diagnose", "log.csv")


def test_columns_that_a_log_does_not_have(meden: Command, folder: Path) -> None:
    Path("log.csv").write_text("epoch,loss,val_loss\n1,0.5,0.6\n")
    told = refused(meden, folder, "diagnose", "log.csv", "--train", "los")
    assert told == "train must be a column of path (epoch, loss, val_loss), got 'los'; did you mean 'loss'?"
    record = {"epoch": 1, "step": 1, "lr": 0.1, "num_zeros": 0, "weight_norm": 1.0, "seconds": 0.0}
    History.from_list([record | {"train": {"loss": 1.0}}]).save("history.json")
    told = refused(meden, folder, "diagnose", "history.json", "--train", "loss")
    assert told == "train must not be given, since it names a column of a log, got History"
