"""A job as a training function sees it: reports, stopping, the best state, folders."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden import InputError


def job_of(**given):
    return meden.Job(**{"params": {"lr": 0.1}, "fit": [0, 1, 2], "stop": [3], "score": [4, 5], "epochs": 9, **given})


def test_it_stops_after_the_last_epoch_and_stays_stopped():
    job = job_of(epochs=2)
    assert [job.report(1, 1.0), job.stopped, job.report(2, 0.5), job.stopped] == [False, False, True, True]
    assert job.ending.status == "completed" and job.report(3, 0.1)
    assert len(job.history) == 2  # what comes after is not recorded


def test_it_stops_early_by_the_rule_of_our_own_trainers():
    rule = meden.EarlyStopping(patience=2, min_delta=0.1)
    job = job_of(patience=rule)
    told = [job.report(epoch, loss) for epoch, loss in enumerate((1.0, 0.95, 0.5, 0.45, 0.44), start=1)]
    assert told == [False] * 4 + [True] and "after epoch 3" in job.ending.reason


@pytest.mark.parametrize("loss", [math.nan, math.inf, torch.tensor(math.nan)])
def test_a_loss_that_is_not_finite_ends_it(loss):
    job = job_of()
    assert job.report(1, loss) and job.ending.status == "diverged"


def test_epochs_between_two_reports_count_as_the_later_one():
    job = job_of()
    job.report(np.int64(2), 1.0), job.report(5, torch.tensor(0.5, requires_grad=True), train_loss=0.25)
    assert job.history.column("valid.loss") == [1.0, 1.0, 0.5, 0.5, 0.5]
    assert np.isnan(job.history.column("train.loss")[:2]).all() and job.history.column("train.loss")[4] == 0.25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 0.5), "integer of at least 1, got 0"),
        ((1.5, 0.5), "got 1.5"),
        ((True, 0.5), "got True"),
        ((1, "low"), "stop_loss must be a number, got 'low'"),
        ((1, torch.ones(2)), "stop_loss must be a number"),
        ((1,), "must be given the stop_loss"),
        ((1, 0.5, "low"), "train_loss must be a number"),
    ],
)
def test_bad_reports_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        job_of().report(*arguments)


def test_a_job_that_goes_on_takes_up_what_was_reported(tmp_path):
    rule = meden.EarlyStopping(patience=2)
    first = job_of(home=tmp_path, patience=rule)
    for epoch, loss in enumerate((1.0, 0.5, 0.7, 0.8), start=1):
        first.report(epoch, loss)
    assert first.stopped
    again = job_of(home=tmp_path, patience=rule)
    assert not again.stopped and again.ending is not None  # it may begin anew
    assert again.resume(4) and again.stopped and again.best_epoch == 4
    earlier = job_of(home=tmp_path, patience=rule)
    assert not earlier.resume(2) and earlier.history.column("valid.loss") == [1.0, 0.5]
    assert not earlier.report(3, 0.4) and len(earlier.history) == 3
    anew = job_of(home=tmp_path, patience=rule)
    assert not anew.report(1, 0.9) and anew.history.column("valid.loss") == [0.9]
    with pytest.raises(InputError, match="report an epoch before saving"):
        job_of(home=tmp_path).resume(5)


def test_rows_are_the_jobs_own():
    rows = np.arange(3)
    job = job_of(fit=rows)
    np.random.shuffle(job.fit)
    job.fit[0] = 9
    assert rows.tolist() == [0, 1, 2]


def test_epochs_rise_and_scoring_is_the_end():
    job = job_of()
    job.report(2, 1.0)
    with pytest.raises(InputError, match="must increase, got 2 after 2"):
        job.report(2, 1.0)
    with job.scoring():
        assert not torch.is_grad_enabled()
    with pytest.raises(InputError, match=r"before job\.scoring"):
        job.report(3, 1.0)


def test_the_best_state_is_put_back_for_scoring():
    model = nn.Linear(1, 1)
    job = job_of()
    job.keep_best(model)
    for epoch, loss in enumerate((1.0, 0.5, 0.7), start=1):
        nn.init.constant_(model.weight, epoch)
        job.report(epoch, loss)
        assert job.is_best == (epoch < 3)
    with job.scoring():
        assert model.weight.item() == 2.0
    assert job.best_epoch == 2
    with pytest.raises(InputError, match="before the first report"):
        job.keep_best(model)
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        job_of().keep_best({})


def test_folders_are_made_when_asked_for(tmp_path):
    job = job_of(home=tmp_path / "home")
    assert not (tmp_path / "home").exists()
    (job.checkpoint_dir / "state.pt").write_text("")
    (job.folder / "kept.txt").write_text("")
    job.close()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["kept.txt"]
    nowhere = job_of()
    folder = nowhere.folder
    assert folder.is_dir()
    nowhere.close()
    assert not folder.exists()
