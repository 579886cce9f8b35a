"""Workers: whoever trains what, and however many there are, the result is the same to the last bit."""

import dataclasses
import functools
import os
import signal
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import pytest

import meden
from meden import InputError
from meden.data import as_dataset, make_folds
from meden.history import History
from meden.models import MLP
from meden.search import tune
from meden.training.fit_many import plan_stacks
from meden.training.many.population import Population
from meden.workers.coordinator import Coordinator, RemoteCoordinator, Server, Stopped
from meden.workers.fitter import Networks
from meden.workers.workers import Assignment, Workers, divide, work_elsewhere

SPACE = {"l2": meden.LogUniform(1e-4, 1.0), "lr": meden.LogUniform(1e-3, 0.1)}
RECIPE = meden.Recipe(epochs=8, batch_size=64, dropout=0.2, early_stopping=meden.EarlyStopping(patience=4))
OPTIONS = {"folds": 4, "budget": 18, "recipe": RECIPE, "baselines": False}


def small(num_inputs, num_outputs, width=8):
    return MLP(num_inputs, num_outputs, width=width, depth=1)


def plain(row) -> dict:
    """Return all that is known of a training, except how long it took."""
    fields = dataclasses.asdict(row) | {"losses": row.losses.tobytes(), "scores": row.scores.tobytes()}
    return {name: repr(value) for name, value in fields.items() if name != "seconds"}


def rows(study) -> list:
    return [plain(row) for trial in study.trials for row in trial.rows]


def same(study, other) -> bool:
    choices = [(s.best.number, s.one_se.number, s.score) for s in (study, other)]
    return rows(study) == rows(other) and study.table().equals(other.table()) and choices[0] == choices[1]


def members(num: int, folds: int = 3):
    divided = make_folds(as_dataset("iris"), folds, seed=0, stop_fraction=0.15)
    recipes = [RECIPE.replace(lr=1e-3 * (1 + i), epochs=2) for i in range(num)]
    return [meden.Member(r, fold, 0, {"width": 6 + i % 2}) for i, r in enumerate(recipes) for fold in divided]


@pytest.mark.parametrize("num", [1, 2, 3, 8, 20])
def test_shares_hold_every_stack_once_and_about_as_many_members(num):
    stacks = [list(range(size)) for size in (20, 20, 3, 1, 20, 7, 20, 20)]
    assignments = divide(stacks, num)
    assert [stack for assignment in assignments for stack in assignment] == stacks and 1 <= len(assignments) <= num
    sizes = [sum(map(len, assignment)) for assignment in assignments]
    assert max(sizes) <= sum(sizes) / num + 20


def test_a_plan_is_of_full_stacks_whatever_the_machine(monkeypatch):
    everyone = members(30)
    plan = plan_stacks(small, everyone, "iris")
    assert sorted(n for stack in plan for n in stack) == list(range(90))
    assert [len(stack) for stack in plan] == [23, 22, 23, 22]
    monkeypatch.setattr(os, "sysconf", lambda _name: 1)  # no memory
    assert plan_stacks(small, everyone, "iris") == plan


@pytest.mark.parametrize(("num", "sizes"), [(1, [3]), (2, [3, 3])])
def test_a_few_members_are_shared_by_two_cores(num, sizes):
    assert [len(stack) for stack in plan_stacks(small, members(num), "iris")] == sizes


def trained(assignments: int, *, backwards: bool = False) -> dict:
    """Train a plan in so many assignments, one after the other, each through a socket of its own."""
    everyone = members(12)
    stacks = plan_stacks(small, everyone, "iris")
    parts = divide(stacks[::-1] if backwards else stacks, assignments)
    got: dict = {}
    coordinator = Coordinator(len(parts), None, got.__setitem__, None)
    common = {"fitter": Networks(small, as_dataset("iris")), "members": everyone}
    with Server(coordinator) as server:
        for number, part in enumerate(parts):
            assignment = Assignment(number=number, stacks=part, rungs=(), reports_epochs=False, num_threads=1, **common)
            work_elsewhere(assignment, server.address)
    return {
        n: (
            r.status,
            r.best_epoch,
            r.held_out.losses.tobytes(),
            r.history.column("train.loss"),
            r.history.column("valid.loss"),
        )
        for n, r in got.items()
    }


def test_any_division_in_any_order_gives_the_same_bits():
    whole = trained(1)
    assert sorted(whole) == list(range(36))
    assert trained(2, backwards=True) == whole


def test_a_coordinator_reports_each_end_once_and_answers_a_successor_as_it_did_before():
    ended, judged = [], []

    def judge(epoch, histories):
        judged.append((epoch, sorted(histories)))
        return [7]

    coordinator = Coordinator(2, judge, lambda number, _result: ended.append(number), None)
    answers = []
    with Server(coordinator) as server:
        first, second = RemoteCoordinator(server.address), RemoteCoordinator(server.address)
        waiting = threading.Thread(target=lambda: answers.append(first.judge(0, 4, {0: History(), 7: History()})))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive() and not judged
        assert second.judge(1, 4, {3: History()}) == [7]
        waiting.join()
        successor = RemoteCoordinator(server.address)
        assert successor.judge(0, 4, {0: History(), 7: History()}) == [7]
        for worker in (first, successor):
            worker.ended(7, None)
        assert successor.left([[7], [0, 7], [3]]) == [[0, 7], [3]]
    assert answers == [[7]] and judged == [(4, [0, 3, 7])] and ended == [7]
    with pytest.raises((Stopped, EOFError, OSError)):
        first.ended(0, None)


def test_strangers_are_turned_away():
    coordinator = Coordinator(1, None, lambda *_: None, None)
    with Server(coordinator) as server:
        with pytest.raises(AuthenticationError):
            Client(server.address.address, authkey=b"guess")
        assert RemoteCoordinator(server.address).left([[1]]) == [[1]]


class Interrupted(Exception):
    pass


def test_jobs_beyond_the_cores_are_capped_and_said(monkeypatch):
    monkeypatch.setattr("meden.workers.workers.num_cores", lambda: 3)
    with pytest.warns(UserWarning, match="jobs is limited to 3, the number of cores of this machine, got 64"):
        Workers(jobs=64).reach()
    assert [Workers(jobs=jobs).num_processes for jobs in (1, 3, 4, 64)] == [1, 3, 3, 3]


@pytest.mark.distributed
def test_neither_four_workers_nor_two_that_take_over_change_a_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("meden.workers.workers.num_cores", lambda: 4)
    make = lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=8, depth=1)  # noqa: E731 - no name to import

    def stop(progress):
        if progress.num_fits == 20:
            raise Interrupted

    race = tune(make, "iris", SPACE, racing=True, **OPTIONS)
    assert {row.status for trial in race.trials for row in trial.rows} > {"dropped"}
    with pytest.raises(Interrupted):
        tune(make, "iris", SPACE, racing=True, study_dir=tmp_path, jobs=4, on_progress=stop, **OPTIONS)
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 21
    assert same(tune(make, "iris", SPACE, racing=True, study_dir=tmp_path, jobs=2, **OPTIONS), race)


@pytest.mark.distributed
def test_stacks_that_merge_in_a_race_give_the_same_bits_however_it_is_trained(tmp_path, monkeypatch):
    merges = []
    take_over = Population.take_over

    def spied(self, other):
        merges.append(self.epoch)
        take_over(self, other)

    monkeypatch.setattr(Population, "take_over", spied)
    make = functools.partial(small, width=8)
    recipe = RECIPE.replace(epochs=24, batch_size=8)
    options = {"folds": 4, "budget": 28, "strategy": "random", "recipe": recipe, "racing": True, "baselines": False}

    def stop(progress):
        if progress.num_fits == 40:
            raise Interrupted

    race = tune(make, "iris", SPACE, **options)
    assert merges
    with pytest.raises(Interrupted):
        tune(make, "iris", SPACE, study_dir=tmp_path, on_progress=stop, **options)
    assert same(tune(make, "iris", SPACE, study_dir=tmp_path, jobs=2, **options), race)


@pytest.mark.distributed
def test_a_worker_that_is_killed_is_reported_in_one_line_and_nothing_is_lost(tmp_path):
    parent = os.getpid()

    def make(num_inputs, num_outputs):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return MLP(num_inputs, num_outputs, width=8, depth=1)

    options = OPTIONS | {"budget": 10, "strategy": "random", "study_dir": tmp_path}
    with pytest.raises(RuntimeError, match=r"a worker was killed.*continue with the same folder and fewer jobs"):
        tune(make, "iris", SPACE, jobs=2, **options)
    assert len(tune(make, "iris", SPACE, **options).trials) == 10


def test_a_second_search_in_the_same_folder_is_refused_while_the_first_runs(tmp_path):
    refusals = []

    def again(_progress):
        if not refusals:
            with pytest.raises(InputError, match="another search is writing to it") as refused:
                tune(small, "iris", SPACE, study_dir=tmp_path, **options)
            refusals.append(refused)

    options = OPTIONS | {"budget": 2, "folds": 2}
    study = tune(small, "iris", SPACE, study_dir=tmp_path, on_progress=again, **options)
    assert refusals and len(study.trials) == 2
