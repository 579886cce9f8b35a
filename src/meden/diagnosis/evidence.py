"""What is known of one or more runs of one recipe, by whatever trainer.

Legend: ``E`` epochs.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn

from meden._checks import InputError
from meden.diagnosis.calibration import Answers
from meden.diagnosis.command import data_words
from meden.diagnosis.memory.memorisation import Memorisation
from meden.diagnosis.searching import SearchEvidence
from meden.history import History

SOURCE = "data.csv --target y"
"""How a command line names data whose place is not known."""
NETWORKS = {"TabularNet": "", "MLP": " --model mlp", "Linear": " --model linear"}
"""What a command line says of those of :mod:`meden.models` that it can train on a table."""
ERRORS = 2.0
"""Standard errors to either side within which a mean lies in 95 % of the cases."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One run: losses without penalties, in evaluation mode unless it says otherwise.

    Raises:
        InputError: if there is no epoch, if the two curves differ in length, or if ``kept`` is none of their epochs.
    """

    train: Sequence[float]
    """Mean loss of the fitting rows after each epoch, (E,)."""
    held_out: Sequence[float] = ()
    """Mean loss of the held-out rows after each epoch, (E,); empty if there are none."""
    kept: int | None = None
    """Epoch of the kept state, counted from 1; None for the last."""
    scored: float | None = None
    """Mean loss of the scored rows at the kept state; None if there are none."""
    scored_error: float | None = None
    """Standard error of ``scored`` over the scored rows."""
    penalties: float = 0.0
    """Sum of the penalties times their strengths at the kept state."""
    lost: str = ""
    """Why the run has no result; empty if it has one."""
    fold: int | None = None
    """Number of the fold: runs of the same fold share their held-out rows and count as one. None shares with no other
    run."""
    as_logged: bool = False
    """Whether ``train`` holds losses as other trainers log them: computed in training mode, while the weights
    change."""

    def __post_init__(self) -> None:
        num = len(self.train)
        if not self.lost and num == 0:
            raise InputError("train must hold the loss of at least one epoch, got none")
        if len(self.held_out) not in (0, num):
            raise InputError(f"held_out must have as many epochs as train ({num}), got {len(self.held_out)}")
        if self.kept is not None and not self.lost and not 1 <= self.kept <= num:
            raise InputError(f"kept must be an epoch from 1 to {num}, got {self.kept}")

    @property
    def place(self) -> int:
        """Index of the state that was kept."""
        return (len(self.train) if self.kept is None else self.kept) - 1

    @property
    def train_loss(self) -> float:
        """Of the state that was kept."""
        return self.train[self.place]

    @property
    def held_out_loss(self) -> float:
        """Of the state that was kept, on the most informative rows; NaN where no rows were held out."""
        if self.scored is not None:
            return self.scored
        return self.held_out[self.place] if self.held_out else math.nan


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error; None for a single run."""

    mean: float
    error: float | None

    def exceeds(self, bound: float) -> bool:
        """Say whether the mean is above a bound, by two standard errors where they are known."""
        return self.mean - ERRORS * (self.error or 0.0) > bound

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the mean lies in 95 % of the cases."""
        return None if self.error is None else (self.mean - ERRORS * self.error, self.mean + ERRORS * self.error)

    def __str__(self) -> str:
        return f"{self.mean:.3g}" if self.error is None else f"{self.mean:.3g} ± {self.error:.1g}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the recipe had planned for the runs; None is unknown."""

    lr: float | None = None
    """Learning rate."""
    epochs: int | None = None
    """Epochs at most."""
    patience: int | None = None
    """Epochs without an improvement that end a run."""
    batch_size: int | None = None
    """Rows of a step; None also where all are."""
    num_rows: int | None = None
    """Fitting rows."""


@dataclass(frozen=True)
class Evidence:
    """Runs of one recipe, such as those of the folds."""

    curves: tuple[Curve, ...]
    blank: float | None = None
    """Loss of the best constant model; None if unknown."""
    model: nn.Module | None = None
    passes: float | None = None
    """Number of passes over the fitting rows; None if unknown."""
    dropout: float = 0.0
    """Dropout probability that the recipe set in the model; a model read from a file does not show it."""
    searched: bool = False
    """Whether the runs belong to the choice of a search; recommending a search would then be pointless."""
    memorisation: Memorisation | None = None
    """What the models memorise; None if unknown."""
    losses_kept: bool = False
    """Whether the search stored the losses that show memorisation for each strength."""
    more_in_reach: bool = False
    """Whether the search could have chosen stronger regularisation and found weaker regularisation to be better."""
    plan: Plan = Plan()
    """The settings of the recipe."""
    search: SearchEvidence | None = None
    """The search whose choice the runs belong to."""
    answers: Answers | None = None
    """Predictions for the scored rows, if the target is a class."""
    of_classes: bool = False
    """Whether the loss is a classification loss, which takes logits; also False if unknown."""
    source: str = SOURCE
    """How a command line names the data; empty where no command takes them."""

    @property
    def parts(self) -> tuple[Any, ...]:
        """All that rules look at: itself, and evidence of other kinds."""
        return tuple(part for part in (self, self.search, self.answers) if part is not None)

    def command(self, name: str, *options: str) -> str:
        """Return the line of a command on the data; empty where no command takes them."""
        return " ".join(("meden", name, self.source, *options)) if self.source else ""

    def with_rate(self, factor: float, *options: str) -> str:
        """Return the line that trains with the learning rate times a factor, or searches for it if it is not known."""
        if self.plan.lr is not None:
            return self.command("fit", f"--set lr={factor * self.plan.lr:.2g}", *options)
        return self.command("fit", *options) if options else self.command("tune", "--search lr=1e-5:0.1:log")

    @property
    def sound(self) -> tuple[Curve, ...]:
        """Those with a result."""
        return tuple(curve for curve in self.curves if not curve.lost)

    def estimate(self, number: Callable[[Curve], float]) -> Estimate:
        """Return the mean of a number over the runs, with its error over the folds; NaN where no run has a result."""
        folds: dict[object, list[float]] = {}
        for place, curve in enumerate(self.sound):
            folds.setdefault((place,) if curve.fold is None else curve.fold, []).append(number(curve))
        means = [statistics.fmean(numbers) for numbers in folds.values()]
        error = float(np.std(means, ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else None
        return Estimate(statistics.fmean(means) if means else math.nan, error)

    @property
    def gap(self) -> Estimate:
        """Held-out loss minus training loss: its error is over folds, or over the held-out rows of a single one."""
        return self.on_held_out(lambda curve: curve.held_out_loss - curve.train_loss)

    def on_held_out(self, number: Callable[[Curve], float]) -> Estimate:
        """Return the mean of a number with that of held-out rows in it, which is what makes it unsure in one run."""
        found = self.estimate(number)
        return Estimate(found.mean, self.sound[0].scored_error) if len(self.sound) == 1 else found


class Evident(Protocol):
    """What has evidence: runs, ensembles, studies."""

    def evidence(self) -> Evidence:
        """Return what is known."""
        ...


def source_of(model: str | None, place: str | None, target: str | None, origin: Mapping[str, Any] | None = None) -> str:
    """Return how a command line names the data and the network trained on them.

    Args:
        model: name of the network in :mod:`meden.models`; None where it is somebody else's.
        place: file of the data, or bundled name; None where that is not known.
        target: column to predict; None where the data have their own.
        origin: how the data were read, as :attr:`meden.data.Dataset.origin` says it.

    Returns:
        Words of a command line; empty where it cannot train such a network.

    Example:
        >>> source_of("MLP", "my data.csv", "price")
        "'my data.csv' --target price --model mlp"
    """
    if model not in NETWORKS:
        return ""
    return shlex.join(data_words(place, target, origin or {})) + NETWORKS[model]


def of_history(
    history: History, *, kept: int | None = None, lost: str = "", apart: Collection[str] = (), as_logged: bool = False
) -> Curve:
    """Return the curve of a history.

    Args:
        history: of one epoch or more.
        kept: epoch of the state that was kept, from 1; None is the last.
        lost: why the run has no result.
        apart: labels of penalties whose strengths are no multipliers in the objective, and that do not count.
        as_logged: whether its training losses are as other trainers log them.
    """
    valid = history.column("valid.loss")
    known = [record.penalties for record in history if record.epoch == kept] or [r.penalties for r in history][-1:]
    penalties = known[0] if known else {}
    values = [v for label, v in penalties.items() if label not in apart and math.isfinite(v)]  # constraints have inf
    if not lost and any(not record.is_finite() for record in history):
        lost = "losses or weights are not finite"
    return Curve(
        train=history.column("train.loss"),
        held_out=valid if all(map(math.isfinite, valid)) else (),
        kept=kept,
        penalties=math.fsum(values),
        lost=lost,
        as_logged=as_logged,
    )
