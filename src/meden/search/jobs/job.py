"""A job: one configuration in one fold with one seed, as a training function is given it."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meden import checkpoint, stopping
from meden._checks import Damaged, InputError
from meden._shown import ShownFields
from meden.data import Fold
from meden.deadline import UNHURRIED, Pace
from meden.history import History, Record
from meden.member import Member
from meden.progress import Ending, completed, dropped, out_of_time, stopped_early
from meden.recipe import Recipe
from meden.search.jobs.watch import Watch, watched
from meden.search.racing import Contest
from meden.stopping import EarlyStopping

Rows = NDArray[np.int64]
CHECKPOINT, REPORTS, BEST, ERROR = "checkpoint", "reports.jsonl", "best.safetensors", "error.txt"


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Job(ShownFields):
    """What a training function is given: settings to train with, and which rows may do what.

    The function makes its model, trains it on the rows ``fit``, reports the loss of the rows ``stop`` after each epoch,
    stops when it is told to, and returns what came of the rows ``score``, in their order: losses (n,), logits or
    probabilities (n, C) of the classes in sorted order; or a mapping that says which, ``{"losses": ...}``,
    ``{"logits": ...}``, ``{"probabilities": ...}`` or ``{"predictions": ...}`` (numbers); or a :class:`meden.Run`.

    The global generators of Python, numpy and torch are seeded before it is called.

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
    """Values of the space's names."""
    fit: Rows
    """Rows to train on, and to fit scalers and encoders on."""
    stop: Rows
    """Rows whose loss says when to stop; empty if ``stop_fraction`` is 0."""
    score: Rows
    """Rows to score in the end; not to be read before."""
    fold: int = 0
    """Number of the fold."""
    seed: int = 0
    """Of weights, batches and noise, below 2^32: the same for all configurations in a fold."""
    epochs: int = 100
    """Epochs to train, at most."""
    configuration: int = 0
    """Number of the configuration."""
    patience: EarlyStopping | None = None
    """When :meth:`report` says to stop; None is never before the last epoch."""
    home: Path | None = None
    """Where :attr:`folder` is; None is a temporary folder."""
    num_rows: int | None = None
    """Rows of the study; None is as many as the parts have."""
    contest: Contest | None = None
    """What it is up against in a race."""
    pace: Pace = UNHURRIED
    """When the time is up."""
    member_seed: int = 0
    """What :meth:`member` is made with."""
    on_epoch: Callable[[Record], None] | None = None
    """Called with what is reported."""

    def __post_init__(self) -> None:
        self.ending: Ending | None = None
        """How training ended, once it has."""
        parts = [np.asarray(part, dtype=np.int64) for part in (self.fit, self.stop, self.score)]
        self.fit, self.stop, self.score = parts
        num_rows = int(np.concatenate([*parts, [-1]]).max()) + 1 if self.num_rows is None else self.num_rows
        self.is_late = False
        """Whether it ended because the time was up."""
        self._watch = Watch(num_rows, self.score)
        self._curve: list[tuple[float, float]] = []
        """Stop loss and training loss after each epoch."""
        self._reported, self._scored, self._made = False, False, False
        self._kept: nn.Module | None = None
        self._best: dict[str, Tensor] | None = None
        self._state = stopping.start()

    def report(self, epoch: int, stop_loss: Any = None, train_loss: Any = None) -> bool:
        """Report an epoch that was done; returns whether to stop now.

        Args:
            epoch: number of the epoch, from 1, higher each time; a job that goes on from a checkpoint goes on counting.
            stop_loss: mean loss of the rows ``stop``, lower is better; a number or a tensor of one. None if there are
                none.
            train_loss: mean loss of the rows ``fit``, for curves and diagnosis; None if it is not known.

        Returns:
            True after the last epoch, when early stopping or a race or a limit of time ends the training, or if the
            loss is not finite.

        Raises:
            InputError: if an argument is out of range, or the rows ``score`` have been read.
        """
        if self._scored:
            raise InputError("job.report must come before job.scoring(): rows that scored must not decide when to stop")
        if self.ending is not None and self._reported:
            return True
        before = self._restore(self._checked_epoch(epoch))
        losses = _number("stop_loss", stop_loss), _number("train_loss", train_loss)
        if len(self.stop) and stop_loss is None:
            raise InputError("job.report must be given the stop_loss, of the rows job.stop, got None")
        new = int(epoch) - len(self._curve)
        self._curve += [losses] * new
        self._note([json.dumps(losses)] * new)
        if self.on_epoch is not None:
            self.on_epoch(self.history[-1])
        self.ending = self._judged(before)
        self._keep()
        return self.ending is not None

    @property
    def stopped(self) -> bool:
        """Whether :meth:`report` has said to stop."""
        return self.ending is not None

    @property
    def is_best(self) -> bool:
        """Whether the epoch reported last is the best so far, by its stop loss."""
        return bool(self._curve) and self._best_place == len(self._curve)

    def keep_best(self, model: nn.Module) -> None:
        """Keep a copy of a model's state whenever a report is the best so far; :meth:`scoring` puts it back.

        Raises:
            InputError: if it is no module, or comes after the first report.
        """
        if not isinstance(model, nn.Module) or self._reported:
            raise InputError(
                f"job.keep_best must be given a torch.nn.Module, before the first report, got {model!r:.60}"
            )
        self._kept = model

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Read the rows ``score`` in here, once, after training; no gradients are recorded.

        Raises:
            InputError: the second time: what scored before must not be trained further.
        """
        if self._scored:
            raise InputError("job.scoring() must be entered once, when training is over: scoring decides nothing")
        self._scored = True
        if self._kept is not None and self._best is not None:
            self._kept.load_state_dict(self._best, strict=False)  # a state may hold more than tensors
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
                a tensor, a DataFrame or Series of pandas, or a list; or a tuple or mapping of such.

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
            self.home, self._made = Path(tempfile.mkdtemp(prefix="meden-job-")), True
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
    def best_epoch(self) -> int:
        """The epoch that is scored: the best if a model's best state is kept, else the last."""
        return self._best_place if self._kept is not None else len(self._curve)

    @property
    def history(self) -> History:
        """What was reported, epoch by epoch."""
        return History(tuple(_record(epoch, *losses) for epoch, losses in enumerate(self._curve, start=1)))

    @property
    def has_reported(self) -> bool:
        """Whether an epoch was ever reported."""
        return bool(self._curve)

    def close(self) -> None:
        """Remove what is not kept of a job that has ended."""
        if self.home is not None:
            for name in (REPORTS, BEST):
                (self.home / name).unlink(missing_ok=True)
            shutil.rmtree(self.home if self._made else self.home / CHECKPOINT, ignore_errors=True)
            with suppress(OSError):  # not empty
                self.home.rmdir()

    @property
    def _best_place(self) -> int:
        """Epoch of the lowest stop loss, by the rule of early stopping."""
        losses = [loss for loss, _ in self._curve]
        return min(range(len(losses)), key=lambda place: (_last(losses[place]), place)) + 1 if losses else 0

    def _checked_epoch(self, epoch: Any) -> int:
        if not isinstance(epoch, int | np.integer) or isinstance(epoch, bool) or epoch < 1:
            raise InputError(f"job.report epoch must be a whole number of 1 or more, got {epoch!r}")
        if self._reported and epoch <= len(self._curve):
            raise InputError(f"job.report epochs must rise, got {epoch} after {len(self._curve)}")
        return int(epoch)

    def _restore(self, epoch: int) -> int:
        """Take up, at the first report, what a job that was killed had reported before that epoch.

        Returns:
            Epochs that have been judged.
        """
        if self._reported:
            return len(self._curve)
        self._reported, self.ending = True, None
        found = [] if self.home is None else _read(self.home / REPORTS)
        self._curve = found[: epoch - 1]
        if self.home is not None and found:
            self._note([json.dumps(losses) for losses in self._curve], anew=True)
        if self._kept is not None and self._curve and self.home is not None:
            with suppress(Damaged):
                state, values = checkpoint.load(self.home / BEST)
                self._best = state if values["epoch"] == self._best_place else None  # a later one is reached again
        return 0

    def _judged(self, before: int) -> Ending | None:
        """Return how the training ends now; None if it goes on."""
        losses, epoch = [loss for loss, _ in self._curve], len(self._curve)
        if len(self.stop) and not math.isfinite(losses[-1]):
            return Ending("diverged", f"the stop loss that was reported is not finite after epoch {epoch}")
        if self.contest is not None:
            for rung in (rung for rung in sorted(self.contest.rivals) if before < rung <= epoch):
                if not self.contest.stays(rung, losses):
                    return dropped(epoch)
        if self.patience is not None and len(self.stop):
            for loss in losses[before:]:
                self._state, said = stopping.update(
                    self._state, loss, patience=self.patience.patience, min_delta=self.patience.min_delta
                )
            if bool(said.stop):
                return stopped_early(self.patience.patience, epoch - int(self._state.waited))
        if epoch >= self.epochs:
            return completed(epoch)
        self.is_late = self.pace.is_over(epoch)
        return out_of_time(epoch) if self.is_late else None

    def _keep(self) -> None:
        if self._kept is None or not self.is_best:
            return
        self._best = checkpoint.state_of(self._kept)
        if self.home is not None:
            checkpoint.save(self.home / BEST, self._best, {"epoch": len(self._curve)})

    def _note(self, lines: Sequence[str], *, anew: bool = False) -> None:
        """Write down what was reported, for a job that goes on after a kill."""
        if self.home is not None:
            with open(self.folder / REPORTS, "w" if anew else "a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))


def _record(epoch: int, stop_loss: float, train_loss: float) -> Record:
    return Record(
        epoch=epoch,
        step=0,
        train={} if math.isnan(train_loss) else {"loss": train_loss},
        valid=None if math.isnan(stop_loss) else {"loss": stop_loss},
        lr=math.nan,
        num_zeros=None,
        weight_norm=None,
        seconds=0.0,
    )


def _number(name: str, value: Any) -> float:
    if value is None:
        return math.nan
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"job.report {name} must be a number, got {value!r:.60}") from None


def _last(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _read(path: Path) -> list[tuple[float, float]]:
    """Return the whole lines of reports; none if there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            stop_loss, train_loss = json.loads(line)
        except ValueError:
            break
        found.append((float(stop_loss), float(train_loss)))
    return found
