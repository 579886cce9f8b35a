"""Ask and tell: the same study as of a function, left and taken up again at any job."""

import numpy as np
import pytest
import torch

import meden
from meden import InputError
from meden.search import Asking

from .jobs.loops import OPTIONS, plain
from .jobs.test_functions import same


def test_it_is_the_study_of_the_function(tmp_path):
    whole = meden.tune(plain, **OPTIONS)
    left = 0
    while True:
        with Asking(study_dir=tmp_path, **OPTIONS) as asking:
            for job in asking:
                if left < 3 and job.configuration + job.fold > left:
                    left += 1
                    break
                asking.tell(job, plain(job))
            else:
                break
    assert left == 3
    same(whole, asking.study)
    same(whole, meden.load_study(tmp_path))


def test_a_race_and_an_error_are_told_as_well():
    def answer(job):
        for epoch in range(1, job.epochs + 1):
            if job.report(epoch, job.params["lr"]):
                break
        return np.full(len(job.score), job.params["lr"])

    recipe = meden.Recipe(epochs=8, early_stopping=None)
    options = {**OPTIONS, "budget": 16, "recipe": recipe, "racing": True}
    with pytest.warns(UserWarning, match="1 of 48 jobs failed.*no luck"), Asking(**options) as asking:
        for job in asking:
            asking.tell(job, ValueError("no luck") if job.configuration == 1 else answer(job))
    statuses = [trial.status for trial in asking.study.trials]
    assert statuses[1] == "failed" and "dropped" in statuses


def test_what_is_wrong_is_said_where_it_is_asked():
    with (
        Asking(rows=1, space=OPTIONS["space"]) as asking,
        pytest.raises(InputError, match="rows must be a whole number"),
    ):
        asking.ask()
    with Asking(**OPTIONS) as asking:
        with pytest.raises(InputError, match="not ended"):
            _ = asking.study
        job = asking.ask()
        with pytest.raises(InputError, match="configuration 0, fold 0 has not been told"):
            asking.ask()
        with pytest.raises(InputError, match="asked for last, got 3"):
            asking.tell(3, [])
        assert torch.initial_seed() == job.seed
        asking.tell(job, [1.0])
        for _ in range(2):
            with pytest.raises(InputError, match="scored rows"):
                asking.ask()
    assert torch.initial_seed() != job.seed
    with pytest.raises(InputError, match="with statement"):
        Asking(**OPTIONS).ask()
    with pytest.raises(InputError, match="jobs must be 1"):
        Asking(**OPTIONS, jobs=2)
