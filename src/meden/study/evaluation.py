"""What a trained model is worth on rows that it has not seen: scores with intervals, its errors, its calibration.

Legend: ``n`` rows, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError, check_number
from meden._shown import Pair, Shown
from meden.data import Source, TensorSource
from meden.data.answered import rows_and_target
from meden.data.dataset import check_column, group_codes
from meden.data.frames import as_pandas
from meden.data.new_rows import OnMissing
from meden.data.targets import Label, NumberCodec, Task
from meden.data.text_file import TextFile
from meden.diagnosis.calibration import NUM_BINS, bins_of, calibration_error
from meden.objective import as_pair, check_fits
from meden.run import Ensemble, HeldOut, Run
from meden.study.metrics import RANGES, Truth, fitting, of_rows, spoken, variance_of
from meden.training.scoring import score_model

Array = NDArray[np.float64]
NEXT = "next token"
"""Target of a model of language."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of the errors that are told."""
MOST_DRAWN = 3e7
"""Groups, or rows, that all draws of a bootstrap have together: of so many, few draws differ."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    """NaN where it cannot be told, such as the ROC AUC of rows of one class."""
    low: float
    high: float
    """Ends of the interval; NaN for rows of one group, or a single one."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """Rows for which a model was about as sure."""

    low: float
    high: float
    """Ends of the probability."""
    num_rows: int
    said: float
    """Mean probability."""
    right: float
    """Share of the rows in which it was so."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Whether probabilities are frequencies: of the second of two classes, or of the one that is predicted."""

    error: float
    """Expected calibration error: the mean over rows of how far their bin's mean probability is from its share."""
    bins: tuple[Bin, ...]
    """Those that hold rows."""


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Predicted minus true numbers, in the user's units."""

    bias: Estimate
    """Their mean."""
    quantiles: Mapping[float, float]
    """By share of the rows, :data:`QUANTILES`."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation(Shown):
    """The result of :func:`evaluate`.

    Attributes:
        target: column that was predicted.
        task: ``"classification"`` or ``"regression"``.
        num_rows: rows that were scored.
        num_left_out: rows without an answer.
        num_groups: groups that were drawn together; None where rows were.
        confidence: coverage that the intervals aim at.
        scores: estimates by metric.
        classes: labels, in the order of the columns of ``confusion``; empty for numbers.
        confusion: rows of each true class that were predicted as each, (C, C); None for numbers.
        calibration: how far predicted probabilities can be believed; None for numbers.
        residuals: errors of predicted numbers; None for classes, or several numbers a row.
    """

    target: str
    task: Task
    num_rows: int
    num_left_out: int
    num_groups: int | None
    confidence: float
    scores: Mapping[str, Estimate]
    classes: tuple[Label, ...] = ()
    confusion: NDArray[np.int64] | None = None
    calibration: Calibration | None = None
    residuals: Residuals | None = None

    def _pairs(self) -> Iterable[Pair]:
        yield from (("target", self.target), ("rows", self.num_rows))
        for name, found in self.scores.items():
            yield spoken(name), f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"

    def frame(self) -> pd.DataFrame:
        """Return a row per metric with ``value``, ``low`` and ``high``."""
        return pd.DataFrame({name: dataclasses.asdict(found) for name, found in self.scores.items()}).T

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told["scores"] = {name: dataclasses.asdict(found) for name, found in self.scores.items()}
        told["classes"] = list(self.classes)
        told["confusion"] = None if self.confusion is None else self.confusion.tolist()
        for name in ("calibration", "residuals"):
            told[name] = None if told[name] is None else dataclasses.asdict(told[name])
        return told


def evaluate(
    run: Run | Ensemble,
    data: Any,
    *,
    groups: Any = None,
    on_missing: OnMissing = "error",
    confidence: float = 0.9,
    seed: int = 0,
) -> Evaluation:
    """Score a trained model on rows that it has not seen.

    The metrics are those of :func:`meden.study.metrics.of_rows`, all that fit the target. Their intervals are quantiles
    of a bootstrap: rows, or groups of them, are drawn with replacement, and what each adds to a metric is averaged.
    The loss of classes is cross-entropy in nats; of numbers half the squared error, in the units that the target was
    trained in (standardised, for a table). Probabilities below 1e-300 count as that.

    Args:
        run: what :func:`meden.fit_many` or :meth:`meden.Study.refit` trained, or :func:`meden.load_run` read, with its
            encoder.
        data: a table with the columns that the model was trained on and the target's; or a pair of rows, as for
            ``run.predict``, and their target (n,) or (n, M), or (n, T) for the classes of each row's T tokens. The
            target is read as in training. For a model of language the path of a text: each token after the first is
            predicted, and its windows are the rows.
        groups: a column of the table, or an array (n,) of labels: rows of one group are drawn together. None draws
            single rows.
        on_missing: what becomes of rows that the model has no answer for: ``"error"``, or ``"empty"`` to score the
            others.
        confidence: coverage of the intervals, in (0, 1).
        seed: of the draws.

    Raises:
        InputError: if the target's column is not there, a row of it is missing or holds a label that training did not
            have; and whatever ``run.predict`` refuses.

    Example:
        >>> import meden
        >>> from meden.data import make_folds
        >>> from meden.data.files import bundled_table
        >>> data = meden.as_dataset("iris")
        >>> member = meden.Member(meden.Recipe(epochs=30, lr=0.01), make_folds(data, 2, seed=0)[0])
        >>> run = meden.fit_many(meden.models.MLP, [member], data)[0]
        >>> found = evaluate(run, bundled_table("iris")[0])
        >>> found.num_rows, found.scores["accuracy"].value > 0.8, int(found.confusion.sum())
        (150, True, 150)

    Reference:
        B. Efron, Bootstrap methods: another look at the jackknife, 1979 (the intervals); M. Naeini, G. Cooper and
        M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, 2015 (the calibration error).
    """
    check_number("confidence", confidence, low=0, high=1, low_open=True, high_open=True)
    if isinstance(run, Run) and run.vocabulary is not None:
        return _of_text(run, data, confidence, seed)
    if run.encoder is None:
        raise InputError("run must have an encoder to be evaluated, got one that was trained on tensors")
    rows, cells, groups = divided(data, groups, run.encoder.label.name)
    if run.encoder.classes and np.ndim(cells) > 1:
        if not isinstance(run, Run):
            raise InputError("run must be a single one for rows with several labels each, got an ensemble")
        return _of_tokens(run, _windows(run, rows, cells), groups, confidence, seed)
    labels = run.encoder.labels(cells)
    told = run.predict(rows, on_missing=on_missing)
    answered = ~pd.isna(told.values.reshape(len(labels), -1)).any(axis=1)
    if not answered.any():
        raise InputError(f"data must hold rows that the model can predict, got none of {len(labels)}")
    codes = group_codes(groups, len(labels))
    units = (np.arange(len(labels)) if codes is None else codes)[answered]
    units = np.unique(units, return_inverse=True)[1]
    codec = run.encoder.target
    scale = codec.std if isinstance(codec, NumberCodec) else 1.0
    shared = {
        "target": run.encoder.label.name,
        "num_rows": int(answered.sum()),
        "num_left_out": int((~answered).sum()),
        "num_groups": None if codes is None else int(units.max()) + 1,
        "confidence": confidence,
    }
    draw = _Draws(units, confidence, seed)
    if told.classes:
        return _of_classes(told.classes, told.probabilities[answered], labels[answered], draw, shared)
    numbers = told.values[answered].astype(np.float64).reshape(len(units), -1)
    return _of_numbers(numbers, labels[answered].reshape(len(units), -1), scale, draw, shared)


def _of_text(run: Run, path: Any, confidence: float, seed: int) -> Evaluation:
    if not isinstance(path, (str, Path)):
        raise InputError(f"data must be the path of a text for a model of language, got {type(path).__name__}")
    text = TextFile(path, (run.model_args or {})["num_inputs"], vocabulary=run.vocabulary)
    return _of_tokens(run, text, None, confidence, seed)


def _windows(run: Run, rows: Any, cells: Any) -> TensorSource:
    pair = as_pair("data", (rows, cells), run.model)
    check_fits(run.model, "classification", {"data": pair})
    return TensorSource(*pair)


def _of_tokens(run: Run, rows: Source, groups: Any, confidence: float, seed: int) -> Evaluation:
    """Evaluate a model that answers for each token of a row; rows, or groups of them, are drawn, and not tokens."""
    told = score_model(run.model, rows, "classification", run.seed)
    codes = group_codes(groups, len(rows))
    draw = _Draws(np.arange(len(rows)) if codes is None else codes, confidence, seed)
    loss, accuracy = draw.intervals(np.stack([told.losses.astype(np.float64), told.scores]))
    accuracy = _within("accuracy", accuracy)
    perplexity = Estimate(*np.exp(dataclasses.astuple(loss)).tolist())
    return Evaluation(
        target=NEXT if run.encoder is None else run.encoder.label.name,
        task="classification",
        num_rows=len(rows),
        num_left_out=0,
        num_groups=None if codes is None else int(codes.max()) + 1,
        confidence=confidence,
        scores={"loss": loss, "perplexity": perplexity, "accuracy": accuracy},
    )


def divided(data: Any, groups: Any, target: str) -> tuple[Any, Any, Any]:
    """Return rows, their target, and their groups."""
    rows, cells = rows_and_target("data", data, target)
    if isinstance(groups, str):
        frame = as_pandas(rows)
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"groups must be an array (n,) for rows that are not a table, got {groups!r}")
        check_column("groups", groups, frame)
        groups = frame[groups]
    return rows, cells, groups


@dataclasses.dataclass(frozen=True, eq=False)
class _Draws:
    """Draws of rows, or of groups of them, with replacement: the same for all that is estimated."""

    units: NDArray[np.int64]
    """What is drawn together, (n,)."""
    confidence: float
    seed: int

    def intervals(self, added: Array) -> list[Estimate]:
        """Return the means of what rows add to each of several numbers, (k, n), with their intervals."""
        sizes = np.bincount(self.units)
        sums = np.stack([np.bincount(self.units, row) for row in added])
        num, random = len(sizes), np.random.default_rng(self.seed)
        if num == 1:
            return [Estimate(float(mean), np.nan, np.nan) for mean in added.mean(axis=1)]
        means = []
        for _ in range(int(np.clip(MOST_DRAWN / num, 100, 1000))):
            counts = np.bincount(random.integers(num, size=num), minlength=num)
            means.append(sums @ counts / (sizes @ counts))
        ends = np.quantile(means, [(1 - self.confidence) / 2, (1 + self.confidence) / 2], axis=0)
        return [Estimate(float(mean), *ends[:, k].tolist()) for k, mean in enumerate(added.mean(axis=1))]


def _of_classes(
    classes: tuple[Label, ...], probabilities: Array, labels: NDArray[np.int64], draw: _Draws, shared: dict[str, Any]
) -> Evaluation:
    said, rows = probabilities.argmax(axis=1), np.arange(len(labels))
    losses = -np.log(np.maximum(probabilities[rows, labels], 1e-300))
    told = HeldOut(losses.astype(np.float32), (said == labels).astype(np.float64), probabilities)
    confusion = np.bincount(labels * len(classes) + said, minlength=len(classes) ** 2).reshape(len(classes), -1)
    two = len(classes) == 2
    sure, so = (probabilities[:, 1], labels == 1) if two else (probabilities.max(axis=1), said == labels)
    return Evaluation(
        task="classification",
        scores=_scores("classification", told, Truth(labels, len(classes)), draw),
        classes=classes,
        confusion=confusion,
        calibration=_calibration(sure, so),
        **shared,
    )


def _of_numbers(predicted: Array, true: Array, scale: float, draw: _Draws, shared: dict[str, Any]) -> Evaluation:
    errors = predicted - true
    squares = (errors**2).sum(axis=1)
    told = HeldOut((squares / scale**2 / 2).astype(np.float32), squares, predicted)
    residuals = None
    if true.shape[1] == 1:
        quantiles = dict(zip(QUANTILES, np.quantile(errors, QUANTILES).tolist(), strict=True))
        residuals = Residuals(draw.intervals(errors.T)[0], quantiles)
    return Evaluation(
        task="regression",
        scores=_scores("regression", told, Truth(true, variance=variance_of(true.ravel())), draw),
        residuals=residuals,
        **shared,
    )


def _scores(task: Task, told: HeldOut, truth: Truth, draw: _Draws) -> dict[str, Estimate]:
    names = fitting(task, truth.labels)
    found = draw.intervals(np.stack([of_rows(name, told, truth) for name in names]))
    return {name: _within(name, estimate) for name, estimate in zip(names, found, strict=True)}


def _within(metric: str, found: Estimate) -> Estimate:
    """Return an estimate whose ends are numbers that the metric can be."""
    low, high = (float(np.clip(end, *RANGES[metric])) for end in (found.low, found.high))
    return dataclasses.replace(found, low=low, high=high)


def _calibration(sure: Array, so: NDArray[np.bool_]) -> Calibration:
    place = bins_of(sure)
    bins = []
    for number in np.unique(place):
        own = place == number
        ends = number / NUM_BINS, (number + 1) / NUM_BINS
        bins.append(Bin(*ends, int(own.sum()), float(sure[own].mean()), float(so[own].mean())))
    return Calibration(calibration_error(sure, so), tuple(bins))
