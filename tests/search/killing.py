"""A study that is killed at random moments and resumed until it ends, in processes that fork from this one.

Run by test_kill.py, as a program of its own: a fork of a process with threads would not be sound.
"""

import dataclasses
import functools
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import meden
from meden.models import MLP
from meden.search import tune
from meden.search.tune import LEDGER

SPACE = {"l2": meden.LogUniform(1e-4, 1.0), "lr": meden.LogUniform(1e-3, 0.1)}
RECIPE = meden.Recipe(epochs=8, batch_size=64, dropout=0.2, early_stopping=meden.EarlyStopping(patience=4))


def search(racing: bool, study_dir: Path | None):
    options = {"folds": 4, "budget": 18, "racing": racing, "recipe": RECIPE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kill may tear the database, which is not what counts
        return tune(functools.partial(MLP, width=8, depth=1), "iris", SPACE, study_dir=study_dir, **options)


def killed(num_lines: int, delay: float, racing: bool, study_dir: Path) -> bool:
    """Go on with a study in a child, and kill it some seconds after its ledger has so many lines.

    Returns whether it did not end before.
    """
    child = os.fork()
    if child == 0:
        search(racing, study_dir)
        os._exit(0)
    while lines(study_dir) < num_lines:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def lines(study_dir: Path) -> int:
    path = study_dir / LEDGER
    return path.read_bytes().count(b"\n") if path.exists() else 0


def rows(study) -> dict:
    """Return all that is known of each training, except how long it took."""
    plain = {}
    for row in (row for trial in study.trials for row in trial.rows):
        fields = dataclasses.asdict(row) | {"losses": row.losses.tobytes(), "scores": row.scores.tobytes()}
        plain[row.key] = {name: repr(value) for name, value in fields.items() if name != "seconds"}
    return plain


def main(num_kills: int, racing: bool, seed: int) -> None:
    torch.set_num_threads(1)
    whole = search(racing, None)
    total, moments = sum(len(trial.rows) for trial in whole.trials), random.Random(seed)
    seen = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kill in range(num_kills):
            furthest = (total - 1) * (kill + 1) // num_kills
            target = moments.randint(min(lines(folder), furthest), furthest)
            if killed(target, moments.uniform(0, 0.2), racing, folder):
                seen.append(lines(folder))
        resumed = search(racing, folder)
        again = search(racing, folder)
        assert lines(folder) == 1 + total
    for study in (resumed, again):
        assert rows(study) == rows(whole)
        assert study.table().equals(whole.table()) and study.score == whole.score
        assert (study.best.number, study.one_se.number) == (whole.best.number, whole.one_se.number)
    statuses = {row.status for trial in whole.trials for row in trial.rows}
    assert ("dropped" in statuses) == racing
    assert np.isfinite(whole.score.estimate)
    print(f"{len(seen)} kills, after {seen} of {total + 1} lines")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "racing", int(sys.argv[3]))
