"""The database beside the ledger: what Optuna's own tools read there, and that it may be lost or refused."""

import functools
import os
import sys
from contextlib import ExitStack, contextmanager

import optuna
import pytest

import meden
from meden import Choice, InputError, LogUniform, Recipe
from meden.models import MLP
from meden.search import tune
from meden.search.optuna_database import OptunaDatabase

SPACE = {"l2": LogUniform(1e-3, 1.0), "lr": Choice(0.01, 1e25)}
OPTIONS = {"folds": 2, "budget": 4, "strategy": "grid", "recipe": Recipe(epochs=2, optimizer="sgd", batch_size=64)}


SERVER = os.environ.get("MEDEN_TEST_DATABASE")
"""Address of an empty database on a server, such as postgresql+psycopg://user@host/name."""


@contextmanager
def opened(url):
    storage = optuna.storages.RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


RACE = {
    "data": "iris",
    "space": {"l2": LogUniform(1e-3, 1.0), "lr": LogUniform(1e-4, 1e-1)},
    "folds": 4,
    "budget": 12,
    "strategy": "random",
    "racing": True,
    "recipe": Recipe(epochs=16, batch_size=64, early_stopping=meden.EarlyStopping(patience=3)),
}


def small(num_inputs, num_outputs):
    return MLP(num_inputs, num_outputs, width=8, depth=1)


@pytest.fixture
def at_once(monkeypatch):
    """Write after each epoch: the rate is no matter."""
    monkeypatch.setattr("meden.search.engine.TELL_EVERY", 0.0)
    monkeypatch.setattr("meden.search.tracker.SELDOM", 0.0)
    monkeypatch.setattr("meden.workers.workers.REPORT_EVERY", 0.0)


class Killed(Exception):
    pass


def killed_after(num):
    def stop(progress):
        if progress.num_fits == num:
            raise Killed

    return stop


def trials(url):
    with opened(url) as storage:
        return trials_in(storage)


def trials_in(storage):
    (name,) = optuna.get_all_study_names(storage)
    return name, optuna.load_study(study_name=name, storage=storage).trials


def test_optuna_reads_what_was_tried_and_what_came_of_it(tmp_path):
    study = tune(MLP, "iris", SPACE, study_dir=tmp_path / "mine", **OPTIONS)
    name, found = trials(f"sqlite:///{tmp_path}/mine/study.db")
    assert name.startswith("mine-") and len(found) == 4
    for trial, ours in zip(found, study.trials, strict=True):
        assert trial.params == ours.params and set(trial.distributions) == set(SPACE)
        assert trial.state.name == ("COMPLETE" if ours.status == "ok" else "FAIL")
        assert trial.value == (ours.loss if ours.status == "ok" else None)
        assert trial.user_attrs["status"] == ours.outcome
    assert {trial.state.name for trial in found} == {"COMPLETE", "FAIL"}


def test_a_lost_database_is_filled_again_and_a_whole_one_left_alone(tmp_path):
    first = tune(MLP, "iris", SPACE, study_dir=tmp_path, **OPTIONS)
    name, before = trials(f"sqlite:///{tmp_path}/study.db")
    (tmp_path / "study.db").unlink()
    for _ in range(2):
        tune(MLP, "iris", SPACE, study_dir=tmp_path, **OPTIONS)
        again, found = trials(f"sqlite:///{tmp_path}/study.db")
        assert again == name and [t.values for t in found] == [t.values for t in before]
    assert len(first.trials) == len(found)


def test_a_database_elsewhere_holds_studies_side_by_side(tmp_path):
    url = f"sqlite:///{tmp_path}/all.db"
    for seed in (0, 1):
        tune(MLP, "iris", SPACE, study_dir=tmp_path / "same", storage=url, seed=seed, **OPTIONS | {"budget": 1})
        (tmp_path / "same" / "ledger.jsonl").unlink()
    with opened(url) as storage:
        assert len(optuna.get_all_study_names(storage)) == 2 and not (tmp_path / "same" / "study.db").exists()


@pytest.mark.usefixtures("at_once")
def test_a_race_is_there_while_it_runs(tmp_path):
    """States and curves are read by another connection after each fit, and between fits."""
    seen = []
    with ExitStack() as stack:
        # made by the first look, when there is a database; opening it takes longer than reading
        reader = functools.cache(lambda: stack.enter_context(opened(f"sqlite:///{tmp_path}/study.db")))

        def look(progress):
            if progress.num_epochs:
                seen.append(trials_in(reader())[1])

        study = tune(small, study_dir=tmp_path, on_progress=look, **RACE)
    running = [trial for found in seen for trial in found if trial.state.name == "RUNNING"]
    assert seen[0] and {trial.number for trial in running} == set(range(12))
    assert {len(trial.intermediate_values) for trial in running if trial.number == 0} >= {1, 2, 3, 4}
    assert any({trial.state.name for trial in found} > {"PRUNED", "RUNNING"} for found in seen[:-1])
    assert {trial.state.name for trial in seen[-1]} == {"COMPLETE", "PRUNED"}
    for trial, ours in zip(seen[-1], study.trials, strict=True):
        curves = [row.stop_loss for row in ours.rows if row.stop_loss]
        longest = max(map(len, curves))
        expected = [sum(c[min(i, len(c) - 1)] for c in curves) / len(curves) for i in range(longest)]
        assert trial.number == trial.user_attrs["configuration"] == ours.number
        assert list(trial.intermediate_values) == list(range(1, longest + 1))
        assert list(trial.intermediate_values.values()) == pytest.approx(expected)
        assert trial.datetime_start < trial.datetime_complete


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("num", "ending"), [(1, "killed"), (13, "stopped"), (30, "killed")])
def test_what_was_cut_off_waits_and_is_finished_without_doubles(tmp_path, monkeypatch, num, ending):
    url = f"sqlite:///{tmp_path}/study.db"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if ending == "killed":
            patch.setattr(OptunaDatabase, "close", lambda self: self._storage and self._storage.engine.dispose())
        tune(small, study_dir=tmp_path, on_progress=killed_after(num), **RACE)
    name, before = trials(url)
    left = {trial.number for trial in before if not trial.state.is_finished()}
    assert left and {before[number].state.name for number in left} <= {"WAITING", "RUNNING"}
    assert any(before[n].state.name == "RUNNING" for n in left) == (ending == "killed")
    study = tune(small, study_dir=tmp_path, **RACE)
    again, after = trials(url)
    assert again == name and [trial.params for trial in after] == [trial.params for trial in study.trials]
    assert [trial.value for trial in after] == [t.loss if t.status == "ok" else None for t in study.trials]
    assert all(trial.state.is_finished() and trial.intermediate_values for trial in after)
    for trial in before:
        assert trial.params == after[trial.number].params
        assert trial.number in left or trial.datetime_complete == after[trial.number].datetime_complete


def test_no_curve_where_there_is_no_stop_split(tmp_path):
    tune(MLP, "iris", SPACE, study_dir=tmp_path, stop_fraction=0.0, **OPTIONS)
    _, found = trials(f"sqlite:///{tmp_path}/study.db")
    assert len(found) == 4 and not any(trial.intermediate_values for trial in found)


@pytest.mark.skipif(SERVER is None, reason="MEDEN_TEST_DATABASE is not set")
def test_a_server_holds_what_the_ledger_holds_before_and_after_going_on(tmp_path):
    study = tune(MLP, "iris", SPACE, study_dir=tmp_path, storage=SERVER, **OPTIONS)
    whole, ledger = trials(SERVER), (tmp_path / "ledger.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "ledger.jsonl").write_text("".join(ledger[:4]))  # cut off after a configuration or two
    again = tune(MLP, "iris", SPACE, study_dir=tmp_path, storage=SERVER, **OPTIONS)
    name, found = trials(SERVER)
    with opened(SERVER) as storage:
        optuna.delete_study(study_name=name, storage=storage)
    assert [t.loss for t in again.trials] == pytest.approx([t.loss for t in study.trials], nan_ok=True)
    assert name == whole[0] and len(found) == 4
    assert [t.value for t in found] == [t.loss if t.status == "ok" else None for t in study.trials]


def test_a_missing_driver_is_named(tmp_path, monkeypatch):
    for driver in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(InputError, match=r"pip install 'meden\[postgres\]'"):
        tune(MLP, "iris", SPACE, study_dir=tmp_path, storage="postgresql+psycopg://a@localhost/b", **OPTIONS)


def test_a_damaged_database_costs_nothing_but_itself(tmp_path):
    (tmp_path / "study.db").write_text("no database " * 100)
    with pytest.warns(UserWarning, match="its database cannot be written, the study continues without it"):
        study = tune(MLP, "iris", SPACE, study_dir=tmp_path, **OPTIONS)
    assert len(study.trials) == 4 and (tmp_path / "study.db").read_text().startswith("no database")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"storage": "nonsense"}, "storage must be the address of a database"),
        ({"storage": "sqlite:////no/such/folder/a.db"}, "storage must be the address of a database"),
        ({"storage": "sqlite:///a.db", "study_dir": None}, "storage must be given together with study_dir"),
        ({"jobs": 0}, "jobs must be"),
        ({"backend": "threads"}, "backend must be one of local, ray"),
        ({"address": "auto"}, "address must be given only with backend 'ray', got 'auto'"),
    ],
    ids=str,
)
def test_bad_addresses_are_refused_at_the_door(options, told, tmp_path):
    def fail():
        raise AssertionError("it began")

    with pytest.raises(InputError, match=told):
        meden.tune(MLP, "iris", SPACE, on_start=fail, **{"study_dir": tmp_path / "study"} | options | OPTIONS)
    assert not list(tmp_path.iterdir())
