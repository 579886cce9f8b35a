"""The database beside the ledger: what Optuna's own tools read there, and that it may be lost or refused."""

import os
import sys
from contextlib import contextmanager

import optuna
import pytest

import meden
from meden import Choice, InputError, LogUniform, Recipe
from meden.models import MLP
from meden.search import tune

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


def trials(url):
    with opened(url) as storage:
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
    with pytest.warns(UserWarning, match="the study goes on, but its database cannot be written"):
        study = tune(MLP, "iris", SPACE, study_dir=tmp_path, **OPTIONS)
    assert len(study.trials) == 4 and (tmp_path / "study.db").read_text().startswith("no database")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"storage": "nonsense"}, "storage must be the address of a database"),
        ({"storage": "sqlite:////no/such/folder/a.db"}, "storage must be the address of a database"),
        ({"storage": "sqlite:///a.db", "study_dir": None}, "study_dir must be given too, got None"),
        ({"jobs": 0}, "jobs must be"),
        ({"backend": "threads"}, "backend must be one of local, ray"),
        ({"address": "auto"}, "address is for backend 'ray', got 'auto'"),
    ],
    ids=str,
)
def test_bad_addresses_are_refused_at_the_door(options, told, tmp_path):
    def fail():
        raise AssertionError("it began")

    with pytest.raises(InputError, match=told):
        meden.tune(MLP, "iris", SPACE, on_start=fail, **{"study_dir": tmp_path / "study"} | options | OPTIONS)
    assert not list(tmp_path.iterdir())
