"""How far a search is: the numbers add up to what the ledger holds, whoever trains; lines come when they are due."""

import io
import itertools
import math

import pytest

from meden import Choice, EarlyStopping, LogUniform, Recipe
from meden.models import MLP
from meden.search import Progress, ProgressLines, compare, tune
from meden.search.progress import Meter
from meden.study.ledger import Key

SPACE = {"l2": LogUniform(1e-3, 1.0), "lr": LogUniform(1e-4, 1e-1)}
RECIPE = Recipe(epochs=16, batch_size=64, early_stopping=EarlyStopping(patience=3))
OPTIONS = {"folds": 4, "budget": 12, "strategy": "random", "recipe": RECIPE}


def small(num_inputs, num_outputs):
    return MLP(num_inputs, num_outputs, width=8, depth=1)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr("meden.search.engine.TELL_EVERY", 0.0)
    monkeypatch.setattr("meden.workers.workers.REPORT_EVERY", 0.0)


def check(seen, study):
    """Check what was told of a search from its beginning against what came of it."""
    rows = [row for trial in study.trials for row in trial.rows]
    first, last = seen[0], seen[-1]
    assert first.num_epochs == first.num_fits == first.num_alive == 0 and first.max_fits == len(rows)
    assert first.max_epochs == len(rows) * 16
    assert last.ended and not any(progress.ended for progress in seen[:-1])
    assert last.num_epochs == last.max_epochs == sum(row.num_epochs for row in rows)
    assert last.num_fits == len(rows) and last.num_alive == 0 and last.seconds_left == 0
    assert last.num_configurations == last.max_configurations == len(study.trials)
    assert last.num_dropped == sum(trial.status == "dropped" for trial in study.trials)
    assert last.best_loss == pytest.approx(min(t.loss for t in study.trials if t.status == "ok"))
    for before, after in itertools.pairwise(seen):
        assert after.num_epochs >= before.num_epochs and after.max_epochs <= before.max_epochs
        assert after.num_epochs <= after.max_epochs and after.num_fits + after.num_alive <= after.max_fits
    assert any(progress.num_alive and math.isfinite(progress.best_stop_loss) for progress in seen)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("racing", [False, True])
def test_epochs_are_told_from_the_first_one_and_add_up(racing):
    seen = []
    study = tune(small, "iris", SPACE, racing=racing, on_progress=seen.append, **OPTIONS)
    check(seen, study)
    assert seen[1].num_fits == 0 < seen[1].num_epochs, "the first epoch is told at once"
    assert bool(seen[-1].num_dropped) == racing


@pytest.mark.distributed
def test_workers_in_other_processes_tell_it_too(monkeypatch):
    monkeypatch.setattr("meden.workers.workers.num_cores", lambda: 2)
    seen = []
    study = tune(small, "iris", SPACE, racing=True, jobs=2, on_progress=seen.append, **OPTIONS)
    check(seen, study)


def test_those_that_lost_leave_less_to_do(monkeypatch):
    monkeypatch.setattr("meden.search.engine.TELL_EVERY", 0.0)
    seen = []
    tune(small, "iris", SPACE, racing=True, on_progress=seen.append, **OPTIONS)
    for before, after in itertools.pairwise(seen):
        if after.num_dropped > before.num_dropped:  # after 4 of 16 epochs: none of its 4 fits goes further
            assert before.max_epochs - after.max_epochs == 4 * 12
            return
    pytest.fail("nobody lost")


def test_what_the_ledger_held_before_counts_as_done(tmp_path):
    class Killed(Exception):
        pass

    def stop(progress):
        if progress.num_fits == 7:
            raise Killed

    with pytest.raises(Killed):
        tune(small, "iris", SPACE, study_dir=tmp_path, on_progress=stop, **OPTIONS)
    seen = []
    study = tune(small, "iris", SPACE, study_dir=tmp_path, on_progress=seen.append, **OPTIONS)
    assert seen[1].num_fits >= 7 and seen[-1].num_epochs == sum(r.num_epochs for t in study.trials for r in t.rows)


def test_a_comparison_tells_the_same():
    seen = []
    compare(small, "iris", {"none": None, "L2": {"l2": 0.1}}, folds=2, recipe=RECIPE, on_progress=seen.append)
    assert seen[-1].ended and seen[-1].max_configurations == 2 and seen[-1].num_fits == 4


def test_an_epoch_that_is_told_twice_counts_once():
    meter, key = Meter(1, 2, 1), Key(0, 0, 0)
    meter.ask(0, [key, Key(0, 1, 0)], 10)
    for epoch in (1, 2, 3, 1, 2, 3, 4):
        meter.epoch(key, epoch, 0.5)
    found = meter.progress()
    assert (found.num_epochs, found.max_epochs, found.num_alive, found.best_stop_loss) == (4, 20, 1, 0.5)


def test_no_rate_is_told_before_it_is_known_and_a_limit_bounds_it(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    meter, key = Meter(2, 1, 10), Key(0, 0, 0)
    meter.ask(0, [key], 10)
    assert meter.progress().seconds_left == math.inf and meter.progress(limit=5.0).seconds_left == 5.0
    for epoch, at in ((1, 101.0), (2, 101.5), (5, 103.0)):
        now[0] = at
        meter.epoch(key, epoch, 0.5)
    assert meter.progress().seconds_left == pytest.approx(15 * 2.0 / 4), "15 epochs left, 4 in 2 seconds"
    assert meter.progress(limit=1.0).seconds_left == 1.0


def test_a_search_without_a_stop_split_tells_no_stop_loss():
    seen = []
    options = OPTIONS | {"recipe": Recipe(epochs=4, batch_size=64), "budget": 2}
    tune(small, "iris", {"lr": Choice(0.01, 0.1)}, stop_fraction=0.0, on_progress=seen.append, **options)
    assert {progress.best_stop_loss for progress in seen} == {math.inf}


def lines(*seconds, each=False):
    file = io.StringIO()
    say = ProgressLines(each=each, file=file)
    for number, at in enumerate(seconds):
        say(Progress(number, 99, max_fits=9, num_configurations=number, seconds=at))
    return [int(line.split()[1]) for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("each", "told"), [(False, [2, 5, 6]), (True, [1, 3, 4, 6])], ids=["now and then", "each configuration"]
)
def test_lines_come_after_two_seconds_and_then_every_half_minute(each, told):
    assert lines(0.0, 1.9, 2.0, 3.0, 31.9, 32.0, 63.0, each=each) == told
