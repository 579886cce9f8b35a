"""A disk that is full at any write: what stood before stands, what is there is whole or said to be torn, all goes on.

Each job is run once to count its writes, and then once for each write that may fail: that one alone, or, as on a disk
that stays full, all from there on. Then it is run again, with room. Of long jobs a sample of the writes fails; with
``MEDEN_EVERY_WRITE=1`` every one does.
"""

import errno
import functools
import hashlib
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import meden
from meden import InputError, LogUniform, Recipe, models
from meden.cli import main
from meden.run import Ensemble, Run
from meden.search.simple_models import SimpleModels
from meden.study.ledger import LEDGER, read_rows
from tests.full_disk import FullDisk, full

RECIPE = Recipe(epochs=2, batch_size="full", early_stopping=meden.EarlyStopping(patience=2))
MLP = functools.partial(models.MLP, width=2, depth=1)
DATA = meden.as_dataset("iris")
PLAIN = Recipe(epochs=2, batch_size="full")
SPACE = {"l2": LogUniform(1e-3, 1.0)}
SEARCH = {"folds": 2, "budget": 2, "strategy": "random", "recipe": RECIPE}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Two steps are done before a stack of them is traced; the results are the same. Models are no matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        patch.setattr("meden.training.fit_many.rows_are_independent", lambda *_: True)
        patch.setattr("meden.report.page._plotly", lambda: "")
        patch.setattr("meden.study.selection.MOST_DRAWN", 0)  # a tenth of the draws
        for name in ("_linear", "_trees"):  # their rows are written all the same
            patch.setattr(SimpleModels, name, SimpleModels._constant)
        yield


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """A folder with what jobs need, or find there."""
    folder = tmp_path_factory.mktemp("before")
    RECIPE.save(folder / "recipe.yaml")
    fitted(0).save(folder / "run")
    fitted(1).save(folder / "other")
    shutil.copytree(folder / "other", folder / "replaced")
    meden.tune(MLP, DATA, SPACE, study_dir=folder / "study", **SEARCH).refit(policy="folds").save(folder / "folds")
    (folder / "rows.csv").write_text("sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5,3,1,1\n")
    for name in ("predictions.csv", "page.html", "mine.yaml"):
        (folder / name).write_text("what was there")
    shutil.copytree(folder / "study", folder / "cut")
    lines = (folder / "cut" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cut" / "ledger.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:50])
    return folder


@functools.cache
def fitted(seed: int) -> Run:
    return meden.fit_many(MLP, [meden.Member(PLAIN, seed=seed)], DATA)[0]


def command(text: str):
    """Return what runs a command in a folder."""

    def job(folder: Path) -> None:
        os.chdir(folder)
        if status := main(text.split()):
            raise CommandFailed(status)

    return job


class CommandFailed(Exception):
    pass


def weights(run: Run | Ensemble) -> list:
    runs = run.runs if isinstance(run, Ensemble) else [run]
    return [(one.recipe, one.seed, [t.numpy().tobytes() for t in one.model.state_dict().values()]) for one in runs]


def of_run(folder: Path):
    return weights(meden.load_run(folder))


def of_study(folder: Path):
    study = meden.load_study(folder)
    trained = of_run(folder) if (folder / "run.json").exists() else None
    return study.table().to_csv(), study.status, study.num_missing, trained


def of_ledger(folder: Path):
    rows = read_rows(folder / LEDGER).rows
    return {key: (row.losses.tobytes(), row.scores.tobytes(), row.train_loss) for key, row in rows.items()}


def of_tensors(path: Path):
    tensors, _ = meden.checkpoint.load(path)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def walked(folder: Path) -> None:
    options = {"strengths": [0.01, 1.0], "folds": 2, "recipe": PLAIN, "study_dir": folder / "new"}
    found = meden.path(MLP, DATA, **options)
    assert all(run.status == "completed" for run in found.runs("best"))


def resumed(folder: Path) -> None:
    torch.manual_seed(0)
    model, data = torch.nn.Linear(2, 2), (torch.ones(8, 2), torch.arange(8) % 2)
    meden.fit(model, data, recipe=Recipe(epochs=3), checkpoint=folder / "training")


def of_file(path: Path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_page(path: Path):
    return path.read_text().rstrip().endswith("</html>") or path.read_text()


@dataclass(frozen=True)
class Job:
    """What writes."""

    do: object
    """Called with a folder."""
    out: str
    """What it writes there."""
    read: object
    """Reads that, as something to compare."""
    sample: int = 1
    """Of how many writes one is made to fail."""
    whole: bool = False
    """Whether what is there must be what was there or what is to be, as for one file."""


CLI_SEARCH = "--model linear --recipe recipe.yaml --folds 2 --budget 2 --strategy random --search l2=1e-3:1:log"
JOBS = {
    "recipe": Job(lambda folder: RECIPE.save(folder / "mine.yaml"), "mine.yaml", of_file, whole=True),
    "run": Job(lambda folder: fitted(0).save(folder / "new"), "new", of_run),
    "run over another": Job(lambda folder: fitted(0).save(folder / "replaced"), "replaced", of_run),
    "ensemble": Job(lambda folder: meden.load_run(folder / "folds", MLP).save(folder / "new"), "new", of_run, sample=9),
    "tune": Job(
        lambda folder: meden.tune(MLP, DATA, SPACE, study_dir=folder / "new", **SEARCH) and None,
        "new",
        of_study,
        sample=9,
    ),
    "go on": Job(
        lambda folder: meden.tune(MLP, DATA, SPACE, study_dir=folder / "cut", **SEARCH) and None,
        "cut",
        of_study,
        sample=9,
    ),
    "fit": Job(command("fit iris --model linear --recipe recipe.yaml --out new"), "new", of_run, sample=9),
    "tune command": Job(command(f"tune iris {CLI_SEARCH} --out new"), "new", of_study, sample=15),
    "resume": Job(command("resume cut"), "cut", of_study, sample=15),
    "compare": Job(
        command("compare iris --model linear --recipe recipe.yaml --folds 2 --with L2:l2=0.1 --out new"),
        "new",
        of_ledger,
        sample=9,
    ),
    "path": Job(walked, "new", lambda folder: of_ledger(folder), sample=30),
    "checkpoint": Job(resumed, "training", of_tensors),
    "predict": Job(
        command("predict run rows.csv --out predictions.csv --force"), "predictions.csv", of_file, whole=True
    ),
    "report": Job(command("report study --out page.html --force"), "page.html", of_page, whole=True),
}


def moments(job: Job, kinds: list[str]) -> list[tuple[int, bool]]:
    """Return the writes that fail, with all that follow or alone: the first of each kind, and an even sample."""
    if os.environ.get("MEDEN_EVERY_WRITE"):
        return [(number, sticky) for number in range(1, len(kinds) + 1) for sticky in (True, False)]
    places = {kinds.index(kind) for kind in kinds} | set(range(0, len(kinds), job.sample)) | {len(kinds) - 1}
    return [(place + 1, number % 2 == 0) for number, place in enumerate(sorted(places))]


def state(job: Job, folder: Path):
    """Return what is there; the line that says that nothing is, or that it is torn."""
    try:
        return job.read(folder / job.out)
    except (InputError, FileNotFoundError) as error:
        assert "\n" not in str(error)
        return error


def failed(job: Job, folder: Path, said) -> bool:
    """Run a job; a command says in one line why it fails."""
    said.readouterr()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the database, which is only a copy
            job.do(folder)
    except OSError as error:
        assert error.errno == errno.ENOSPC and error.filename
    except CommandFailed as error:
        last = said.readouterr().err.strip().splitlines()[-1]
        assert (
            error.args == (1,)
            and last.startswith("failed: No space left on device: ")
            and "free some disk space" in last
        ), last
    else:
        return False
    return True


@pytest.mark.parametrize("name", JOBS)
def test_whatever_write_fails_nothing_is_lost_and_all_goes_on(name, before, tmp_path, capsys, monkeypatch):
    job = JOBS[name]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(before, tmp_path / "counted")
    with full(FullDisk(tmp_path / "counted")) as disk:
        job.do(tmp_path / "counted")
    wanted, there = job.read(tmp_path / "counted" / job.out), state(job, before)
    assert isinstance(there, Exception) or there != wanted
    folder = tmp_path / "full"
    for first, sticky in moments(job, disk.writes):
        shutil.copytree(before, folder)
        with full(FullDisk(folder, first, sticky=sticky)) as at:
            did_fail = failed(job, folder, capsys)
        swallowed = at.writes[first - 1]
        if not did_fail:
            assert swallowed == "database" and not sticky, (first, sticky, swallowed)
        found = state(job, folder)
        if job.whole:
            assert found in (there, wanted) or type(found) is type(there), (first, sticky, found)
        if isinstance(found, tuple) and found[1] == "ok" and found[-1] is not None:
            assert found == wanted, (first, sticky)
        assert not list(folder.rglob("*.part")) or sticky or not job.whole
        if name == "run over another":
            assert isinstance(found, InputError) or found in (there, wanted)
        retry = JOBS["resume"] if name == "tune command" and (folder / "new" / "study.json").exists() else job
        os.chdir(folder)
        (Job(command("resume new"), "new", of_study) if retry is not job else job).do(folder)
        assert state(job, folder) == wanted, (first, sticky)
        shutil.rmtree(folder)
