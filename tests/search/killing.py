"""Something that is killed at random moments and resumed until it ends, in processes that fork from this one.

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
from meden.search import nested, tune
from meden.study.ledger import LEDGER
from tests.search.jobs import loops

SPACE = {"l2": meden.LogUniform(1e-4, 1.0), "lr": meden.LogUniform(1e-3, 0.1)}
RECIPE = meden.Recipe(epochs=8, batch_size=64, dropout=0.2, early_stopping=meden.EarlyStopping(patience=4))
ALTERNATIVES = {"none": None, "L2": {"l2": 0.01}, "narrow": {"width": 4}, "deep": {"depth": 3}, "wild": {"lr": 1e30}}
make = functools.partial(MLP, width=8, depth=1)


def plain(study_dir, racing=False):
    return study_values(
        tune(make, "iris", SPACE, folds=4, budget=18, racing=racing, recipe=RECIPE, study_dir=study_dir)
    )


def racing(study_dir):
    values = plain(study_dir, racing=True)
    assert "dropped" in {eval(row["status"]) for row in values["rows"].values()}
    return values


def compared(study_dir, jobs=1):
    made = meden.compare(make, "iris", ALTERNATIVES, folds=4, seeds=2, recipe=RECIPE, study_dir=study_dir, jobs=jobs)
    return [
        (a.name, a.losses.tobytes(), a.scores.tobytes(), a.train_losses.tobytes(), a.status) for a in made.alternatives
    ]


def nests(study_dir, jobs=1):
    options = {"outer_folds": 3, "folds": 2, "budget": 4, "strategy": "random", "recipe": RECIPE, "jobs": jobs}
    found = nested(make, "iris", SPACE, study_dir=study_dir, **options)
    return found.fold_scores.tobytes(), found.low, found.high, [study_values(study) for study in found.studies]


def path(study_dir, jobs=1):
    options = {"folds": 3, "recipe": meden.Recipe(epochs=8, batch_size=64), "jobs": jobs}
    found = meden.path(make, "iris", num=5, start="both", study_dir=study_dir, **options)
    runs = [run for point in found.points for run in found.runs(point.strength)]
    weights = [[t.numpy().tobytes() for t in run.model.state_dict().values()] for run in runs]
    numbers = [(p.strength, p.configurations, p.gap, p.losses.tobytes(), p.norms.tobytes()) for p in found.points]
    return numbers, weights


def function(study_dir, jobs=1):
    """A loop of somebody's own, in a race."""
    recipe = meden.Recipe(epochs=16, early_stopping=meden.EarlyStopping(patience=6))
    options = {**loops.OPTIONS, "budget": 16, "recipe": recipe, "jobs": jobs, "study_dir": study_dir}
    return study_values(tune(loops.plain, racing=True, **options))


def guest(study_dir, jobs=1, *, name):
    """A trainer of somebody else's."""
    from tests.integrations.searched import search

    return study_values(search(name, study_dir, jobs=jobs))


GUESTS = {name: functools.partial(guest, name=name) for name in ("huggingface", "lightning", "skorch", "keras")}
SUBJECTS = {"function": function, "plain": plain, "racing": racing, "compare": compared, "nested": nests, "path": path}
SUBJECTS |= GUESTS


def study_values(study) -> dict:
    """Return all that is known of a study, except how long its runs took."""
    rows = {}
    for row in (row for trial in study.trials for row in trial.rows):
        fields = dataclasses.asdict(row) | {"losses": row.losses.tobytes(), "scores": row.scores.tobytes()}
        rows[row.key] = {name: repr(value) for name, value in fields.items() if name != "seconds"}
    assert np.isfinite(study.score.estimate)
    return {"rows": rows, "table": study.table().to_csv(), "score": study.score} | {
        "choices": (study.best.number, study.one_se.number)
    }


def quietly(subject, study_dir: Path | None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kill may tear the database, which is not what counts
        return SUBJECTS[subject](study_dir)


def killed(num_lines: int, delay: float, subject: str, study_dir: Path) -> bool:
    """Go on in a child, and kill it some seconds after its ledgers have so many lines.

    Returns whether it did not end before.
    """
    child = os.fork()
    if child == 0:
        quietly(subject, study_dir)
        os._exit(0)
    while lines(study_dir) < num_lines:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def lines(study_dir: Path) -> int:
    found = [Path(folder, LEDGER) for folder, _, files in os.walk(study_dir) if LEDGER in files]  # others come and go
    return sum(path.read_bytes().count(b"\n") for path in found)


def searched(study_dir: Path) -> int:
    """Count the lines that are not of the plain network, of which all runs are trained again where one is missing."""
    found = [Path(folder, LEDGER) for folder, _, files in os.walk(study_dir) if LEDGER in files]
    return sum(b'"baseline": "plain' not in line for path in found for line in path.read_bytes().splitlines())


def main(num_kills: int, subject: str, seed: int) -> None:
    torch.set_num_threads(1)
    moments, seen = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name:
        whole, total, once = quietly(subject, Path(name)), lines(Path(name)), searched(Path(name))
    assert quietly(subject, None) == whole
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kill in range(num_kills):
            furthest = (total - 2) * (kill + 1) // num_kills
            target = moments.randint(min(lines(folder), furthest), furthest)
            if killed(target, moments.uniform(0, 0.1), subject, folder):
                seen.append(lines(folder))
        assert quietly(subject, folder) == whole, "resumed"
        assert quietly(subject, folder) == whole, "opened again"
        assert lines(folder) >= total and searched(folder) == once
    print(f"{len(seen)} kills, after {seen} of {total} lines")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
