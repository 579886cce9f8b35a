"""A run and a study are as they were written, or it is said: bytes changed, files cut, gone, or of another run."""

import random
import shutil
from pathlib import Path

import pytest

import meden
from meden import InputError, Recipe
from meden._files import FORMAT, MAJOR
from meden.models import MLP
from meden.study.ledger import LEDGER
from tests.forgery import rewrite_ledger

NUM_PLACES = 200
SPACE = {"l2": meden.LogUniform(1e-4, 1.0)}
OPTIONS = {"folds": 3, "budget": 3, "strategy": "random", "recipe": Recipe(epochs=2, batch_size=64)}
OPTIONS |= {"baselines": False}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("whole")
    study = meden.tune(MLP, "iris", SPACE, study_dir=root / "study", **OPTIONS)
    meden.tune(MLP, "iris", SPACE, study_dir=root / "other study", **OPTIONS | {"seed": 1})
    study.refit().save(root / "run")
    study.refit("best", seed=1).save(root / "other run")
    study.refit(policy="folds").save(root / "ensemble")
    return {path.name: path for path in root.iterdir()}


def read(folder: Path):
    """Return all that is known of a folder, to be compared."""
    if (folder / LEDGER).exists():
        study = meden.load_study(folder)
        rows = [vars(row) | {"losses": row.losses.tobytes(), "scores": row.scores.tobytes()} for row in rows_of(study)]
        splits = [[part.tolist() for part in (fold.fit, fold.stop, fold.score)] for fold in study.folds]
        data = {name: repr(value) for name, value in vars(study.data).items()} | {"labels": study.data.labels.tolist()}
        return repr((rows, splits, data, study.space, study.recipe, study.status, study.num_missing, study.model))
    found = meden.load_run(folder)
    return repr([told(run) for run in (found.runs if isinstance(found, meden.run.Ensemble) else [found])])


def rows_of(study):
    return [row for trial in study.trials for row in trial.rows] + list(study.incomplete)


def told(run):
    weights = [(name, t.numpy().tobytes()) for name, t in run.model.state_dict().items()]
    whole = run.held_out and run.held_out.to_dict(), run.encoder and run.encoder.to_dict(), run.history.to_list()
    apart = ("model", "held_out", "encoder", "history")
    return weights, whole, {name: value for name, value in vars(run).items() if name not in apart}


def said(folder: Path) -> str:
    """Return the one line that says what is wrong; nothing if all is read."""
    try:
        read(folder)
    except InputError as error:
        assert "\n" not in str(error) and str(folder) in str(error)
        return str(error)
    return ""


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("name", ["run", "ensemble", "study"])
def test_a_byte_changed_anywhere_is_said_or_changes_nothing(folders, tmp_path, name):
    folder, chance = Path(shutil.copytree(folders[name], tmp_path / name)), random.Random(0)
    wanted, num_said = read(folder), 0
    for _ in range(NUM_PLACES):
        path = chance.choice(files(folder))
        kept = path.read_bytes()
        place = chance.randrange(len(kept))
        other = kept[place] ^ (1 << chance.randrange(8))
        path.write_bytes(kept[:place] + bytes([other]) + kept[place + 1 :])
        line = said(folder)
        num_said += bool(line)
        if not line:
            assert read(folder) == wanted or "'unfinished'" in read(folder), (path, place)
        path.write_bytes(kept)
    assert num_said > NUM_PLACES / 4
    assert read(folder) == wanted


@pytest.mark.parametrize("name", ["run", "ensemble", "study"])
def test_a_file_cut_anywhere_or_taken_away_is_named(folders, tmp_path, name):
    folder = Path(shutil.copytree(folders[name], tmp_path / name))
    wanted = read(folder)
    for path in files(folder):
        kept = path.read_bytes()
        for length in (0, 1, len(kept) // 3, len(kept) // 2, len(kept) - 1):
            path.write_bytes(kept[:length])
            line = said(folder)
            if path.name in ("study.db", "ledger.lock"):
                assert not line and read(folder) == wanted
            elif path.name == LEDGER:
                assert not line and "'unfinished'" in read(folder)
            else:
                assert path.name in line, (path, length)
        path.unlink()
        assert (
            path.name in said(folder) or "folder must hold" in said(folder) or path.suffix in (".db", ".lock", ".jsonl")
        )
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["model.safetensors", "recipe.yaml", "history.json"])
def test_a_whole_file_of_another_run_is_said(folders, tmp_path, name):
    folder = Path(shutil.copytree(folders["run"], tmp_path / "run"))
    shutil.copy(folders["other run"] / name, folder / name)
    if (folder / name).read_bytes() == (folders["run"] / name).read_bytes():
        (folder / name).write_bytes(b"# mine\n" + (folder / name).read_bytes())
    assert f"{name}' must be unchanged since it was written with run.json, but has" in said(folder)


CHANGES = {
    "a number": lambda line: line.replace(b'"seconds": ', b'"seconds": 1'),
    "a string for a number": lambda line: line.replace(b'"best_epoch": 2', b'"best_epoch": "2"'),
    "a list for a float": lambda line: line.replace(b'"l2": ', b'"l2": [').replace(b'}, "status"', b']}, "status"'),
    "a negative epoch": lambda line: line.replace(b'"best_epoch": ', b'"best_epoch": -'),
    "a loss": lambda line: line.replace(b'"losses": "', b'"losses": "AAAA', 1),
    "another fold": lambda line: line.replace(b'"fold": 0', b'"fold": 1').replace(b'"fold": 2', b'"fold": 1'),
    "spaces": lambda line: line.replace(b": ", b":"),
    "no checksum": lambda line: line.partition(b', "sha256"')[0] + b"}",
    "not JSON": lambda line: line[1:],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_line_of_a_ledger_is_named(folders, tmp_path, name):
    path = Path(shutil.copytree(folders["study"], tmp_path / "study")) / LEDGER
    lines = path.read_bytes().split(b"\n")
    for number in (0, 1, 3, 9):
        changed = CHANGES[name](lines[number])
        if changed == lines[number]:
            assert number == 0 or name == "another fold"
            continue
        path.write_bytes(b"\n".join([*lines[:number], changed, *lines[number + 1 :]]))
        told = said(path.parent)
        assert f"{LEDGER}' must be a ledger as meden wrote it, but line {number + 1} is damaged" in told
        with pytest.raises(InputError, match=f"line {number + 1} is damaged"):
            meden.tune(MLP, "iris", SPACE, study_dir=path.parent, **OPTIONS)


def test_rows_of_another_study_are_no_rows_of_this_one(folders, tmp_path):
    path = Path(shutil.copytree(folders["study"], tmp_path / "study")) / LEDGER
    lines, others = (folder.read_bytes().split(b"\n") for folder in (path, folders["other study"] / LEDGER))
    path.write_bytes(b"\n".join([*lines[:5], *others[5:]]))
    assert "line 6 is damaged: it was changed, or belongs to another study" in said(path.parent)


@pytest.mark.parametrize("version", ["1.0", "1.7"])
def test_what_an_older_format_wrote_is_refused_as_that(folders, tmp_path, version):
    path = Path(shutil.copytree(folders["study"], tmp_path / "study")) / LEDGER
    rewrite_ledger(path, lambda header: header | {"format": version})
    assert (
        f"must be of format {MAJOR} or newer to be read by this meden (format {FORMAT}), got format {version}"
        in said(path.parent)
    )


def test_a_recipe_of_an_older_format_is_read(tmp_path):
    (tmp_path / "recipe.yaml").write_text("format: '1.0'\nlr: 0.5\n")
    assert Recipe.load(tmp_path / "recipe.yaml") == Recipe(lr=0.5)


def test_a_changed_final_state_of_a_path_is_named(tmp_path):
    options = {"num": 2, "folds": 2, "recipe": Recipe(epochs=2, batch_size="full"), "study_dir": tmp_path}
    meden.path(MLP, "iris", **options)
    for path in sorted(tmp_path.rglob("*.safetensors"))[:2]:
        kept = path.read_bytes()
        path.write_bytes(kept[:-100] + bytes([kept[-100] ^ 1]) + kept[-99:])
        with pytest.raises(
            InputError, match=f"{path.name}' must be unchanged since meden wrote it, but does not match its sha256"
        ):
            meden.path(MLP, "iris", **options)
        path.write_bytes(kept)
