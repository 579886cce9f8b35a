"""A job: one configuration in one fold with one seed, as a training function is given it."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from meden._checks import InputError
from meden._shown import ShownFields
from meden.data import Fold
from meden.deadline import UNHURRIED, Pace
from meden.history import History, Record
from meden.member import Member
from meden.progress import Ending
from meden.recipe import Recipe
from meden.search.jobs.best_state import BestState
from meden.search.jobs.reports import Reports
from meden.search.jobs.watch import Watch, watched
from meden.search.racing import Contest
from meden.stopping import EarlyStopping

Rows = NDArray[np.int64]
CHECKPOINT, REPORTS, BEST, ERROR = "checkpoint", "reports.jsonl", "best.safetensors", "error.txt"


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Job(ShownFields):
    """What a training function receives: the settings to train with and the rows to use for each purpose.

    The function makes its model, trains it on the rows ``fit``, reports the loss of the rows ``stop`` after each epoch,
    stops when it is told to, and returns what came of the rows ``score``, in their order: losses (n,), logits or
    probabilities (n, C) of the classes in sorted order; or a mapping that says which, ``{"losses": ...}``,
    ``{"logits": ...}``, ``{"probabilities": ...}`` or ``{"predictions": ...}`` (numbers); or a :class:`meden.Run`.

    The global generators of Python, numpy and torch are seeded before it is called.

    Attributes:
        params: values of the space's names.
        fit: rows to train on, and to fit scalers and encoders on.
        stop: rows whose loss says when to stop; empty if ``stop_fraction`` is 0.
        score: rows to score in the end; not to be read before.
        fold: number of the fold.
        seed: seed of weights, batches and noise, below 2^32: the same for all configurations in a fold.
        epochs: epochs to train, at most.
        configuration: number of the configuration.
        patience: when :meth:`report` says to stop; None is never before the last epoch.
        home: where :attr:`folder` is; None is a temporary folder.
        num_rows: rows of the study; None is as many as the parts have.
        contest: what it is up against in a race.
        pace: when the time is up.
        member_seed: what :meth:`member` is made with.
        on_epoch: called with what is reported.

    Example:
        >>> import meden
        >>> from sklearn.datasets import load_iris
        >>> from torch import nn
        >>> X, y = map(torch.as_tensor, load_iris(return_X_y=True))
        >>> def train(job):
        ...     x, labels = job.watch(X.float()), job.watch(y)
        ...     model = nn.Linear(4, 3)
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=job.params["lr"])
        ...     for epoch in range(1, job.epochs + 1):
        ...         optimizer.zero_grad()
        ...         nn.functional.cross_entropy(model(x[job.fit]), labels[job.fit]).backward()
        ...         optimizer.step()
        ...         if job.report(epoch, nn.functional.cross_entropy(model(x[job.stop]), labels[job.stop])):
        ...             break
        ...     with job.scoring():
        ...         return model(x[job.score])
        >>> space, recipe = {"lr": meden.LogUniform(1e-2, 1.0)}, meden.Recipe(epochs=5)
        >>> study = meden.tune(train, rows=y, space=space, folds=3, budget=2, strategy="grid", recipe=recipe)
        >>> len(study.trials), study.metric
        (2, 'accuracy')
    """

    params: Mapping[str, Any]
    fit: Rows
    stop: Rows
    score: Rows
    fold: int = 0
    seed: int = 0
    epochs: int = 100
    configuration: int = 0
    patience: EarlyStopping | None = None
    home: Path | None = None
    num_rows: int | None = None
    contest: Contest | None = None
    pace: Pace = UNHURRIED
    member_seed: int = 0
    on_epoch: Callable[[Record], None] | None = None

    def __post_init__(self) -> None:
        parts = [np.array(part, dtype=np.int64) for part in (self.fit, self.stop, self.score)]  # its own: shuffled, say
        self.fit, self.stop, self.score = parts
        num_rows = int(np.concatenate([*parts, [-1]]).max()) + 1 if self.num_rows is None else self.num_rows
        self._watch = Watch(num_rows, self.score.copy())
        self._reports = Reports(
            None if self.home is None else self.home / REPORTS,
            epochs=self.epochs,
            watches=len(self.stop) > 0,
            patience=self.patience,
            contest=self.contest,
            pace=self.pace,
        )
        self._best: BestState | None = None
        self._has_scored = self._is_temporary = False

    def report(self, epoch: int, stop_loss: Any = None, train_loss: Any = None) -> bool:
        """Report an epoch that was done; returns whether to stop now.

        Report an epoch before its state is saved: a job that is killed between does it again.

        Args:
            epoch: number of the epoch, from 1, higher each time; it stands for epochs before that were not reported.
            stop_loss: mean loss of the rows ``stop``, lower is better; a number or a tensor of one. None if there are
                none.
            train_loss: mean loss of the rows ``fit``, for curves and diagnosis; None if it is not known.

        Returns:
            True after the last epoch, when early stopping or a race or a limit of time ends the training, or if the
            loss is not finite.

        Raises:
            InputError: if an argument is out of range, or the rows ``score`` have been read.
        """
        if self._has_scored:
            raise InputError(
                "job.report must be called before job.scoring(), since scored rows must not decide when to stop"
            )
        if self.stopped:
            return True
        self._reports.add(epoch, stop_loss, train_loss)
        if self.on_epoch is not None and len(self._reports):
            self.on_epoch(self.history[-1])
        if self._best is not None and self.is_best:
            self._best.keep(len(self._reports))
        return self.stopped

    def resume(self, epoch: int) -> bool:
        """Say that training goes on from the state after an epoch, loaded from :attr:`checkpoint_dir`.

        Returns:
            Whether it had been told to stop there: the job was killed while its rows were scored.

        Raises:
            InputError: if the epoch was never reported: it was saved before.
        """
        self._reports.resume(epoch)
        return self.stopped

    @property
    def stopped(self) -> bool:
        """Whether :meth:`report` has said to stop, or :meth:`resume`."""
        return self._reports.has_begun and self._reports.ending is not None

    @property
    def is_best(self) -> bool:
        """Whether the epoch reported last is the best so far, by its stop loss."""
        return 0 < len(self._reports) == self._reports.best_epoch

    def keep_best(self, model: nn.Module) -> None:
        """Keep a copy of a model's state whenever a report is the best so far; :meth:`scoring` puts it back.

        Raises:
            InputError: if it is no module, or comes after the first report.
        """
        if not isinstance(model, nn.Module) or self._reports.has_begun:
            raise InputError(
                f"job.keep_best must be given a torch.nn.Module, before the first report, got {model!r:.60}"
            )
        self._best = BestState(model, None if self.home is None else self.home / BEST)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Read the rows ``score`` in here, once, after training; no gradients are recorded.

        Raises:
            InputError: the second time: what scored before must not be trained further.
        """
        if self._has_scored:
            raise InputError(
                "job.scoring() must be entered once, after training, since scoring must not decide anything"
            )
        self._has_scored = True
        if self._best is not None:
            self._best.put_back(self._reports.best_epoch)
        self._watch.is_open = True
        try:
            with torch.no_grad():
                yield
        finally:
            self._watch.is_open = False

    def watch(self, data: Any) -> Any:
        """Return data that know their rows: reading one of ``score`` before :meth:`scoring` raises, with the row.

        Args:
            data: all rows of the study: a map-style ``torch.utils.data.Dataset``, a dataset of Hugging Face, an array,
                a tensor, a sparse matrix, a DataFrame or Series of pandas, or a list; or a tuple or mapping of such.

        Returns:
            The same, watched: ``watched[job.fit]`` are plain rows. What reads all rows at once, such as a mean or the
            fit of a scaler, raises too; what changes each row by itself, such as a cast, is watched on.

        Raises:
            InputError: for anything else, or if it does not have the study's rows.
        """
        return watched(data, self._watch)

    @property
    def folder(self) -> Path:
        """A folder of its own, to write what is to be kept; made when it is asked for."""
        if self.home is None:
            self.home, self._is_temporary = Path(tempfile.mkdtemp(prefix="meden-job-")), True
        self.home.mkdir(parents=True, exist_ok=True)
        return self.home

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for checkpoints: what a job that was killed left there is there when it is started again.

        It is removed once the job has ended.
        """
        made = self.folder / CHECKPOINT
        made.mkdir(exist_ok=True)
        return made

    def member(self, recipe: Recipe, model_args: Mapping[str, Any] | None = None) -> Member:
        """Return what :func:`meden.fit_many` trains for this job as :func:`meden.tune` would train it."""
        return Member(recipe, Fold(self.fit, self.stop, self.score), self.member_seed, model_args or {})

    @property
    def ending(self) -> Ending | None:
        """How the training ended by what was reported; None if it did not."""
        return self._reports.ending

    @property
    def is_late(self) -> bool:
        """Whether it ended because the time was up."""
        return self._reports.is_late

    @property
    def is_scoring(self) -> bool:
        """Whether its rows are being scored."""
        return self._watch.is_open

    @property
    def best_epoch(self) -> int:
        """The epoch that is scored: the best if a model's best state is kept, else the last; 0 before the first."""
        return len(self._reports) if self._best is None else self._reports.best_epoch

    @property
    def history(self) -> History:
        """What was reported, epoch by epoch."""
        return self._reports.history

    def close(self) -> None:
        """Remove what is not kept of a job that has ended."""
        if self.home is None:
            return
        for name in (REPORTS, BEST):
            (self.home / name).unlink(missing_ok=True)
        shutil.rmtree(self.home if self._is_temporary else self.home / CHECKPOINT, ignore_errors=True)
        if not self._is_temporary:
            with suppress(OSError):  # not empty, or not there
                for folder in (self.home, *list(self.home.parents)[:2]):  # the configuration's, and that of all jobs
                    folder.rmdir()
