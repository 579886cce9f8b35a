"""A file that was changed and sealed again is damaged, in one line; nothing of it reaches what would fail later."""

import json
import shutil
from pathlib import Path

import pytest

from meden import Recipe
from meden.cli import app
from tests.forgery import rewrite, rewrite_ledger

ROWS = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    lines = (f"{i % 7},{'abc'[i % 3]},2024-0{1 + i % 9}-11,{'yes' if i % 7 > 3 else 'no'}" for i in range(ROWS))
    (folder / "rows.csv").write_text("\n".join(["size,kind,day,good", *lines, ""]))
    Recipe(epochs=1, batch_size="full").save(folder / "quick.yaml")
    usual = f"{folder}/rows.csv --target good --recipe {folder}/quick.yaml"
    assert app.main(f"fit {usual} --model mlp --out {folder}/fit".split()) == 0
    search = "--model mlp --folds 2 --budget 2 --strategy random --search l2=1e-3:1:log"
    assert app.main(f"tune {usual} {search} --out {folder}/study".split()) == 0
    return folder


def put(fields, place, value):
    *outer, last = place
    for part in outer:
        fields = fields[part]
    fields[last] = value


INPUTS, COLUMNS = ("encoder", "inputs"), ("encoder", "inputs", "columns")
RUN = [
    (("format",), "².0"),
    (("format",), "9" * 5000 + ".0"),
    (("best_epoch",), "a"),
    (("best_epoch",), -1),
    (("best_epoch",), 10**9),
    (("best_step",), 1.5),
    (("seed",), [1]),
    (("constant_loss",), "x"),
    (("held_out",), {"losses": 3, "scores": 4}),
    (("held_out",), {"losses": [1.0], "scores": [1.0, 1.0]}),
    (("held_out",), {"losses": [], "scores": []}),
    (("status",), "x"),
    (("status",), []),
    (("reason",), {}),
    (("files",), {}),
    (("model_args",), [1]),
    (("encoder", "target", "classes"), "no"),
    (("encoder", "target", "classes"), ["no", "no"]),
    (("encoder", "target", "classes"), ["no", "yes", "perhaps"]),
    (("encoder", "target", "classes"), ["no", 1]),
    (("encoder", "target"), {"mean": [0.0], "std": ["x"]}),
    ((*INPUTS, "kind"), []),
    ((*INPUTS, "columns"), []),
    ((*INPUTS, "formats"), []),
    ((*INPUTS, "formats", 0), {}),
    ((*INPUTS, "formats", 0, "numerals", "decimal"), "x"),
    ((*INPUTS, "formats", 2, "order"), "zzz"),
    ((*INPUTS, "formats", 0, "marks"), 3),
    ((*COLUMNS, 0, "scale"), "x"),
    ((*COLUMNS, 0, "scale"), float("nan")),
    ((*COLUMNS, 0, "kind"), "text"),
    ((*COLUMNS, 1, "levels"), ["a"] * 3),
    ((*COLUMNS, 1, "levels"), [str(number) for number in range(300_000)]),
    ((*COLUMNS, 1, "levels"), ["a"]),
    ((*COLUMNS, 2, "periods"), ["zzz"]),
    ((*COLUMNS, 2, "day"), None),
]
HISTORY = [
    (("records",), 3),
    (("records", 0), 3),
    (("records", 0), {}),
    (("records", 0, "train"), {}),
    (("records", 0, "train"), {"loss": "x"}),
    (("records", 0, "valid"), [1]),
    (("records", 0, "epoch"), "x"),
    (("records", 0, "lr"), None),
]
STUDY = [
    (("settings",), []),
    (("settings", "seeds"), 0),
    (("settings", "seeds"), "1"),
    (("settings", "seeds"), 10**9),
    (("settings", "metric"), "zzz"),
    (("num_fits",), "x"),
    (("num_fits",), -1),
    (("model", "arguments"), [1]),
    (("model", "arguments"), {"zzz": 1}),
    (("model", "name"), []),
    (("data", "task"), "zzz"),
    (("data", "task"), "regression"),
    (("data", "classes"), ["no"]),
    (("data", "constant_loss"), "x"),
    (("data", "origin"), 3),
    (("data", "num_features"), "x"),
    (("notes",), 3),
    (("identity",), 3),
    (("space",), [1]),
    (("space", "l2", "low"), "x"),
    (("files",), {}),
]
LEDGER = [
    ("fit_losses", 3),
    ("fit_losses", "#"),
    ("fit_losses", "AAAA"),
    ("fit_losses", "A" * 27 + "="),  # of ten rows, as many as there are, and none of the stop split
    ("params", {}),
    ("params", 3),
    ("params", {"l2": "x"}),
    ("best_epoch", "x"),
    ("best_epoch", 99),
    ("fold", 99),
    ("seed", 5),
    ("configuration", "x"),
    ("configuration", -1),
    ("losses", "AAA="),
    ("losses", "AAAAAA=="),
    ("losses", 3),
    ("scores", ""),
    ("train_loss", ""),
    ("seconds", "x"),
    ("status", "zzz"),
    ("status", None),
    ("versions", 3),
]


def check_refused(commands, capsys):
    for command in commands:
        capsys.readouterr()
        assert app.main(command) == 2, command
        told = capsys.readouterr().err.strip()
        assert told.startswith("error: ") and "\n" not in told and len(told) < 700, told


@pytest.mark.parametrize(
    "name, place, value", [*(("run.json", *case) for case in RUN), *(("history.json", *case) for case in HISTORY)]
)
def test_runs(made, tmp_path, capsys, name, place, value):
    folder = Path(shutil.copytree(made / "fit", tmp_path / "fit"))
    fields = json.loads((folder / name).read_text())
    put(fields, place, value)
    rewrite(folder / name, fields)
    predict = ["predict", str(folder), str(made / "rows.csv"), "-o", str(tmp_path / "out.csv")]
    check_refused([predict, ["diagnose", str(folder)], ["report", str(folder), "--force"]], capsys)
    assert not (tmp_path / "out.csv").exists()


def reading(folder):
    return [["diagnose", str(folder)], ["report", str(folder), "--force"]]


@pytest.mark.parametrize("place, value", STUDY)
def test_studies(made, tmp_path, capsys, place, value):
    folder = Path(shutil.copytree(made / "study", tmp_path / "study"))
    fields = json.loads((folder / "study.json").read_text())
    put(fields, place, value)
    rewrite(folder / "study.json", fields)
    check_refused(reading(folder), capsys)


@pytest.mark.parametrize("name, value", LEDGER)
def test_ledgers(made, tmp_path, capsys, name, value):
    folder = Path(shutil.copytree(made / "study", tmp_path / "study"))
    rewrite_ledger(folder / "ledger.jsonl", lambda header: header, lambda row: row | {name: value})
    check_refused(reading(folder), capsys)


@pytest.mark.parametrize("name", ["status", "losses", "params", "fold"])
def test_rows_that_lack_a_field(made, tmp_path, capsys, name):
    folder = Path(shutil.copytree(made / "study", tmp_path / "study"))
    rewrite_ledger(
        folder / "ledger.jsonl", lambda header: header, lambda row: {k: v for k, v in row.items() if k != name}
    )
    check_refused(reading(folder), capsys)


@pytest.mark.parametrize("identity", [None, 3, {}])
def test_headers(made, tmp_path, capsys, identity):
    folder = Path(shutil.copytree(made / "study", tmp_path / "study"))
    rewrite_ledger(folder / "ledger.jsonl", lambda header: header | {"identity": identity})
    check_refused(reading(folder), capsys)
