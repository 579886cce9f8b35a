"""Versions of files: newer minor ones are read, newer major ones refused, files of people have none."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import yaml

import meden
from meden import EarlyStopping, History, InputError, Recipe, Record, Regularizer, checkpoint
from meden._files import FORMAT, MAJOR, MINOR, check_format, read_json, write_json, write_whole
from meden.augment import Mixup
from meden.data import as_dataset, make_folds
from meden.data.text import Vocabulary
from meden.models import MLP
from meden.optim import Activity, Sharpness, StrengthSchedule
from meden.penalties import L1, ActivityL1, GroupLasso, Scaled, Sum
from meden.report import Report, write
from tests.forgery import change, drop

NEWER, NEXT = f"{MAJOR}.{MINOR + 9}", f"{MAJOR + 1}.3"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    dataset = as_dataset("iris")
    member = meden.Member(Recipe(epochs=2, dropout=0.1), make_folds(dataset, 2, seed=0)[0])
    (run,) = meden.fit_many(MLP, [member], dataset)
    folder = tmp_path_factory.mktemp("run")
    run.save(folder)
    return run, folder


@pytest.fixture
def copy(saved, tmp_path):
    for path in saved[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_every_file_of_a_run_says_its_format(saved):
    for name in ("run.json", "history.json", "recipe.yaml"):
        assert yaml.safe_load((saved[1] / name).read_text())["format"] == FORMAT


def test_unknown_fields_of_a_newer_minor_version_are_ignored(saved, copy):
    change(copy / "run.json", format=NEWER, energy=3.5)
    change(copy / "recipe.yaml", format=NEWER, gravity=9.81)
    records = [{**record, "energy": 3.5} for record in saved[0].history.to_list()]
    change(copy / "history.json", format=NEWER, records=records, unit="J")
    found = meden.load_run(copy, MLP)
    assert (found.recipe, found.history, found.reason) == (saved[0].recipe, saved[0].history, saved[0].reason)


NESTED = Recipe(
    schedule="cosine",
    averaging="ema",
    sharpness=Sharpness(),
    early_stopping=EarlyStopping(),
    regularizers=[
        Regularizer(L1(0.1), schedule=StrengthSchedule(end=9)),
        Regularizer(Scaled(Sum((L1(0.1), GroupLasso(0.2))), 0.5), coupling="loss"),
    ],
    activity=[Activity(ActivityL1(0.1), on="*")],
    augment=[Mixup(0.2)],
)


def strange(value):
    """Return plain values with an unknown field in every mapping."""
    if isinstance(value, dict):
        return {name: strange(part) for name, part in value.items()} | {"gravity": 9.81}
    return [strange(part) for part in value] if isinstance(value, list) else value


def mappings(value):
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(part)


def test_unknown_fields_of_a_newer_minor_version_are_ignored_wherever_they_are(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"format": NEWER, **strange(NESTED.to_dict())}))
    assert Recipe.load(path) == NESTED


def test_unknown_fields_of_a_person_are_refused_wherever_they_are(tmp_path):
    path = tmp_path / "recipe.yaml"
    num = len(list(mappings(NESTED.to_dict())))
    assert num == 14
    for place in range(num):
        fields = NESTED.to_dict()
        list(mappings(fields))[place]["gravity"] = 9.81
        path.write_text(yaml.safe_dump(fields))
        with pytest.raises(InputError, match="gravity"):
            Recipe.load(path)


def test_unknown_fields_inside_a_newer_run_are_ignored(saved, copy):
    written = json.loads((copy / "run.json").read_text())
    for inner in [written["held_out"], *mappings(written["encoder"])]:
        inner["gravity"] = [9.81]
    change(copy / "run.json", **written | {"format": NEWER})
    found = meden.load_run(copy)
    assert found.held_out.losses.tolist() == saved[0].held_out.losses.tolist()
    assert found.encoder == saved[0].encoder


def test_fields_that_a_file_lacks_are_at_their_defaults(saved, copy):
    drop(copy / "run.json", "format", "constant_loss", "held_out")
    found = meden.load_run(copy, MLP)
    assert found.constant_loss is None and found.held_out is None and found.best_epoch == saved[0].best_epoch


@pytest.mark.parametrize("name", ["run.json", "history.json", "recipe.yaml"])
def test_a_newer_major_version_is_refused_by_both_versions(copy, name):
    change(copy / name, format=NEXT)
    with pytest.raises(
        InputError, match=rf"{name}' must be of format {MAJOR} or older .* \(format {FORMAT}\), got format {NEXT}"
    ):
        meden.load_run(copy, MLP)


def test_tensors_of_a_newer_major_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", NEXT)
    checkpoint.save(tmp_path / "model.safetensors", {"weight": torch.ones(2)}, {})
    with pytest.raises(InputError, match=rf"got format {NEXT}; update meden"):
        checkpoint.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("version", ["", "one", "1", "1.x", 3])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(InputError, match=f"must have a format such as '{FORMAT}'"):
        check_format(version, "run.json")


def test_a_recipe_written_by_a_person_needs_no_version(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("dropout: 0.2\nlr: 1e-3\n")
    assert Recipe.load(path) == Recipe(dropout=0.2, lr=1e-3)
    for text in ("dropuot: 0.2\n", "format: '1.0'\ndropuot: 0.2\n", "format: 1.0\ndropuot: 0.2\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="no field 'dropuot'; did you mean 'dropout'"):
            Recipe.load(path)


def test_a_crash_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"format": FORMAT, "a": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", None),
        ("seed", None),
        ("model_args", {"colour": "red"}),
        ("model_args", {"num_inputs": 7, "num_outputs": 3}),
        ("model_args", 3),
        ("model_name", 3),
        ("encoder", {"inputs": 3}),
        ("encoder", 3),
        ("held_out", {"losses": [1.0]}),
        ("held_out", {"losses": ["x"], "scores": [1.0]}),
        ("held_out", 3),
        ("num_runs", "two"),
        ("num_runs", 0),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(copy, name, value):
    change(copy / "run.json", **{name: value})
    if value is None:
        drop(copy / "run.json", name)
    with pytest.raises(InputError, match=r"damaged|num_runs .* at least 1|model must be one of") as told:
        meden.load_run(copy)
    assert "\n" not in str(told.value)


RECORD = Record(epoch=1, step=9, train={"loss": 0.5}, lr=0.1, num_zeros=0, weight_norm=1.0, seconds=0.2)
WRITERS = {
    "recipe.yaml": Recipe().save,
    "history.json": History((RECORD,)).save,
    "model.safetensors": lambda path: checkpoint.save(path, {"w": torch.ones(2)}, {}),
    "report.html": lambda path: write(Report(title="a run", lead="It ran."), path),
    "vocabulary.json": Vocabulary.fit(["one word"]).save,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_takes_the_place_of_another_when_it_is_on_the_disk(tmp_path, monkeypatch, name):
    path, done = tmp_path / name, []
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.path.realpath(f"/proc/self/fd/{descriptor}")))

    def stop(part, to):
        assert done == [str(part)] and str(to) == str(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            WRITERS[name](path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    WRITERS[name](path)
    assert path.read_bytes() != b"before" and list(tmp_path.iterdir()) == [path]
    assert done[-1] == str(tmp_path)


def test_a_link_and_a_pipe_stay_what_they_are(tmp_path):
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_whole(pipe, b"new")
        assert read.result() == b"new" and pipe.is_fifo()
    code = "from pathlib import Path; from meden._files import write_whole; write_whole(Path('/dev/stdout'), b'new')"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"new"


def test_a_history_that_is_none_is_refused_in_one_line(tmp_path):
    path = tmp_path / "history.json"
    record = Record(epoch=1, step=9, train={"loss": 0.5}, lr=0.1, num_zeros=0, weight_norm=1.0, seconds=0.2)
    History((record,)).save(path)
    assert History.load(path) == History((record,))
    for bad in ("{}", "[]", "no json", '{"records": [{"epoch": 1}]}', '{"records": 3}'):
        path.write_text(bad)
        with pytest.raises(InputError, match=r"history\.json") as told:
            History.load(path)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ['{"a":' * 10**5 + "1" + "}" * 10**5, "[" * 10**5, '{"seed": ' + "9" * 10**5 + "}"])
def test_json_that_is_nested_or_long_without_end_is_refused_in_one_line(copy, text):
    (copy / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run.json' must be a file that meden wrote, but cannot be read"):
        meden.load_run(copy)


def test_more_runs_than_there_are_folders_are_refused_at_the_first_that_is_missing(copy):
    change(copy / "run.json", num_runs=10**12)
    with pytest.raises(InputError, match="fold_0"):
        meden.load_run(copy)


@pytest.mark.parametrize("files", [None, [], *({"history.json": entry} for entry in (None, {}, {"size": "x"}))])
def test_a_list_of_files_that_is_none_is_refused_in_one_line(copy, files):
    change(copy / "run.json", files=files)
    with pytest.raises(InputError, match=r"must list the files|bytes instead of"):
        meden.load_run(copy)


def test_a_file_of_tensors_has_the_same_bytes_in_each_process(tmp_path):
    code = (
        "import sys, torch; from pathlib import Path; from meden import checkpoint;"
        "checkpoint.save(Path(sys.argv[1]), {'b': torch.ones(2), 'a': torch.zeros(3)}, {'é': '\"\\n\\x01/\\\\'})"
    )
    paths = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for path in paths:
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert len({path.read_bytes() for path in paths}) == 1
    tensors, values = checkpoint.load(paths[0])
    assert values == {"é": '"\n\x01/\\'} and tensors["a"].tolist() == [0.0] * 3
    header = paths[0].read_bytes()[8:].partition(b"__metadata__")[2]
    assert header.index(b'"meden_format"') < header.index(b'"sha256"') < header.index(b'"values"')
