"""The commands on good input: what they print, write and return."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer

import meden as package
from meden import InputError
from meden._files import MAJOR, MINOR
from meden.cli import app
from meden.data import as_dataset, holdout, read_table
from meden.models import MLP, Linear, TabularNet
from meden.run import Run, load_run
from meden.search import Progress
from meden.training.fit_many import fit_many
from tests.cli.conftest import Command
from tests.forgery import rewrite

COMMANDS = (
    *(
        "audit",
        "check",
        "compare",
        "convert",
        "demo",
        "diagnose",
        "evaluate",
        "fit",
        "job",
        "learning-curve",
        "new",
        "predict",
        "report",
        "resume",
        "select",
    ),
    "tune",
)
QUICK = (
    *("--search", "l2=1e-3:1:log", "--strategy", "random", "--folds", "2", "--budget", "2", "--recipe", "quick.yaml"),
    *("--model", "mlp"),
)


@pytest.fixture
def mixed(folder: Path) -> pd.DataFrame:
    """A table of numbers, strings and missing values, as ``mixed.csv``, and a quick recipe."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=60), "rooms": random.integers(1, 9, size=60).astype(float)})
    frame["colour"] = random.choice(["red", "blue", "green"], size=60)
    frame["price"] = 100 + 30 * frame["size"] + 10 * (frame["colour"] == "red") + random.normal(size=60)
    frame.loc[::7, "size"], frame.loc[::5, "colour"] = np.nan, None
    frame.to_csv("mixed.csv", index=False)
    Path("quick.yaml").write_text("epochs: 3\nbatch_size: 64\nlr: 1e-2\n")
    return frame


@pytest.mark.parametrize(("command", "module", "line"), [(name, *found) for name, found in app.COMMANDS.items()])
def test_the_list_of_commands_repeats_their_first_lines(command: str, module: str, line: str) -> None:
    function = getattr(import_module(f"meden.cli.{module}"), command.replace("-", "_"))
    function = function.registered_callback.callback if isinstance(function, typer.Typer) else function
    assert function.__doc__.splitlines()[0] == line


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(meden: Command, command: str) -> None:
    ended = meden(command, "--help")
    assert ended.status == 0 and "Example" in ended.out and f"meden {command} " in ended.out
    assert "--json" in ended.out or command == "job"  # which speaks to programs alone


def test_all_commands_are_told() -> None:
    assert sorted(app.COMMANDS) == sorted(COMMANDS)


def test_version_and_help(meden: Command) -> None:
    assert meden("--version").out == "meden 0.1.0\n"
    assert "meden tune your.csv" in meden("--help").out
    assert meden() == meden("--help")
    assert meden("tnue").status == 2


def test_tune_then_predict_equals_the_same_in_python(meden: Command, mixed: pd.DataFrame) -> None:
    ended = meden("tune", "mixed.csv", "--target", "price", "--out", "study", *QUICK)
    assert ended.status == 0, ended.err
    assert "60 rows, 3 features; regression of 'price'" in ended.err
    assert "meden predict study" in ended.out and "RMSE" in ended.out
    names = [
        "history.json",
        "ledger.jsonl",
        "ledger.lock",
        "model.safetensors",
        "recipe.yaml",
        "report.html",
        "run.json",
        "study.db",
        "study.json",
        "study.safetensors",
    ]
    assert sorted(os.listdir("study")) == names
    rows = mixed.drop(columns="price").head(25)
    rows.to_csv("rows.csv", index=False)
    assert meden("predict", "study", "rows.csv", "-o", "out.csv").status == 0
    found = pd.read_csv("out.csv")
    expected = load_run("study").predict(rows).frame()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    settings = {"folds": 2, "budget": 2, "strategy": "random", "recipe": package.Recipe.load("quick.yaml")}
    study = package.tune(MLP, mixed, {"l2": package.LogUniform(1e-3, 1)}, target="price", **settings)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(found, study.refit().predict(rows).frame(), check_exact=True)


def test_a_race_on_what_may_be_off_and_the_models_of_the_folds(meden: Command, mixed: pd.DataFrame) -> None:
    searched = ("--search", "l2=off:1e-3:1:log", "--search", "l1=data", "--search", "swap_noise=off:0.05:0.2")
    rest = ("--folds", "3", "--budget", "4", "--model", "mlp", "--recipe", "quick.yaml", "--metric", "r2")
    told = meden(
        "tune", "mixed.csv", "-t", "price", "-o", "study", "--json", "--racing", "--refit", "folds", *searched, *rest
    )
    assert told.status == 0, told.err
    found = json.loads(told.out)
    assert {"l2", "l1", "swap_noise"} == set(found["best"]["params"]) and found["chosen_by"] == "r2"
    assert [score["metric"] for score in found["scores"]] == ["loss", "r2"]
    again = meden("predict", "study", "mixed.csv", "--json")
    assert again.status == 0 and json.loads(again.out)["rows"] == len(mixed)


@pytest.mark.parametrize(("model", "made"), [("tabular", TabularNet), ("mlp", MLP), ("linear", Linear)])
def test_all_commands_know_each_network(meden: Command, mixed: pd.DataFrame, model: str, made: type) -> None:
    options = ("mixed.csv", "-t", "price", "--model", model, "--recipe", "quick.yaml")
    size = ("--search", "lr=0.01,0.02", "--budget", "2", "--folds", "2")
    tuned = meden("tune", *options, *size, "-o", "study", "--json")
    assert tuned.status == 0, tuned.err
    assert meden("fit", *options, "-o", "run").status == 0
    for folder in ("study", "run"):
        run = load_run(folder)
        assert type(run.model) is made  # type: ignore[union-attr]
        assert meden("predict", folder, "mixed.csv", "-o", f"{folder}.csv").status == 0
        pd.testing.assert_frame_equal(pd.read_csv(f"{folder}.csv"), run.predict(mixed).frame(), check_exact=True)
        assert meden("report", folder, "-o", f"{folder}.html").status == 0
        assert meden("diagnose", folder, "--json").status == 0
    found = json.loads(meden("resume", "study", "--json").out)
    assert found["best"] == json.loads(tuned.out)["best"]


def test_a_cocktail_keeps_the_learning_rates_of_the_network(meden: Command, mixed: pd.DataFrame) -> None:
    options = ("--search", "cocktail", "--budget", "1", "--folds", "2", "--recipe", "quick.yaml", "--json")
    found = json.loads(meden("tune", "mixed.csv", "-t", "price", *options).out)["best"]["params"]
    assert 0.015 <= found["lr"] <= 0.12 and {"width", "l1", "mixup", "dropout"} < set(found)


def test_predicting_new_rows(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("fit", "mixed.csv", "--target", "price", "--out", "run", "--recipe", "quick.yaml").status == 0
    mixed.drop(columns="colour").to_csv("lacking.csv", index=False)
    ended = meden("predict", "run", "lacking.csv", "-o", "out.csv")
    assert ended.status == 2 and "lacks 'colour'" in ended.err and not Path("out.csv").exists()
    mixed.drop(columns="price").assign(colour="violet", new=1).to_csv("unseen.csv", index=False)
    ended = meden("predict", "run", "unseen.csv", "-o", "out.csv", "--json")
    assert ended.status == 0 and json.loads(ended.out) == {"rows": 60, "empty": 0, "file": "out.csv"}
    assert ended.err.startswith("warning: ") and "'violet'" in ended.err and len(ended.err.splitlines()) == 1
    assert meden("predict", "run", "unseen.csv", "-o", "out.csv").status == 2, "nothing is overwritten unasked"
    assert meden("predict", "run", "unseen.csv", "-o", "out.csv", "--force").status == 0
    mixed.assign(size="wide").to_csv("other.csv", index=False)
    assert meden("predict", "run", "other.csv", "-o", "two.csv").status == 2


def test_a_study_is_not_overwritten_and_reported_again(meden: Command, mixed: pd.DataFrame) -> None:
    tune = ("tune", "mixed.csv", "--target", "price", "--out", "study", *QUICK)
    summary = json.loads(meden(*tune, "--json").out)
    assert summary["status"] == "ok" and summary["configurations"] == 2 and summary["folder"] == "study"
    assert all(score["low"] <= score["estimate"] <= score["high"] for score in summary["scores"])
    before = {path: path.read_bytes() for path in Path("study").iterdir()}
    ended = meden(*tune)
    assert ended.status == 2 and "holds a finished study" in ended.err
    assert {path: path.read_bytes() for path in Path("study").iterdir()} == before
    assert meden("report", "study").status == 2, "the report is there already"
    assert meden("report", "study", "-o", "again.html").status == 0
    assert "Score against strength" in Path("again.html").read_text()
    written = json.loads(meden("report", "study", "--format", "md", "--json").out)
    assert (
        written == {"file": "study/report.md"}
        and "\n## Score against strength\n" in Path("study/report.md").read_text()
    )
    assert meden("report", "study", "--format", "md").status == 2, "it is there already"
    refused = meden("report", "study", "--format", "pdf", "-o", "new.pdf")
    assert refused.status == 2 and "--format must be one of html, md, got 'pdf'" in refused.err
    resumed = json.loads(meden("resume", "study", "--json").out)
    assert resumed["one_se"] == summary["one_se"] and resumed["scores"] == summary["scores"]


def test_interrupted_and_resumed(meden: Command, mixed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    from meden.study.ledger import Ledger

    append, rows = Ledger.append, []

    def interrupted(self: Ledger, row: object) -> None:
        if len(rows) == 3:
            raise KeyboardInterrupt
        append(self, row)  # type: ignore[arg-type]
        rows.append(row)

    tune = ("tune", "mixed.csv", "--target", "price", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", interrupted)
        ended = meden(*tune, "--out", "study")
    assert ended.status == 1 and "continue with: meden resume study" in ended.err and "Traceback" not in ended.err
    for command in ((*tune[:2], "--out", "study"), ("predict", "study", "mixed.csv")):
        again = meden(*command)
        assert again.status == 2 and "continue with: meden resume study" in again.err
    resumed = json.loads(meden("resume", "study", "--json").out)
    whole = json.loads(meden(*tune, "--out", "whole", "--json").out)
    assert resumed["one_se"]["params"] == whole["one_se"]["params"]
    assert resumed["one_se"]["loss"] == pytest.approx(whole["one_se"]["loss"], rel=1e-5)


def content(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_study_is_read_when_its_data_and_its_folder_have_moved(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "first", *QUICK).status == 0
    diagnosed = meden("diagnose", "first").out
    Path("mixed.csv").rename("elsewhere.csv")
    Path("first").rename("study")
    before = content("study")
    assert meden("report", "study", "-o", "again.html").status == 0
    assert "Score against strength" in Path("again.html").read_text()
    assert meden("diagnose", "study").out == diagnosed
    assert meden("predict", "study", "elsewhere.csv", "-o", "out.csv").status == 0
    ended = meden("resume", "study")
    assert ended.status == 2 and "mixed.csv' is missing: restore it" in ended.err
    assert content("study") == before
    run = package.load_study("study").refit(data="elsewhere.csv")
    pd.testing.assert_frame_equal(run.predict(mixed).frame(), pd.read_csv("out.csv"), check_exact=True)


def test_a_torn_ledger_is_left_as_it_is_by_who_reads_it(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "study", "--no-baselines", *QUICK).status == 0
    ledger = Path("study/ledger.jsonl")
    ledger.write_bytes(ledger.read_bytes()[:-20])
    before = content("study")
    ended = meden("diagnose", "study")
    assert ended.status == 0 and "3 of at most 4 planned fits are done, 1 missing" in ended.err
    assert meden("report", "study", "-o", "new.html").status == 0
    assert content("study") == before


def test_an_unfinished_study_is_reported_as_one(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "study", "--no-baselines", *QUICK).status == 0
    finished = meden("report", "study", "-o", "finished.html")
    assert finished.err == "" and "The search is unfinished" not in Path("finished.html").read_text()
    ledger = Path("study/ledger.jsonl")
    header, *rows = ledger.read_text().splitlines(keepends=True)  # rows in the order in which the fits ended
    ledger.write_text("".join([header, *sorted(rows, key=lambda row: json.loads(row)["configuration"])[:2]]))
    Path("study/run.json").unlink()
    description = json.loads(Path("study/study.json").read_text())
    description |= {"format": f"{MAJOR}.{MINOR + 9}", "settings": description["settings"] | {"new": 1}}
    rewrite(Path("study/study.json"), description)  # as a newer version would have written it
    told = "2 of at most 4 planned fits are done, 2 missing; complete configurations: 1"
    ended = meden("report", "study", "-o", "half.html")
    assert ended.status == 0 and ended.err == f"unfinished: {told}; continue with: meden resume study\n"
    assert told in Path("half.html").read_text()
    assert meden("diagnose", "study").err == ended.err
    assert np.isfinite(package.load_study("study").best.loss)
    assert meden("resume", "study").status == 0 and package.load_study("study").status == "ok"


def test_a_study_made_in_python_with_its_run_in_the_same_folder(meden: Command, mixed: pd.DataFrame) -> None:
    settings = {"folds": 2, "budget": 2, "strategy": "random", "recipe": package.Recipe.load("quick.yaml")}
    space = {"l2": package.LogUniform(1e-3, 1)}
    study = package.tune(MLP, mixed, space, target="price", study_dir="mine", **settings)  # type: ignore[arg-type]
    study.refit().save("mine")
    assert meden("report", "mine", "-o", "report.html", "--units", "keras.L2").status == 0
    page = Path("report.html").read_text()
    assert "Score against strength" in page and "Strengths in the units of keras.L2" in page
    assert json.loads(meden("diagnose", "mine", "--json").out)["num_runs"] == 2
    assert meden("predict", "mine", "mixed.csv", "-o", "out.csv").status == 0
    ended = meden("resume", "mine")
    assert ended.status == 2 and "the study does not say where they came from" in ended.err


def test_settings_without_a_ledger_start_anew(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "study", *QUICK).status == 0
    for name in ("ledger.jsonl", "run.json"):
        Path("study", name).unlink()
    assert meden("resume", "study").status == 0 and Path("study/run.json").exists()


def test_data_that_changed_are_refused(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "study", *QUICK).status == 0
    mixed.head(50).to_csv("mixed.csv", index=False)
    ended = meden("resume", "study")
    assert ended.status == 2 and "data must be the study's own, with hash " in ended.err


def test_a_search_that_only_diverges_fails_with_its_reason(meden: Command, mixed: pd.DataFrame) -> None:
    Path("wild.yaml").write_text("epochs: 4\noptimizer: sgd\nbatch_size: full\n")
    options = ("--search", "lr=1e20,1e25", "--strategy", "grid", "--folds", "2", "--recipe", "wild.yaml")
    ended = meden("tune", "mixed.csv", "--target", "price", "--out", "study", "--model", "mlp", *options)
    assert ended.status == 1 and "every configuration diverged" in ended.err and Path("study/report.html").exists()
    assert "diverged: 2 of 2 runs failed" in meden("diagnose", "study").out


@pytest.mark.parametrize("command", ["tune", "fit"])
def test_a_model_that_diverged_is_kept_to_be_diagnosed_and_does_not_predict(
    meden: Command, mixed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def lost(*arguments: Any, **settings: Any) -> list[Run]:
        runs = fit_many(*arguments, **settings)
        return [dataclasses.replace(run, status="diverged", reason="the loss is nan after epoch 2") for run in runs]

    monkeypatch.setattr("meden.study.study.fit_many", lost)
    monkeypatch.setattr("meden.cli.fit.fit_many", lost)
    options = QUICK if command == "tune" else ("--recipe", "quick.yaml", "--model", "mlp")
    ended = meden(command, "mixed.csv", "--target", "price", "--out", "made", *options)
    assert ended.status == 1 and "diverged: the loss is nan after epoch 2" in ended.out + ended.err
    assert "meden predict" not in ended.out and Path("made/report.html").exists()
    if command == "tune":
        again = meden("resume", "made")
        assert again.status == 1 and "diverged: the loss is nan after epoch 2" in again.err
    refused = meden("predict", "made", "mixed.csv")
    assert refused.status == 2 and not Path("predictions.csv").exists()
    assert "got 'made', whose run diverged: the loss is nan after epoch 2" in refused.err
    with pytest.raises(InputError, match="got one that diverged: the loss is nan"):
        load_run("made").predict(mixed)


def test_fit_changes_settings(meden: Command, mixed: pd.DataFrame) -> None:
    changes = ("--set", "l2=1e-3", "--set", "width=7", "--set", "dropout=0.2", "--set", "early_stopping=none")
    options = ("--recipe", "quick.yaml", *changes, "--out", "run", "--json")
    found = json.loads(meden("fit", "mixed.csv", "--target", "price", *options).out)
    assert found["status"] == "completed" and set(found["held_out"]) == {"loss", "mse"}
    run = load_run("run")
    assert run.recipe.dropout == 0.2 and run.recipe.regularizers[0].penalty.settings() == {"strength": 1e-3}
    assert run.model_args is not None and run.model_args["width"] == 7
    assert meden("report", "run", "-o", "again.html").status == 0
    assert meden("report", "run", "-o", "again.md", "--format", "md", "--units", "keras.L2").status == 0
    assert "\n## Over the epochs\n" in Path("again.md").read_text() and "| keras.L2 |" in Path("again.md").read_text()


def test_rows_that_score_a_fit_do_nothing_else(meden: Command, mixed: pd.DataFrame) -> None:
    """Other answers in them change their score, and neither the model nor when it stops."""
    _, scored = holdout(as_dataset("mixed.csv", target="price"), 0.2, 3)
    other = mixed.copy()
    other.loc[scored, "price"] += 50.0
    other.to_csv("other.csv", index=False)
    options = ("--target", "price", "--model", "mlp", "--set", "epochs=30", "--set", "lr=0.03", "--seed", "3", "--json")
    found = {name: json.loads(meden("fit", f"{name}.csv", "--out", name, *options).out) for name in ("mixed", "other")}
    first, second = (load_run(name) for name in ("mixed", "other"))
    assert found["mixed"]["best_epoch"] == found["other"]["best_epoch"]
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    for name, frame in (("mixed", mixed), ("other", other)):
        missed = first.predict(frame.loc[scored]).values - frame["price"].to_numpy()[scored]
        assert found[name]["held_out"]["mse"] == pytest.approx(np.mean(missed**2), rel=1e-3)
        error = np.std(missed**2, ddof=1) / np.sqrt(len(scored))
        assert found[name]["held_out_error"]["mse"] == pytest.approx(error, rel=1e-3)


def _fail() -> None:
    raise InputError("no room")


def test_fit_calibrates_by_the_rows_that_stop_it(
    meden: Command, mixed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(0)
    many = pd.DataFrame(draws.normal(size=(200, 5)), columns=list("abcde"))
    many.assign(dear=draws.random(200) < 0.5).to_csv("dear.csv", index=False)  # whoever is sure of it is too sure
    long = ("--set", "epochs=40", "--set", "lr=0.01", "--set", "early_stopping=null")
    options = ("dear.csv", "--target", "dear", "--model", "mlp", *long, "--json")
    plain, calm = (json.loads(meden("fit", *options, "--out", name, *more).out) for name, more in RUNS.items())
    assert plain["held_out"]["accuracy"] == calm["held_out"]["accuracy"]
    first, second = (load_run(name) for name in RUNS)
    assert "logits divided afterwards by" in second.reason and "logits divided" not in first.reason
    ratio = first.model[-1].weight / second.model[-1].weight
    assert torch.allclose(ratio, ratio[0, 0])
    assert calm["temperature"] == second.temperature > 1 and "temperature" not in plain
    with monkeypatch.context() as broken:
        broken.setattr("meden.training.calibrate._cooled", lambda *given: None if given[-1] == 2.0 else _fail())
        kept = meden("fit", *options, "--out", "kept", "--calibrate")
    assert kept.status == 0 and "without calibration: no room" in kept.err
    assert load_run("kept").temperature == 1.0
    refused = meden("fit", "mixed.csv", "--target", "price", "--calibrate", "--out", "numbers")
    assert refused.status == 2 and "calibrate must be used for classification with one class per row" in refused.err
    assert not Path("numbers").exists()
    Path("book.txt").write_text("abc " * 500)
    refused = meden("fit", "book.txt", "--calibrate", "--out", "book")
    assert refused.status == 2 and "calibrate must not be given for a text" in refused.err


RUNS = {"plain": (), "calm": ("--calibrate",)}


def test_diagnose_a_run_its_history_and_a_study(meden: Command, mixed: pd.DataFrame) -> None:
    plain = ("--model", "mlp", "--set", "epochs=20", "--set", "lr=1e-3")
    fitted = meden("fit", "mixed.csv", "--target", "price", "--out", "run", *plain)
    told = meden("diagnose", "run")
    assert told.status == 0 and "unfinished: After 20 epochs the held-out loss is still falling" in told.out
    assert told.out in fitted.out  # `meden fit` says it too
    found = package.diagnose(load_run("run"))
    assert json.loads(meden("diagnose", "run", "--json").out) == json.loads(json.dumps(found.to_dict()))
    assert "unfinished" in meden("diagnose", "run/history.json").out
    assert "unfinished" not in meden("diagnose", "run/history.json", "--ignore", "unfinished").out
    listed = json.loads(meden("diagnose", "--list", "--select", "layout, overfit", "--json").out)["rules"]
    assert {row["family"] for row in listed} == {"layout", "curves"} and "overfit" in meden("diagnose", "--list").out
    assert meden("tune", "mixed.csv", "--target", "price", "--out", "study", *QUICK).status == 0
    assert json.loads(meden("diagnose", "study", "--json").out)["num_runs"] == 2
    for folder in ("run", "study"):
        assert "What stands out" in Path(folder, "report.html").read_text()
    Path("study/report.html").unlink()  # a finished study is judged by its folds, with or without a report
    assert json.loads(meden("diagnose", "study", "--json").out)["num_runs"] == 2


def test_diagnose_what_a_study_knows_by_heart(meden: Command, mixed: pd.DataFrame) -> None:
    search = ("tune", "mixed.csv", "--target", "price", *QUICK)
    assert meden(*search, "--out", "kept", "--keep-losses").status == 0
    assert meden(*search, "--out", "plain").status == 0
    trained = json.loads(meden("diagnose", "plain", "--memorisation", "--json").out)["memorisation"]
    Path("mixed.csv").rename("gone.csv")  # what was kept needs no data
    kept = json.loads(meden("diagnose", "kept", "--memorisation", "--json").out)["memorisation"]
    assert kept["loss"]["auc"]["value"] == pytest.approx(trained["loss"]["auc"]["value"], abs=1e-3)
    assert kept["num_models"] == 2 and kept["loss"]["auc"]["low"] < kept["loss"]["auc"]["high"]
    assert "membership by the loss alone: AUC" in meden("diagnose", "kept", "--memorisation").out
    assert "memorisation" not in json.loads(meden("diagnose", "kept", "--json").out)
    pages = [Path(name, "report.html").read_text() for name in ("kept", "plain")]
    assert ["What the models memorise" in page for page in pages] == [True, False]
    refused = meden("diagnose", "plain", "--memorisation")
    assert refused.status == 2 and "is missing" in refused.err.splitlines()[-1]
    refused = meden("diagnose", "kept", "--repeats", "2")
    assert refused.status == 2 and "--repeats" in refused.err and len(refused.err.splitlines()) == 1


def test_compare(meden: Command, mixed: pd.DataFrame) -> None:
    options = ("--recipe", "quick.yaml", "--folds", "2", "--with", "L2: l2=0.1", "--with", "small: width=4, depth=1")
    ended = meden("compare", "mixed.csv", "--target", "price", *options)
    assert ended.status == 0 and "differences from 'none' are paired" in ended.out
    found = json.loads(meden("compare", "mixed.csv", "--target", "price", *options, "--json").out)
    assert [row["name"] for row in found["alternatives"]] == ["none", "L2", "small"]
    made = package.compare(
        MLP, read_table("mixed.csv"), {"none": None, "L2": {"l2": 0.1}}, target="price", folds=2,
        recipe=package.Recipe.load("quick.yaml"),
    )  # fmt: skip
    assert found["alternatives"][1]["mse"] == pytest.approx(made.table()["mse"][1], rel=1e-5)


def test_compare_in_a_folder_goes_on_where_it_was(
    meden: Command, mixed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        "compare",
        "mixed.csv",
        "--target",
        "price",
        "--recipe",
        "quick.yaml",
        "--folds",
        "2",
        "-w",
        "L2: l2=0.1",
    )
    whole = json.loads(meden(*command, "--json").out)

    def interrupt(_lines: object, done: Progress, _note: str = "") -> None:
        if done.num_fits == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("meden.search.progress.ProgressLines.__call__", interrupt)
        ended = meden(*command, "--out", "compared")
    assert ended.status == 1 and "interrupted; run the same command again to continue" in ended.err
    assert len(Path("compared/ledger.jsonl").read_text().splitlines()) == 1 + 3
    assert json.loads(meden(*command, "--out", "compared", "--jobs", "2", "--json").out) == whole
    assert "All alternatives" in Path("compared/report.html").read_text()
    before = Path("compared/ledger.jsonl").read_bytes()
    other = meden(*command, "-w", "L1: l1=0.1", "--out", "compared")
    assert other.status == 2 and "got one with different models and alternatives" in other.err
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    assert meden(*command, "--out", "mine").status == 2 and len(list(Path("mine").iterdir())) == 1
    assert Path("compared/ledger.jsonl").read_bytes() == before


def test_without_a_terminal_lines_say_how_far_it_is(meden: Command, mixed: pd.DataFrame) -> None:
    common = ("mixed.csv", "--target", "price", "--recipe", "quick.yaml", "--json")
    found = meden("tune", *common, "--folds", "2", "--budget", "2", "--out", "told")
    lines = [line for line in found.err.splitlines() if line.startswith("epochs: ")]
    assert "4 of 4 fits done, best held-out loss" in lines[-1] and json.loads(found.out)["configurations"] == 2
    found = meden("compare", *common, "--folds", "2", "-w", "L2: l2=0.1")
    assert "4 of 4 fits done" in found.err and json.loads(found.out)


def test_trackers_are_followed_by_name(meden: Command, mixed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("tune", "mixed.csv", "--target", "price", "--recipe", "quick.yaml", "--folds", "2", "--budget", "1")
    refused = meden(*command, "--track", "wandb", "--out", "followed")
    assert refused.status == 2 and "trackers must be one of tensorboard, mlflow, got 'wandb'" in refused.err
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refused = meden(*command, "--track", "mlflow", "--out", "followed")
    assert refused.status == 2 and "pip install 'meden[trackers]'" in refused.err and not Path("followed").exists()


@pytest.mark.parametrize(("model", "num"), [("tabular", 4), ("linear", 3)])
def test_compare_other_networks(meden: Command, mixed: pd.DataFrame, model: str, num: int) -> None:
    options = ("--recipe", "quick.yaml", "--folds", "2", "--model", model, "--json")
    found = json.loads(meden("compare", "mixed.csv", "--target", "price", *options).out)
    assert [row["name"] for row in found["alternatives"]] == ["none", "L2", "L1", "dropout"][:num]


def test_convert(meden: Command) -> None:
    ended = meden("convert", "1.0", "--from", "sklearn.Ridge", "--to", "torch.SGD", "--n", "442")
    assert ended.status == 0 and float(ended.out) == 1 / 442
    to_glmnet = ("convert", "0.5", "--from", "sklearn.ElasticNet", "--to", "glmnet", "--l1-ratio", "0.25")
    assert meden(*to_glmnet).out == "lambda_=0.5  alpha=0.25\n"
    assert json.loads(meden(*to_glmnet, "--json").out) == {"tool": "glmnet", "lambda_": 0.5, "alpha": 0.25}


def test_audit(meden: Command, folder: Path) -> None:
    Path("my_setup.py").write_text(
        "import torch\n\n"
        "def make():\n"
        "    model = torch.nn.Linear(3, 2)\n"
        "    return model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)\n"
    )
    ended = meden("audit", "my_setup.py:make")
    assert ended.status == 0 and "warning (bias)" in ended.out and "weight_decay (gradient)" in ended.out
    found = json.loads(meden("audit", "my_setup:make", "--json").out)
    assert found["optimizer"] == "SGD" and [t["name"] for t in found["tensors"]] == ["weight", "bias"]


def test_failures_are_one_line(meden: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("first\nsecond [bold]")

    monkeypatch.setattr("meden.cli.convert.strengths.convert", broken)
    ended = meden("convert", "1", "--from", "a", "--to", "b")
    assert ended.status == 1
    assert ended.err == "failed: RuntimeError: first second [bold] (MEDEN_DEBUG=1 shows where)\n"


def test_as_a_program_of_its_own(folder: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "meden", "tune", "nothing.csv"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 2 and made.stdout == "" and made.stderr.startswith("error: file must exist")


def test_brackets_in_names_are_no_markup(meden: Command, mixed: pd.DataFrame) -> None:
    mixed.rename(columns={"price": "rate [/s]"}).to_csv("odd [red].csv", index=False)
    options = ("-t", "rate [/s]", "-o", "st [b]/x", "--model", "linear", "--folds", "2", "--budget", "1")
    ended = meden("tune", "odd [red].csv", *options, "--recipe", "quick.yaml")
    assert ended.status == 0, ended.err
    assert "st [b]/x/report.html" in ended.out and "rate [/s]" in ended.out


def test_what_the_table_decides_is_no_setting(meden: Command, mixed: pd.DataFrame) -> None:
    ended = meden("fit", "mixed.csv", "-t", "price", "-o", "run", "--set", "num_numbers=1")
    assert ended.status == 2 and "got 'num_numbers'" in ended.err and not Path("run").exists()
    assert "num_targets" not in ended.err


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_place_is_refused_before_training(meden: Command, mixed: pd.DataFrame) -> None:
    Path("locked").mkdir(mode=0o555)
    ended = meden("fit", "mixed.csv", "-t", "price", "-o", "locked/run")
    assert ended.status == 2 and "--out must be a new or empty folder, got 'locked/run': Permission denied" in ended.err


@pytest.mark.parametrize("place", ["/proc/none", "x" * 300, "deep/" + "x" * 300, "mixed.csv/run"])
def test_a_place_where_no_folder_can_be_made_is_refused_before_training(
    meden: Command, mixed: pd.DataFrame, place: str
) -> None:
    for command in ("fit", "tune", "compare"):
        ended = meden(command, "mixed.csv", "-t", "price", "-o", place)
        assert ended.status == 2 and "--out must be a new or empty folder" in ended.err
        assert not Path("deep").exists()


def test_what_is_tried_before_training_leaves_no_folder(meden: Command, mixed: pd.DataFrame) -> None:
    assert meden("fit", "mixed.csv", "-t", "price", "-o", "deep/run", "--set", "lr=-1").status == 2
    assert not Path("deep").exists()


def test_the_folder_of_a_comparison_says_what_it_is(meden: Command, mixed: pd.DataFrame) -> None:
    command = ("compare", "mixed.csv", "-t", "price", "--recipe", "quick.yaml", "--folds", "2", "-w", "L2: l2=0.1")
    assert meden(*command, "-o", "compared").status == 0
    for name in ("report", "diagnose", "resume"):
        ended = meden(name, "compared")
        assert ended.status == 2 and "which holds a comparison" in ended.err, name


def test_diagnose_logs_of_other_trainers(meden: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lists = {"epoch": range(1, 7), "nll": [1.0, 0.8, 0.6, 0.5, 0.4, 0.3], "dev": [1.1, 1.0, 0.9, 1.0, 1.1, 1.2]}
    frame = pd.DataFrame(lists)
    frame.rename(columns={"nll": "loss", "dev": "val_loss"}).to_csv("keras.csv", index=False)
    frame.to_csv("mine.csv", index=False)
    Path("version_0").mkdir()
    Path("version_0/metrics.csv").write_bytes(Path("keras.csv").read_bytes())
    rows = [{"step": k, "loss": a} for k, a in zip(lists["epoch"], lists["nll"], strict=True)]
    rows += [{"step": k, "eval_loss": b} for k, b in zip(lists["epoch"], lists["dev"], strict=True)]
    Path("state.json").write_text(json.dumps({"log_history": sorted(rows, key=lambda row: row["step"])}))
    named = ("mine.csv", "--train", "nll", "--valid", "dev")
    for arguments in (("keras.csv",), ("version_0",), ("state.json",), named):
        told = json.loads(meden("diagnose", *arguments, "--json").out)
        assert [finding["code"] for finding in told["findings"]] == ["overfit", "kept_too_late"], arguments
    assert "overfit" not in meden("diagnose", "keras.csv", "--ignore", "overfit").out
    package.History().save("renamed.json")
    assert "a history.json with at least one epoch" in meden("diagnose", "renamed.json").err
