"""Jobs of 60 rows, as a search makes them, for training functions to be called with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import meden
from meden._randomness import seed_all

NUM_ROWS = 60
FIT, STOP, SCORE = np.split(np.arange(NUM_ROWS), [30, 45])


class Killed(BaseException):
    """The process is gone."""


class DiesInScoring(meden.Job):
    @contextmanager
    def scoring(self):
        raise Killed
        yield


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Return x (n, 5) and classes (n,); the rows that score are twins of those to stop by."""
    x = torch.randn(NUM_ROWS, 5, generator=torch.Generator().manual_seed(0))
    x[SCORE] = x[STOP]
    return x, (x[:, 0] + 0.3 * x[:, 1] > 0).long()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def job_of(
    home: Path,
    params: dict[str, Any] | None = None,
    *,
    kind: type[meden.Job] = meden.Job,
    dies_at: int | None = None,
    stops_at: int | None = None,
    epochs: int = 4,
    **settings: Any,
) -> meden.Job:
    """Return a job with a folder of its own.

    Args:
        home: the folder.
        params: of the configuration.
        kind: of job.
        dies_at: epoch in whose report the process is killed.
        stops_at: epoch whose report says to stop.
        epochs: at most.
        **settings: of the job.
    """

    def die(record: Any) -> None:
        if record.epoch == dies_at:
            raise Killed

    patience = None if stops_at is None else meden.EarlyStopping(patience=stops_at - 1, min_delta=1e6)
    settings = {"seed": 3, "epochs": epochs, "patience": patience, "on_epoch": die} | settings
    return kind(params=params or {}, fit=FIT, stop=STOP, score=SCORE, home=home, num_rows=NUM_ROWS, **settings)


def run(train: Callable[[meden.Job], Any], job: meden.Job) -> Any:
    """Start it as a search does."""
    seed_all(job.seed)
    return train(job)


def reports(job: meden.Job) -> list[tuple[float, float]]:
    """Return stop loss and training loss by epoch."""
    return [(record.valid["loss"], record.train["loss"]) for record in job.history]
