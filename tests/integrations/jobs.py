"""A job as a search hands it to a training function: 60 rows, and a record of what the function said."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from meden._randomness import seed_all

NUM_ROWS = 60


class Killed(BaseException):
    """The process is gone."""


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Return x (n, 5) and classes (n,)."""
    x = torch.randn(NUM_ROWS, 5, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] + 0.3 * x[:, 1] > 0).long()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


class Watched(Dataset):
    """Refuses the rows that score until they are to be scored."""

    def __init__(self, data: Any, job: Job) -> None:
        self.data, self.job = data, job

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: Any) -> Any:
        assert self.job.scores or self.job.scores_stop or not np.isin(row, self.job.score).any(), f"row {row} scores"
        return self.data[row]


@dataclass
class Job:
    """The interface that training functions go by."""

    folder: Path
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 3
    fold: int = 0
    epochs: int = 4
    stop_after: int | None = None
    """Epoch after which a report is answered by a request to stop."""
    kill_after: int | None = None
    """Epoch after which the process is gone."""
    kill_in_scoring: bool = False
    scores_stop: bool = False
    """Whether the rows to stop by are scored instead of their own."""
    reports: list[tuple[int, float]] = field(default_factory=list)
    scores: bool = False
    kept: nn.Module | None = None

    def __post_init__(self) -> None:
        self.fit, self.stop, self.score = np.split(np.random.default_rng(0).permutation(NUM_ROWS), [30, 45])
        if self.scores_stop:
            self.score = self.stop
        self.checkpoint_dir = self.folder / "checkpoint"
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        self.reported, self.best = self.folder / "reports.json", self.folder / "best.pt"

    @property
    def stopped(self) -> bool:
        return len(self.reports) >= min(self.epochs, self.stop_after or self.epochs)

    @property
    def is_best(self) -> bool:
        return min(self.reports, key=lambda report: report[1]) == self.reports[-1]

    def report(self, epoch: int, stop_loss: float, train_loss: float | None = None) -> bool:
        assert math.isfinite(stop_loss) and (train_loss is None or math.isfinite(train_loss)) and not self.scores
        if self.reported.exists() and not self.reports:  # it was killed
            self.reports = [(e, loss) for e, loss in json.loads(self.reported.read_text()) if e < epoch]
        self.reports.append((epoch, float(stop_loss)))
        self.reported.write_text(json.dumps(self.reports))
        if self.kept is not None and self.is_best:
            torch.save(self.kept.state_dict(), self.best)
        if epoch == self.kill_after:
            raise Killed
        return self.stopped

    def keep_best(self, model: nn.Module) -> None:
        assert not self.reports
        self.kept = model

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        assert not self.scores and self.reports
        self.scores = True
        if self.kill_in_scoring:
            raise Killed
        if self.kept is not None:
            self.kept.load_state_dict(torch.load(self.best))
        with torch.no_grad():
            yield

    def watch(self, data: Any) -> Any:
        return Watched(data, self)

    def run(self, train: Any) -> Any:
        """Start it as a search does."""
        seed_all(self.seed)
        return train(self)
