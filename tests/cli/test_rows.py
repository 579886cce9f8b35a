"""Files on the command line: one table says how columns were read; options change it; new rows are read alike."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from meden._checks import InputError
from meden.cli.rows import parse_read, without_formulas
from meden.recipe import Recipe
from meden.recipe.yaml_text import PlainDumper, read_yaml

QUICK = ("--set", "epochs=2")


@pytest.fixture
def european(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 40)
    rows = [f"{v:.2f};{i};{'=ja' if v > 5 else 'nein'}".replace(".", ",") for i, v in enumerate(values)]
    Path("t.csv").write_text("Bericht\nwert;tag;y\n" + "\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.usefixtures("european")
def test_one_table_says_how_columns_were_read_and_new_rows_are_read_alike(meden) -> None:  # type: ignore[no-untyped-def]
    ended = meden("fit", "t.csv", "--target", "y", "--read", "tag=drop", "--out", "run", *QUICK)
    assert ended.status == 0, ended.err
    assert ended.err.count("decimal comma") == 1 and "dropped" in ended.err and "'Bericht'" in ended.err
    Path("new.csv").write_text("wert;tag\n2,50;1\n9,00;2\n")
    assert meden("predict", "run", "new.csv", "--out", "p.csv").status == 0
    assert meden("predict", "run", "new.csv", "--out", "raw.csv", "--raw").status == 0
    kept, escaped = (pd.read_csv(name) for name in ("raw.csv", "p.csv"))
    assert set(kept["prediction"]) <= {"=ja", "nein"} and "p_=ja" in kept
    assert set(escaped["prediction"]) <= {"'=ja", "nein"}
    formats = json.loads(Path("run/run.json").read_text())["encoder"]["inputs"]["formats"]
    assert [form["numerals"]["decimal"] for form in formats] == [","]


@pytest.mark.usefixtures("european")
def test_rows_without_an_answer_are_refused_or_left_empty(meden) -> None:  # type: ignore[no-untyped-def]
    assert meden("fit", "t.csv", "--target", "y", "--out", "run", "--model", "mlp", *QUICK).status == 0
    Path("new.csv").write_text("wert;tag;y\n2,50;1;?\nkaputt;2;?\n;3;?\n9000,00;4;?\n")
    ended = meden("predict", "run", "new.csv", "--out", "p.csv")
    assert ended.status == 2 and ended.err.count("\n") == 2 and not Path("p.csv").exists()
    assert "1 of 4 rows cannot be predicted: column 'wert' must hold numbers, got 'kaputt' (row 1)" in ended.err
    ended = meden("predict", "run", "new.csv", "--out", "p.csv", "--on-missing", "empty", "--json")
    assert ended.status == 0 and json.loads(ended.out) == {"rows": 4, "empty": 1, "file": "p.csv"}
    assert "left empty: 1 of 4" in ended.err and "column 'wert': 1 of 3 rows have no value" in ended.err
    assert "column 'wert': 1 of 3 rows lie far outside the training range" in ended.err and "(up to 9000)" in ended.err
    found = pd.read_csv("p.csv")
    assert found.isna().to_numpy().all(axis=1).tolist() == [False, True, False, False] and Path("p.csv").read_text()
    assert found.notna().to_numpy().any(axis=1).tolist() == [True, False, True, True]
    ended = meden("predict", "run", "new.csv", "--out", "q.csv", "--on-missing", "guess")
    assert ended.status == 2 and "--on-missing must be one of error, empty, got 'guess'" in ended.err


@pytest.mark.usefixtures("european")
def test_options_that_cannot_be_read_get_one_line(meden) -> None:  # type: ignore[no-untyped-def]
    for options, said in (
        (("--read", "wert"), "--read must look like age=number"),
        (("--read", "wert=text"), "must be one of number, category, date, drop"),
        (("--read", "wert=date", "--read", "wert=number"), "'wert' twice"),
        (("--sep", "::"), "--sep must be one character"),
        (("--sep", ""), "--sep must be one character, such as ';', got ''"),
        (("--decimal", ";"), "--decimal must be one of"),
        (("--set", "lr=0.1", "--set", "lr=0.2"), "each setting once, got 'lr' twice"),
    ):
        ended = meden("fit", "t.csv", "--target", "y", *options)
        assert ended.status == 2 and said in ended.err and ended.err.count("\n") == 1


def test_formulas_get_a_quote_and_numbers_do_not() -> None:
    taken = ["=1", "+1", "-1", "@x", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\t=1", "\r=1", "\n=1"]
    left = ["no", "a=1", "a;=1", "a,=1", " =1", "1-1"]
    frame = pd.DataFrame({"prediction": taken + left, "p_=1": [-1.0] * (len(taken) + len(left))})
    escaped = without_formulas(frame)
    assert escaped["prediction"].tolist() == [f"'{text}" for text in taken] + left
    assert set(escaped["p_=1"]) == {-1.0}


def test_read_takes_each_column_once() -> None:
    with pytest.raises(InputError, match="each column once"):
        parse_read(["a=number", "a=date"])


BAD_YAML = [
    ("lr: 0.1\nlr: 0.2\n", "must hold each key once, got 'lr' again (line 2)"),
    ("early_stopping: {patience: 1, patience: 2}\n", "'patience' again (line 1)"),
    ("a: &a [x, x]\nb: *a\n", "must hold no aliases, got *a (line 2)"),
    ("a: &a {x: 1}\nb:\n  <<: *a\n", "must hold no aliases, got *a (line 3)"),
    ("[" * 5000, "nested so deeply"),
    ("a: " + "x" * 1_100_000, "at most 1,000,000 characters"),
]


@pytest.mark.parametrize(("text", "said"), BAD_YAML, ids=range(len(BAD_YAML)))
def test_yaml_that_is_no_recipe_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        Recipe.load(tmp_path / "recipe.yaml")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_yaml_that_is_plain_is_read() -> None:
    assert read_yaml("lr: 1e-3\nbetas: [0.9, 0.9]\n") == {"lr": 0.001, "betas": [0.9, 0.9]}


@pytest.mark.usefixtures("european")
def test_predictions_are_as_many_as_lines_and_are_written_over_nothing_else(meden) -> None:  # type: ignore[no-untyped-def]
    assert meden("fit", "t.csv", "--target", "y", "--out", "run", *QUICK).status == 0
    lines = ["cm,d", "2.5,1", ",", "", "wert,tag", "Total,"]
    Path("new.csv").write_text("\n".join(["wert,tag", *lines, "\n"]))
    given = Path("new.csv").read_bytes()
    told = ("--decimal", ".", "--on-missing", "empty")
    ended = meden("predict", "run", "new.csv", "--out", "p.csv", *told, "--json")
    assert json.loads(ended.out) == {"rows": 6, "empty": 5, "file": "p.csv"}
    found = pd.read_csv("p.csv", skip_blank_lines=False)["prediction"]
    assert found.notna().tolist() == [False, True, False, False, False, False]
    Path("link.csv").symlink_to("new.csv")
    Path("run/report.html").unlink()
    for out, said in (
        ("new.csv", "--out must not be the input file"),
        ("link.csv", "--out must not be the input file"),
        ("run/run.json", "--out must be a .csv file when it is in the folder of a study or run"),
        ("run/../run/model.safetensors", "--out must be a .csv file when it is in the folder"),
        ("run/report.html", "--out must be a .csv file when it is in the folder"),
    ):
        ended = meden("predict", "run", "new.csv", "--out", out, "--force", *told)
        assert ended.status == 2 and said in ended.err and ended.err.count("\n") == 1
    assert Path("new.csv").read_bytes() == given
    assert meden("predict", "run", "new.csv", "--out", "run/p.csv", *told).status == 0
    ended = meden("predict", "run", "new.csv", "--out", "q.csv", "--sep", "||")
    assert ended.status == 2 and "--sep must be one character, such as ';', got '||'" in ended.err


@pytest.mark.usefixtures("european")
def test_new_rows_may_have_another_decimal_mark_and_words_for_nothing(meden) -> None:  # type: ignore[no-untyped-def]
    assert meden("fit", "t.csv", "--target", "y", "--out", "run", *QUICK).status == 0
    Path("comma.csv").write_text("wert;tag\n2,5;1\n9,25;-\n")
    Path("point.csv").write_text("wert,tag\n2.5,1\n9.25,nix\n")
    assert meden("predict", "run", "comma.csv", "--out", "comma.out").status == 0
    assert meden("predict", "run", "point.csv", "--out", "point.out").status == 2
    ended = meden("predict", "run", "point.csv", "--out", "point.out", "--decimal", ".", "--na", "nix")
    assert ended.status == 0 and Path("point.out").read_text() == Path("comma.out").read_text()
    ended = meden("predict", "run", "point.csv", "--out", "q.out", "--decimal", "x")
    assert ended.status == 2 and "--decimal must be one of" in ended.err


def test_plain_words_of_yaml_mean_what_its_version_1_2_says() -> None:
    for text in ("1:30:00", "190:20:30.15", "yes", "No", "on", "OFF", "y", "1_000", "0b11", "2024-01-31", "=", "<<"):
        assert read_yaml(f"lr: {text}") == {"lr": text}
    numbers = {"010": 10, "0o10": 8, "0x1F": 31, "-7": -7, "1e-3": 1e-3, "+.5": 0.5, "1.": 1.0, "-.Inf": -np.inf}
    for text, number in numbers.items():
        found = read_yaml(f"lr: {text}")["lr"]
        assert found == number and type(found) is type(number)
    others = {"true": True, "FALSE": False, "~": None, "": None, "Null": None, "!!float 3": 3.0, "'3'": "3"}
    for text, value in others.items():
        assert read_yaml(f"lr: {text}")["lr"] is value or read_yaml(f"lr: {text}") == {"lr": value}
    with pytest.raises(InputError, match="must hold numbers such as 10 or 1e-3, got '1:30'"):
        read_yaml("lr: !!int 1:30")


def test_what_is_written_as_yaml_is_read_as_it_was() -> None:
    for value in (
        "010",
        "08",
        "1e-3",
        "0o7",
        "yes",
        "1:30",
        "~",
        "=",
        "<<",
        "2024-01-31",
        1e-5,
        3,
        -np.inf,
        None,
        True,
    ):
        assert read_yaml(yaml.dump({"a": value}, Dumper=PlainDumper)) == {"a": value}
