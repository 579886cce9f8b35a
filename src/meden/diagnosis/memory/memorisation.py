"""What models know by heart: how surely the loss of a row tells whether a model was fitted on it.

Legend: ``M`` models, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError
from meden._shown import Pair, Shown, ShownFields
from meden.diagnosis.memory.separation import Auc, Mask, TruePositives, auc, roc, true_positives
from meden.diagnosis.memory.shadows import SMALLEST, Array, Folds, confidences, likelihood_ratios, moments

FIT, STOP, SCORE = 1, 2, 3
"""Parts of a row in a model's fold: it trained, it decided when to stop, or it did nothing but score; 0 is none."""
LOW = (0.001, 0.01)
"""Shares of outsiders that may be taken for members: an attacker who is seldom wrong is worse than one who often is."""
MOST_EXPOSED = 10
"""Rows that are told by name."""
ANY_BY_LUCK = 0.05
"""Chance that a row is told by name where none is known by heart, of all rows together (Bonferroni)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RowLosses(ShownFields):
    """Losses of rows under models, some of which were fitted on them: without penalties, in evaluation mode."""

    losses: NDArray[np.floating[Any]]
    """(M, n), without weights; NaN where they are not known."""
    parts: NDArray[np.uint8]
    """Part of each row in each model's fold, (M, n): 1 fitted, 2 stopped by, 3 only scored, 0 none of these."""
    folds: Folds | None = None
    """Division of the rows, and fold in it, of each model, (M, 2); None is a division for each model."""
    classified: bool = True
    """Whether losses are cross-entropies; else half squared errors."""
    labels: NDArray[np.int64] | None = None
    """Class of each row, (n,), as its place in ``classes``; None where rows have no single class."""
    classes: tuple[Any, ...] = ()
    clusters: NDArray[np.int64] | None = None
    """Rows that depend on each other, (n,); None is each row by itself."""

    def __post_init__(self) -> None:
        shape = np.shape(self.losses)
        if len(shape) != 2 or np.shape(self.parts) != shape:
            raise InputError(
                f"losses and parts must both have shape (models, rows), got {shape} and {np.shape(self.parts)}"
            )
        if self.folds is not None and np.shape(self.folds) != (shape[0], 2):
            raise InputError(f"folds must have shape (models, 2), got {np.shape(self.folds)}")
        for part, name in ((FIT, "was fitted on"), (SCORE, "has not seen")):
            if not self._rows(part).any():
                raise InputError(f"losses must include rows that a model {name}, got none")

    @property
    def members(self) -> Mask:
        """Which rows each model was fitted on, (M, n)."""
        return self._rows(FIT)

    @property
    def outsiders(self) -> Mask:
        """Which rows each model never saw, (M, n)."""
        return self._rows(SCORE)

    @property
    def models(self) -> Folds:
        """Division and fold of each model, (M, 2)."""
        return np.arange(2 * len(self.losses)).reshape(-1, 2) if self.folds is None else self.folds

    def thinned(self, most: int) -> RowLosses:
        """Return those of at most so many rows, evenly spread."""
        num = self.losses.shape[1]
        if num <= most:
            return self
        rows = np.linspace(0, num - 1, most).astype(np.int64)
        clusters = None if self.clusters is None else np.unique(self.clusters[rows], return_inverse=True)[1]
        labels = None if self.labels is None else self.labels[rows]
        losses, parts = self.losses[:, rows], self.parts[:, rows]
        return replace(self, losses=losses, parts=parts, labels=labels, clusters=clusters)

    @property
    def stopped(self) -> Mask:
        """Which rows decided when each model stopped, (M, n)."""
        return self._rows(STOP)

    def _rows(self, part: int) -> Mask:
        return np.asarray((self.parts == part) & np.isfinite(self.losses))


@dataclass(frozen=True, eq=False, repr=False)
class Attack(ShownFields):
    """How well one way to tell members from outsiders does; each number with a 95 % interval."""

    auc: Auc
    """Averaged over the models."""
    true_positives: tuple[TruePositives, ...]
    """By one threshold for all models, at each of :data:`LOW` false positives."""
    by_class: Mapping[str, Auc]
    """Of the rows of each class; empty where there are no classes."""
    curve: Array
    """Shares of outsiders and of members above one threshold for all models, (2, k), see :func:`roc`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "auc": self.auc.to_dict(),
            "true_positives": [found.to_dict() for found in self.true_positives],
            "by_class": {name: found.to_dict() for name, found in self.by_class.items()},
        }


@dataclass(frozen=True, repr=False)
class ExposedRow(ShownFields):
    """A row that gives away whether a model was fitted on it."""

    row: int
    """Its number in the data, from 0."""
    label: str
    """Its class; empty where it has none."""
    fitted_loss: float
    """Mean loss under the models that were fitted on it."""
    unseen_loss: float
    """Mean loss under those that never saw it."""
    exposure: float
    """How far apart their confidences are, in standard deviations of models that are alike."""
    error: float
    """Standard error of the exposure."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Memorisation(Shown):
    """What models have memorised; prints as sentences.

    Attributes:
        num_models: models that were looked at.
        num_rows: rows that some model was fitted on, and some other not.
        loss: rows with the smaller loss are taken for members (Yeom et al.).
        lira: likelihood ratios, with the other models as shadows (Carlini et al.); None for too few models.
        stop: the same as ``loss.auc`` of rows that decided when to stop, which trained nothing; None where there are
            none.
        exposures: exposure of each row, (n,), see :class:`ExposedRow`; NaN where it cannot be told.
        exposed: the most exposed rows that stand out, the first one most: further than the farthest of as many rows
            would be by luck in 95 % of the cases; often none.
    """

    num_models: int
    num_rows: int
    loss: Attack
    lira: Attack | None
    stop: Auc | None
    exposures: Array
    exposed: tuple[ExposedRow, ...]

    @property
    def strongest(self) -> Attack:
        """The attack with the higher AUC."""
        return self.loss if self.lira is None or self.lira.auc.value < self.loss.auc.value else self.lira

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def sentences(self) -> Iterable[str]:
        """Yield what was found, a sentence each, without capitals and full stops."""
        yield f"membership by the loss alone: AUC {self.loss.auc}, where 0.5 is chance"
        if self.lira is not None:
            yield f"by likelihood ratios against the other models: AUC {self.lira.auc}"
        yield from (f"members found: {found}" for found in self.strongest.true_positives)
        if self.stop is not None:
            yield f"rows of the stop splits, by the loss alone: AUC {self.stop}"
        if len(named := sorted(self.strongest.by_class.items(), key=lambda item: -item[1].value)) > 1:
            yield f"highest by class: {named[0][0]}, AUC {named[0][1]}; lowest: {named[-1][0]}, AUC {named[-1][1]}"
        if self.exposed:
            told = ", ".join(f"{row.row} ({row.exposure:.1f} ± {row.error:.1f})" for row in self.exposed[:5])
            yield f"most exposed rows: {told}"
        elif np.isfinite(self.exposures).any():
            yield "no row stands out: none is more exposed than the most exposed of as many rows would be by chance"

    def _pairs(self) -> Iterable[Pair]:
        yield from (("models", self.num_models), ("rows", self.num_rows), ("loss AUC", str(self.loss.auc)))
        if self.lira is not None:
            yield "LiRA AUC", str(self.lira.auc)
        yield "most exposed rows", [row.row for row in self.exposed]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "num_models": self.num_models,
            "num_rows": self.num_rows,
            "loss": self.loss.to_dict(),
            "lira": None if self.lira is None else self.lira.to_dict(),
            "stop": None if self.stop is None else self.stop.to_dict(),
            "exposed": [asdict(row) for row in self.exposed],
        }


def memorisation_of(given: RowLosses) -> Memorisation:
    """Return how surely losses tell which rows models were fitted on.

    Of several models each is attacked by itself, with those of other folds as its shadows, and results are averaged:
    intervals know that rows are the same in all. In one division of the rows the shadows of a row were all fitted on
    it; two divisions or more give some that were not, which finds more. 0.5 is an AUC of nothing known by heart.

    Args:
        given: losses of rows, and which part they had.

    Raises:
        InputError: if no model has two rows of both kinds.

    Example:
        >>> import numpy as np
        >>> losses, parts = np.random.default_rng(0).exponential(size=(1, 400)), np.repeat([[1, 3]], 200, axis=1)
        >>> unseen = memorisation_of(RowLosses(losses=losses, parts=parts))
        >>> unseen.loss.auc.low < 0.5 < unseen.loss.auc.high
        True

    Reference:
        S. Yeom, I. Giacomelli, M. Fredrikson and S. Jha, Privacy risk in machine learning: analyzing the connection to
        overfitting, 2018 (the loss); N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramer, Membership
        inference attacks from first principles, 2022; V. Feldman, Does learning require memorization?, 2020 (what is
        known of a row).
    """
    members, outsiders = given.members, given.outsiders
    scores = confidences(given.losses, classified=given.classified)
    ratios = likelihood_ratios(scores, members, outsiders, given.models)
    by_loss = _attack(scores, members, outsiders, given)
    if by_loss is None:
        raise InputError("losses must include at least two rows that a model was fitted on and two that it was not")
    told = np.isfinite(ratios)
    exposures, errors, free = _exposures(*_per_fold(scores, members, outsiders, given.models))
    return Memorisation(
        num_models=len(scores),
        num_rows=int((members.any(0) | outsiders.any(0)).sum()),
        loss=by_loss,
        lira=_attack(ratios, members & told, outsiders & told, given, compared=True),
        stop=auc(scores, given.stopped, outsiders, given.clusters),
        exposures=exposures,
        exposed=tuple(_exposed(given, exposures, errors, free)),
    )


def membership_aucs(given: RowLosses) -> tuple[Auc | None, Auc | None]:
    """Return the AUC by the loss alone, and by likelihood ratios, as :func:`memorisation_of` does; None if too few."""
    members, outsiders = given.members, given.outsiders
    scores = confidences(given.losses, classified=given.classified)
    told = np.isfinite(ratios := likelihood_ratios(scores, members, outsiders, given.models))
    by_ratio = auc(ratios, members & told, outsiders & told, given.clusters, compared=True)
    return auc(scores, members, outsiders, given.clusters), by_ratio


def _attack(
    scores: Array, members: Mask, outsiders: Mask, given: RowLosses, *, compared: bool = False
) -> Attack | None:
    clusters = given.clusters
    overall = auc(scores, members, outsiders, clusters, compared=compared)
    if overall is None:
        return None
    low = (true_positives(scores, members, outsiders, share, clusters) for share in LOW)
    by_class = {}
    for place, name in enumerate(given.classes if given.labels is not None else ()):
        own = given.labels == place
        codes = None if clusters is None else np.unique(clusters[own], return_inverse=True)[1]
        by_class[str(name)] = auc(scores[:, own], members[:, own], outsiders[:, own], codes, compared=compared)
    return Attack(
        overall,
        tuple(found for found in low if found is not None),
        {name: found for name, found in by_class.items() if found is not None},
        roc(scores, members, outsiders),
    )


def _per_fold(scores: Array, members: Mask, outsiders: Mask, folds: Folds) -> tuple[Array, Mask, Mask]:
    """Return means over the models of each fold, which were fitted on the same rows."""
    names, place = np.unique(folds, axis=0, return_inverse=True)
    each = [np.flatnonzero(place.ravel() == number) for number in range(len(names))]
    firsts = [own[0] for own in each]
    return np.stack([scores[own].mean(0) for own in each]), members[firsts], outsiders[firsts]


def _exposures(scores: Array, members: Mask, outsiders: Mask) -> tuple[Array, Array, int]:
    """Return each row's exposure and its standard error, (n,), and the degrees of freedom of the latter.

    NaN where no model was fitted on a row, or all were.
    """
    (inside, num_inside, first), (outside, num_outside, second) = (
        moments(scores, rows) for rows in (members, outsiders)
    )
    free = int((np.maximum(num_inside - 1, 0) + np.maximum(num_outside - 1, 0)).sum())
    nothing = np.full(scores.shape[1], np.nan)
    if free == 0:
        return nothing, nothing, 0
    with np.errstate(divide="ignore"):
        error = np.sqrt(1 / num_inside + 1 / num_outside)
    deviation = np.sqrt(np.maximum((first + second).sum() / free, SMALLEST))
    return (inside - outside) / deviation, np.where(np.isfinite(error), error, np.nan), free


def _exposed(given: RowLosses, exposures: Array, errors: Array, free: int) -> Iterable[ExposedRow]:
    """Yield the rows that are further out than the farthest of as many would be by luck."""
    from scipy.stats import t

    if not (num := int(np.isfinite(exposures).sum())):
        return
    ranked = np.argsort(-np.nan_to_num(exposures, nan=-np.inf), kind="stable")
    far = exposures[ranked] > float(t.isf(ANY_BY_LUCK / num, free)) * errors[ranked]
    for row in ranked[far][:MOST_EXPOSED].tolist():
        inside, outside = (
            given.losses[rows[:, row], row].astype(np.float64) for rows in (given.members, given.outsiders)
        )
        label = "" if given.labels is None or not given.classes else str(given.classes[int(given.labels[row])])
        yield ExposedRow(
            row, label, float(inside.mean()), float(outside.mean()), float(exposures[row]), float(errors[row])
        )
