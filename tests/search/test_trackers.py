"""What follows a search is told of each epoch once, in order, and again when the search goes on; and what it writes."""

import importlib.util
import math
import sys

import pytest

from meden import Choice, EarlyStopping, InputError, LogUniform, Recipe
from meden.models import MLP
from meden.search import tune

SPACE = {"l2": LogUniform(1e-3, 1.0), "lr": LogUniform(1e-4, 1e-1)}
RECIPE = Recipe(epochs=16, batch_size=64, early_stopping=EarlyStopping(patience=3))
OPTIONS = {"folds": 4, "budget": 10, "strategy": "random", "recipe": RECIPE}


def small(num_inputs, num_outputs):
    return MLP(num_inputs, num_outputs, width=8, depth=1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("meden.search.tracker.SELDOM", 0.0)
    monkeypatch.setattr("meden.workers.workers.REPORT_EVERY", 0.0)


class Notebook:
    """A tracker that keeps what it is told."""

    name = "a notebook"

    def __init__(self, known=()):
        self.known, self.study, self.params, self.curves, self.trials, self.closed = known, "", {}, {}, {}, 0
        self.reports = 0

    def start(self, study):
        self.study = study

    def begin(self, number, params):
        assert number not in self.params
        self.params[number] = params
        return number not in self.known

    def epochs(self, losses):
        self.reports += 1
        for key, epoch, train_loss, stop_loss in losses:
            assert key.configuration in self.params and key.configuration not in self.trials
            curve = self.curves.setdefault(key, [])
            assert epoch == len(curve) + 1
            curve.append((train_loss, stop_loss))

    def end(self, trial):
        assert trial.number in self.params and trial.number not in self.trials
        self.trials[trial.number] = trial

    def close(self):
        self.closed += 1

    def check(self, study):
        assert self.closed == 1 and {n: trial.params for n, trial in self.trials.items()} == self.params
        rows = {row.key: row for trial in study.trials for row in trial.rows if row.num_epochs}
        assert set(self.curves) == {key for key in rows if key.configuration not in self.known}
        for key, curve in self.curves.items():
            train, stop = zip(*curve, strict=True)
            assert list(train) == rows[key].train_loss and list(stop) == rows[key].stop_loss


class Killed(Exception):
    pass


def killed_after(num):
    def stop(progress):
        if progress.num_fits == num:
            raise Killed

    return stop


@pytest.mark.parametrize("racing", [False, True])
def test_every_epoch_is_told_once_and_in_order(racing):
    told = Notebook()
    study = tune(small, "iris", SPACE, racing=racing, trackers=[told], **OPTIONS)
    told.check(study)
    assert told.reports > 16 and len(told.trials) == 10


@pytest.mark.distributed
def test_workers_in_other_processes_tell_it_too(monkeypatch):
    monkeypatch.setattr("meden.workers.workers.num_cores", lambda: 2)
    told = Notebook()
    told.check(tune(small, "iris", SPACE, racing=True, jobs=2, trackers=[told], **OPTIONS))


def test_one_that_goes_on_tells_all_again_and_spares_who_knows(tmp_path):
    first, again, knowing = Notebook(), Notebook(), Notebook(known=(0, 3))
    with pytest.raises(Killed):
        tune(small, "iris", SPACE, study_dir=tmp_path, trackers=[first], on_progress=killed_after(9), **OPTIONS)
    assert first.closed == 1 and len(first.params) > len(first.trials)
    study = tune(small, "iris", SPACE, study_dir=tmp_path, trackers=[again, knowing], **OPTIONS)
    again.check(study)
    assert first.study == again.study and again.study.startswith(tmp_path.name)
    assert {key.configuration for key in knowing.curves} == set(range(10)) - {0, 3}
    assert set(knowing.trials) == set(range(10)) - {0, 3}


@pytest.mark.parametrize("fails", ["start", "begin", "epochs", "end", "close"])
def test_one_that_fails_is_let_go_and_the_others_are_told(fails):
    told, broken = Notebook(), Notebook()

    def fail(*_):
        raise RuntimeError("no\nroom")

    setattr(broken, fails, fail)
    with pytest.warns(
        UserWarning, match="a notebook cannot be written, the study continues without it: no room"
    ) as warned:
        study = tune(small, "iris", SPACE, trackers=[broken, told], **OPTIONS | {"budget": 2})
    told.check(study)
    assert len(warned) == 1 and broken.closed == 0


@pytest.mark.parametrize(
    ("trackers", "told"),
    [
        (["wandb"], "trackers must be one of tensorboard, mlflow, got 'wandb'"),
        (["tensorboard"], "trackers must not hold 'tensorboard' without study_dir"),
        ("mlflow", "trackers must be a list of names or of trackers, got 'mlflow'"),
        ([3], "trackers must be a list of names or of trackers, got 3"),
    ],
    ids=str,
)
def test_trackers_are_refused_at_the_door(trackers, told):
    with pytest.raises(InputError, match=told):
        tune(small, "iris", SPACE, trackers=trackers, on_start=pytest.fail, **OPTIONS)


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_tool_is_named_with_what_to_install(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"{name}.*pip install 'meden\[trackers\]'"):
        tune(small, "iris", SPACE, study_dir=tmp_path / "study", trackers=[name], **OPTIONS)
    assert not list(tmp_path.iterdir())


def installed(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed: pip install 'meden[trackers]'")


def killed_and_gone_on(folder, name):
    options = OPTIONS | {"space": SPACE | {"lr": Choice(1e-2, 1e25)}, "budget": 4, "study_dir": folder}
    options |= {"recipe": RECIPE.replace(optimizer="sgd"), "trackers": [name], "strategy": "grid"}
    with pytest.raises(Killed):
        tune(small, "iris", on_progress=killed_after(6), **options)
    return tune(small, "iris", **options)


@installed("tensorboard")
@pytest.mark.filterwarnings("ignore")  # tensorboard's own
def test_tensorboard_reads_a_run_for_each_configuration(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = killed_and_gone_on(tmp_path, "tensorboard")
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == {f"configuration_{i}" for i in range(4)}
    for trial in study.trials:
        found = EventAccumulator(str(tmp_path / f"tensorboard/configuration_{trial.number}"))
        found.Reload()
        for row in trial.rows if trial.status == "ok" else ():
            events = found.Scalars(f"stop_loss/fold_{row.fold}")
            assert [event.step for event in events] == list(range(1, row.num_epochs + 1))
            assert [event.value for event in events] == pytest.approx(row.stop_loss, rel=1e-6)
        if trial.status == "ok":
            assert found.Scalars("held_out_loss")[-1].value == pytest.approx(trial.loss, rel=1e-6)
            assert len(found.Scalars("stop_loss")) == max(row.num_epochs for row in trial.rows)
    assert {trial.status for trial in study.trials} == {"ok", "diverged"}


@installed("mlflow")
@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_mlflow_reads_a_run_for_each_configuration(tmp_path):
    from mlflow import MlflowClient

    study = killed_and_gone_on(tmp_path, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name.startswith(tmp_path.name))
    runs = {int(run.data.tags["configuration"]): run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == [0, 1, 2, 3]
    for trial in study.trials:
        run = runs[trial.number]
        assert run.info.status == ("FINISHED" if trial.status == "ok" else "FAILED")
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        for row in trial.rows:
            found = client.get_metric_history(run.info.run_id, f"stop_loss/fold_{row.fold}")
            finite = [loss for loss in row.stop_loss if math.isfinite(loss)]
            assert [m.value for m in sorted(found, key=lambda m: m.step)] == pytest.approx(finite)
        if trial.status == "ok":
            assert run.data.metrics["held_out_loss"] == pytest.approx(trial.loss)
