"""Any study opens from its folder: nothing is trained, nothing written, no data needed, no code of the study run."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import meden
from meden import Choice, InputError, LogUniform, Maybe, Recipe
from meden._files import FORMAT, MAJOR, MINOR
from meden.data import as_dataset, splits_hash
from meden.models import MLP
from meden.study import Results, load_study
from meden.study.folder import ARRAYS, STUDY, read_description
from meden.study.ledger import LEDGER
from tests.contracts import OneSided
from tests.forgery import rewrite, rewrite_ledger

NEWER, NEXT = f"{MAJOR}.{MINOR + 7}", f"{MAJOR + 1}.1"
RECIPE = Recipe(epochs=3, early_stopping=meden.EarlyStopping(patience=2))
SPACE = {"l2": Maybe(LogUniform(1e-4, 1.0)), "lr": LogUniform(1e-3, 1e-1), "width": Choice(4, 8)}


@pytest.fixture(autouse=True, scope="module")
def one_by_one():
    """Fits of three steps are done before a stack of them is traced; the results are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        yield


def frame(num_rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"size": random.normal(size=num_rows), "colour": random.choice(["red", "blue"], num_rows)})
    table["id"] = np.arange(num_rows)
    table["who"] = random.choice(list("abcdefghijklmnop"), num_rows)
    table["price"] = table["size"] + random.normal(size=num_rows)
    return table


def search(folder: Path | None, data="iris", make_model=MLP, **changes) -> meden.Study:
    options = {"folds": 3, "budget": 4, "strategy": "random", "recipe": RECIPE, "space": SPACE, "study_dir": folder}
    options |= {"baselines": False}
    return meden.tune(make_model, data, **(options | changes))


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> tuple[meden.Study, Path]:
    folder = tmp_path_factory.mktemp("flowers")
    return search(folder), folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def without_rows(folder: Path, num_left: int) -> None:
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    (folder / LEDGER).write_bytes(b"".join(lines[: 1 + num_left]))


def same(found: Results, made: Results) -> None:
    pd.testing.assert_frame_equal(found.table(), made.table(), check_exact=True)
    assert (found.best.number, found.one_se.number, found.score) == (made.best.number, made.one_se.number, made.score)
    assert (found.space, found.recipe, found.seed, found.seconds) == (made.space, made.recipe, made.seed, made.seconds)
    assert splits_hash(found.folds) == splits_hash(made.folds)
    for name in ("labels", "groups", "weights"):
        np.testing.assert_array_equal(getattr(found.data, name), getattr(made.data, name))
    for name in ("target", "task", "classes", "num_features", "num_inputs", "standardised", "constant_loss", "hash"):
        assert getattr(found.data, name) == getattr(made.data, name)


def test_it_is_the_study_that_was_made(flowers):
    made, folder = flowers
    found = load_study(folder)
    same(found, made)
    assert (found.status, found.reason, found.dataset, found.make_model) == ("ok", "", None, MLP)
    for metric in ("accuracy", "balanced_accuracy"):
        assert found.score_of(metric, "one_se") == made.score_of(metric, "one_se")
    assert meden.diagnose(found) == meden.diagnose(made)


def test_groups_weights_and_columns_that_were_left_out_come_back(tmp_path):
    table = frame()
    table.to_csv(tmp_path / "rows.csv", index=False)
    data = as_dataset(tmp_path / "rows.csv", target="price", groups="who", drop=["id"])
    made = search(tmp_path / "mine", data, seeds=2, racing=True, metric="r2")
    found = load_study(tmp_path / "mine")
    same(found, made)
    assert found.score_of() == made.score_of()
    _, dataset = found.trainable()
    assert dataset.content_hash() == data.content_hash() and dataset.feature_names == ("size", "colour")
    (tmp_path / "rows.csv").unlink()
    for given in (table, data):
        assert found.trainable(given)[1].content_hash() == data.content_hash()


def test_reading_trains_nothing_and_writes_nothing(flowers, tmp_path, monkeypatch):
    folder = copied(flowers[1], tmp_path)
    before = content(folder)
    monkeypatch.setattr("meden.study.study.fit_many", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr("meden.search.engine.train", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr("meden.study.ledger.FileIO", lambda *_, **__: pytest.fail("opened to write"))
    found = load_study(folder)
    assert found.best and found.score and len(found.table()) == 4
    meden.diagnose(found)
    found.report(tmp_path / "report.html")
    assert content(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_read(flowers, tmp_path):
    folder = copied(flowers[1], tmp_path)
    folder.chmod(0o500)
    assert load_study(folder).status == "ok"


def test_a_ledger_that_another_process_writes_is_read(flowers, tmp_path):
    from meden.study.ledger import Ledger, read_rows

    folder = copied(flowers[1], tmp_path)
    with Ledger(folder / LEDGER, read_rows(folder / LEDGER).identity):
        assert load_study(folder).status == "ok"


def test_refitted_it_is_the_same_model(flowers, tmp_path):
    made, folder = flowers
    table = meden.data.files.bundled_table("iris")[0]
    expected = made.refit("best").predict(table).probabilities
    moved = Path(shutil.move(copied(folder, tmp_path), tmp_path / "moved"))
    found = load_study(moved)
    np.testing.assert_array_equal(found.refit("best").predict(table).probabilities, expected)
    given = load_study(moved, data="iris", make_model=MLP)
    assert given.dataset is not None
    np.testing.assert_array_equal(given.refit("best", policy="folds").predict(table).values.shape, (150,))


def test_what_is_missing_to_train_again_is_told_in_one_line(tmp_path):
    def mine(num_inputs: int, num_outputs: int, width: int) -> MLP:
        return MLP(num_inputs, num_outputs, width=width)

    frame().to_csv(tmp_path / "rows.csv", index=False)
    made = search(tmp_path / "study", tmp_path / "rows.csv", mine, target="price")
    shutil.move(tmp_path / "rows.csv", tmp_path / "elsewhere.csv")
    found = load_study(tmp_path / "study")
    assert found.make_model is None and "test_load" in found.model.text and ".mine" in found.model.text
    same(found, made)
    assert found.evidence().model is None and meden.diagnose(found).num_runs == 3
    with pytest.raises(
        InputError, match=r"make_model must be given to train again, since the study was made with .*mine"
    ):
        found.refit()
    with pytest.raises(
        InputError, match=r"data must be given to train again, since '.*rows\.csv' is missing: restore it, or pass data"
    ):
        found.refit(make_model=mine)
    run = found.refit(make_model=mine, data=tmp_path / "elsewhere.csv")
    np.testing.assert_array_equal(run.predict(frame()).values, made.refit().predict(frame()).values)


def test_other_data_are_refused_by_both_hashes(flowers, tmp_path):
    made, folder = flowers
    less = as_dataset("iris").take(range(149))
    hashes = f"hash {made.data.hash[:12]}, got data with hash {less.content_hash()[:12]}"
    for refused in (lambda: load_study(folder, data=less), lambda: load_study(folder).refit(data=less)):
        with pytest.raises(InputError, match=hashes) as told:
            refused()
        assert "\n" not in str(told.value)


def test_arrays_must_be_given_anew(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    made = search(tmp_path, (x[:, None], y))
    found = load_study(tmp_path)
    same(found, made)
    with pytest.raises(
        InputError, match="data must be given to train again, since the study does not say where they came"
    ):
        found.refit()
    inputs = torch.as_tensor(x[:, None], dtype=torch.float32)
    predicted = found.refit(data=(x[:, None], y)).predict(inputs)
    np.testing.assert_array_equal(predicted.values, made.refit().predict(inputs).values)


def test_the_layout_is_judged_where_a_model_is_at_hand(tmp_path):
    def mine(num_inputs: int, num_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(num_inputs, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, num_outputs))

    search(tmp_path, make_model=mine, space={"lr": LogUniform(1e-3, 1e-1)}, budget=1)
    for make_model, named in ((None, False), (mine, True)):
        found = meden.diagnose(load_study(tmp_path, make_model=make_model)).findings
        assert ("dropout_before_norm" in [finding.code for finding in found]) == named


def test_a_study_of_nothing_but_divergence_comes_back(tmp_path):
    recipe = Recipe(epochs=2, optimizer="sgd")
    made = search(tmp_path, space={"lr": Choice(1e20, 1e25)}, recipe=recipe, strategy="grid", budget=2)
    found = load_study(tmp_path)
    assert found.status == "diverged" and found.reason == made.reason and "loss or weights were not" in found.reason
    assert {(trial.status, trial.reason) for trial in found.trials} == {("diverged", found.trials[0].reason)}
    assert meden.diagnose(found).findings[0].code == "diverged"
    assert (
        "There is nothing to choose from: every configuration diverged" in found.report(tmp_path / "r.html").read_text()
    )


def test_arguments_that_a_model_was_fixed_to_are_kept(tmp_path):
    made = search(tmp_path, make_model=functools.partial(MLP, depth=0), space={"l2": LogUniform(1e-4, 1.0)})
    table = meden.data.files.bundled_table("iris")[0]
    loaded = load_study(tmp_path).refit()
    assert [tuple(p.shape) for p in loaded.model.parameters()] == [(3, 4), (3,)]
    np.testing.assert_array_equal(loaded.predict(table).probabilities, made.refit().predict(table).probabilities)


def test_nothing_that_a_study_names_is_imported(flowers, tmp_path, monkeypatch):
    folder = copied(flowers[1], tmp_path)
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    written = json.loads((folder / STUDY).read_text())
    written["model"] = {"text": "trap.model", "name": None, "arguments": {}}
    rewrite(folder / STUDY, written)
    assert load_study(folder).best and "trap" not in sys.modules


@pytest.mark.parametrize("num_left", [0, 1, 7, 11])
def test_an_interrupted_study_says_what_is_missing(flowers, tmp_path, num_left):
    made, folder = flowers[0], copied(flowers[1], tmp_path)
    without_rows(folder, num_left)
    before, found = content(folder), load_study(folder)
    counts = f"{num_left} of at most 12 planned fits are done, {12 - num_left} missing"
    assert found.status == "unfinished" and found.num_missing == 12 - num_left
    assert found.reason == f"{counts}; complete configurations: {len(found.trials)}"
    page = found.report(tmp_path / "report.html").read_text()
    assert counts in page
    if found.trials:
        assert found.best.loss == min(trial.loss for trial in made.trials[: len(found.trials)])
        assert "The search is unfinished" in page and "All configurations" in page
    else:
        with pytest.raises(InputError, match=f"there is no configuration to choose yet: {counts}"):
            _ = found.best
        with pytest.raises(InputError, match="there is no configuration to choose yet"):
            meden.diagnose(found)
    assert content(folder) == before


def test_a_torn_row_is_not_read_and_not_cut(flowers, tmp_path):
    folder = copied(flowers[1], tmp_path)
    whole = (folder / LEDGER).read_bytes()
    (folder / LEDGER).write_bytes(whole[:-10])
    before, found = content(folder), load_study(folder)
    assert (found.status, found.num_missing, len(found.incomplete)) == ("unfinished", 1, 2)
    meden.diagnose(found)
    assert content(folder) == before
    search(folder)
    again = load_study(folder)
    assert again.status == "ok" and again.table().equals(flowers[0].table())


def test_a_limit_ends_a_study(tmp_path):
    made = search(tmp_path, epochs_budget=20)
    assert len(made.trials) < 4 and made.status == "ok"
    found = load_study(tmp_path)
    assert found.status == "ok" and found.table().equals(made.table())


KILLED = """
import sys, meden
space = {"l2": meden.LogUniform(1e-4, 1.0)}
recipe = meden.Recipe(epochs=10, batch_size=8)
print("begins", flush=True)
meden.tune(meden.models.MLP, "iris", space, folds=3, budget=400, strategy="tpe", recipe=recipe, study_dir=sys.argv[1])
"""


@pytest.mark.distributed
def test_a_killed_study_opens(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as killed:
        while not (tmp_path / LEDGER).exists() or (tmp_path / LEDGER).read_bytes().count(b"\n") < 40:
            assert killed.poll() is None
            time.sleep(0.05)
        assert load_study(tmp_path).best  # while it runs
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    found = load_study(tmp_path)
    assert found.status == "unfinished" and found.num_missing > 1000 and np.isfinite(found.best.loss)
    assert str(found.num_missing) in found.reason


def test_folders_that_hold_no_study_are_refused(flowers, tmp_path):
    with pytest.raises(InputError, match=r"folder must hold a study \(a study\.json\), got '.*nowhere'"):
        load_study(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
    folder = copied(flowers[1], tmp_path)
    for name, bad in ((ARRAYS, "no tensors"), (STUDY, "{}"), (STUDY, "[1]"), (STUDY, "{"), (STUDY, '{"data": 3}')):
        kept = (folder / name).read_bytes()
        (folder / name).write_text(bad)
        with pytest.raises(InputError, match=r"meden wrote|was written with") as told:
            load_study(folder)
        assert "\n" not in str(told.value)
        (folder / name).write_bytes(kept)
    (folder / ARRAYS).unlink()
    with pytest.raises(
        InputError, match=r"study\.safetensors' must be unchanged since it was written with study\.json, but is missing"
    ):
        load_study(folder)


def test_what_a_newer_version_adds_is_ignored_and_kept(flowers, tmp_path):
    folder = copied(flowers[1], tmp_path)
    written = json.loads((folder / STUDY).read_text())
    written |= {"format": NEWER, "importance": [1, 2], "data": written["data"] | {"colour": "red"}}
    for part in ("model", "recipe", "settings"):
        written[part] |= {"colour": "red"}
    rewrite(folder / STUDY, written)
    newer = {"format": NEWER, "host": "here"}
    rewrite_ledger(folder / LEDGER, lambda header: header | newer, lambda row: row | {"energy": 3.5})
    same(load_study(folder), flowers[0])
    without_rows(folder, 11)
    search(folder)
    again = json.loads((folder / STUDY).read_text())
    assert (again["format"], again["importance"]) == (FORMAT, [1, 2])
    assert '"energy": 3.5' in (folder / LEDGER).read_text()


@pytest.mark.parametrize("name", [STUDY, LEDGER])
def test_a_newer_format_is_refused_in_one_line(flowers, tmp_path, name):
    folder = copied(flowers[1], tmp_path)
    text = (folder / name).read_text()
    assert f'"format": "{FORMAT}"' in text
    (folder / name).write_text(text.replace(f'"format": "{FORMAT}"', f'"format": "{NEXT}"', 1))
    before = content(folder)
    with pytest.raises(InputError, match=rf"format {MAJOR} or older .* \(format {FORMAT}\), got format {NEXT}; up"):
        load_study(folder)
    with pytest.raises(InputError, match=rf"got format {NEXT}"):
        search(folder)
    assert content(folder) == before


def test_notes_and_settings_are_kept(flowers, tmp_path):
    search(tmp_path, notes={"refit": "folds"}, budget=1)
    search(tmp_path, budget=1)  # opens it again, and has nothing to say
    described = read_description(tmp_path)
    divided = {"folds": 3, "order": None, "gap": 0, "stop_fraction": 0.15}
    assert described.notes == {"refit": "folds", "division": divided} and described.settings["budget"] == 1
    assert described.data.origin == {"data": "iris", "target": None, "task": None, "groups": None, "drop": []}


def test_a_penalty_of_ones_own_is_named_at_loading(tmp_path: Path) -> None:
    recipe = RECIPE.replace(regularizers=[meden.Regularizer(OneSided(0.1))])
    made = search(tmp_path, budget=2, recipe=recipe)
    with pytest.raises(InputError, match=r"got 'OneSided'; a class of your own is named at loading, by penalties="):
        load_study(tmp_path)
    found = load_study(tmp_path, penalties={"OneSided": OneSided})
    assert found.recipe == recipe and found.table().equals(made.table())
    assert found.refit("best").history.column("train.loss") == made.refit("best").history.column("train.loss")


def test_opening_a_study_that_a_limit_ended_does_not_make_it_unfinished(tmp_path: Path) -> None:
    made = search(tmp_path, budget=40, epochs_budget=2 * 3 * RECIPE.epochs)
    assert len(made.trials) < 40 and load_study(tmp_path).status == "ok"
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, budget=40, epochs_budget=2 * 3 * RECIPE.epochs, on_start=interrupt)
    assert load_study(tmp_path).status == "ok"


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_ledger_of_something_else_is_not_shown_as_the_study(tmp_path: Path) -> None:
    search(tmp_path / "mine")
    with pytest.raises(InputError, match=r"must be a folder without another study, got .*, which holds a study"):
        meden.compare(MLP, "iris", {"none": {}, "small": {"width": 2}}, recipe=RECIPE, study_dir=tmp_path / "mine")
    search(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other" / LEDGER, tmp_path / "mine" / LEDGER)
    with pytest.raises(InputError, match=r"must hold one study, but its ledger\.jsonl belongs to something else"):
        load_study(tmp_path / "mine")


def test_data_are_taken_anew_as_they_were_read(tmp_path: Path) -> None:
    table = frame()
    pair = table.drop(columns="price"), table["price"]
    options = {"budget": 2, "space": {"l2": LogUniform(1e-4, 1.0)}}
    made = search(tmp_path / "pair", pair, groups="who", **options)
    losses = made.refit("best").history.column("train.loss")
    assert load_study(tmp_path / "pair").refit("best", data=pair).history.column("train.loss") == losses
    path = tmp_path / "rows.csv"
    table.drop(columns="who").to_csv(path, index=False)
    made = search(tmp_path / "groups", str(path), target="price", groups=table["who"].to_numpy(), **options)
    losses = made.refit("best").history.column("train.loss")
    assert load_study(tmp_path / "groups").refit("best").history.column("train.loss") == losses
    dropped = as_dataset(table, target="price", drop=["id"])
    made = search(tmp_path / "drop", dropped, **options)
    found = load_study(tmp_path / "drop", data=table.drop(columns="id"))
    assert found.dataset.content_hash() == dropped.content_hash()


def test_folds_may_be_given_themselves(tmp_path: Path) -> None:
    made = search(tmp_path, budget=2, order=np.random.default_rng(0).permutation(150), folds=2)
    again = search(tmp_path, budget=2, folds=load_study(tmp_path).folds)  # goes on with the same ledger
    assert again.table().equals(made.table())
    with pytest.raises(InputError, match=r"folds must be an integer of at least 2, or a list of meden\.data\.Fold"):
        search(None, folds=made.folds[:1])


def test_another_model_of_the_same_shapes_is_another_study(tmp_path: Path) -> None:
    def net(p):
        return lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 3))

    data = as_dataset("iris"), {"l2": LogUniform(1e-4, 1.0)}
    search(tmp_path, data[0], net(0.0), space=data[1], budget=2)
    with pytest.raises(InputError, match="got one with different models"):
        search(tmp_path, data[0], net(0.9), space=data[1], budget=2)


@pytest.mark.parametrize("arguments", [{"width": 10**9}, {"depth": 10**7}])
def test_a_file_that_asks_for_a_huge_model_takes_no_memory(flowers, tmp_path, arguments):
    folder = Path(shutil.copytree(flowers[1], tmp_path / "study"))
    written = json.loads((folder / STUDY).read_text())
    space = {name: value for name, value in written["space"].items() if name != "width"}
    model = written["model"] | {"arguments": arguments}
    rewrite(folder / STUDY, written | {"model": model, "space": space})
    rewrite_ledger(
        folder / LEDGER, lambda header: header, lambda row: row | {"params": {n: row["params"][n] for n in space}}
    )
    study = load_study(folder)
    assert study.evidence().model is None
    assert meden.diagnose(study).findings is not None
