"""Simple models that a search is compared with, on its folds: a constant model, a linear model, boosted trees.

They learn from all rows of a fold's training part, as they need no stop split. Their rows go to the ledger beside those
of the configurations; nothing is chosen among them.

Legend: ``n`` rows, ``D`` inputs, ``C`` classes.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meden._checks import one_line
from meden.data import Dataset, Fold
from meden.data.arrays import Arrays
from meden.data.tables import Table
from meden.data.targets import IGNORED, TargetCodec, fit_target
from meden.deadline import NEVER, Deadline, now
from meden.member import Member, ModelMaker, as_taken
from meden.noise import derive
from meden.objective import row_loss, row_score, row_weight
from meden.recipe import Recipe
from meden.run import HeldOut
from meden.study.ledger import Key, Ledger, Row
from meden.training.scoring import squared_scale
from meden.workers.workers import num_cores

Array = NDArray[Any]
MOST_INPUTS = 20_000
"""Inputs of a row, beyond which no simple model is fitted: it would take longer than the search."""
FEWEST_TO_CHOOSE, MOST_TO_CHOOSE, CHOOSING_NUMBERS = 500, 5_000, 1e7
"""Rows by which a linear classifier's strength is chosen: as many as have so many inputs times classes."""
INVERSE_STRENGTHS = np.logspace(-4, 2, 7)
"""``C`` of logistic regressions of so many rows, tried by cross-validation; the strength is 1 / (C n)."""
ALPHAS = np.logspace(-3, 5, 17)
"""Of ridge regressions; the strength is alpha / n."""
CHOOSING_FOLDS = 3
TRIAL_PART, TRIAL_ROWS = 16, 200
"""Share of the rows that shows how long a fit takes, and the fewest of them."""
MOST_STEPS = 300
"""Of a logistic regression's optimizer: its loss hardly falls any more by then."""


@dataclasses.dataclass(frozen=True)
class SimpleModels:
    """Models that need no search, each for one fold; answers are probabilities (n, C), or encoded numbers (n, M)."""

    dataset: Dataset
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Those that can be fitted to the data, cheapest first."""
        several = self.dataset.labels.ndim > 1
        x = self.dataset.inputs.x if isinstance(self.dataset.inputs, Arrays) else None
        tokens = x is not None and not x.is_floating_point() and not self.dataset.inputs.as_floats  # type: ignore[union-attr]
        wide = self.dataset.fit_encoder([0]).num_inputs > MOST_INPUTS if x is not None else False
        linear = () if tokens or wide or (several and self.dataset.task == "classification") else ("linear",)
        return ("constant", *linear, *(("trees",) if x is None and not several else ()))

    def held_out(self, name: str, fold: Fold) -> HeldOut:
        """Fit one of them to a fold's training part, and return what it makes of the rows that score."""
        rows = np.sort(np.concatenate([fold.fit, fold.stop]))
        answers = getattr(self, f"_{name}")(rows, fold)
        return self._scored(answers, fold)

    def done_by(self, deadline: Deadline, keys: Sequence[Key], folds: Sequence[Fold]) -> list[Key]:
        """Return which fits are likely to be done by a deadline, those of one model all or none; warns of others."""
        chosen: list[Key] = []
        left, given_up = deadline.seconds_left(), list[str]()
        for name in dict.fromkeys(key.baseline for key in keys):
            own = [key for key in keys if key.baseline == name]
            if name == "constant":  # takes no time
                chosen += own
                continue
            seconds = self._trial_seconds(name, folds[0]) * len(own) / num_cores() if left > 0 else math.inf
            left = min(left, deadline.seconds_left())
            if seconds < left:
                chosen, left = [*chosen, *own], left - seconds
            else:
                given_up.append(name)
        if given_up:
            warnings.warn(f"there was no time for the baselines {' and '.join(given_up)}", stacklevel=4)
        return chosen

    def _trial_seconds(self, name: str, fold: Fold) -> float:
        """Return about how long a fit to a fold takes, from one to a part of its rows."""
        random, started = np.random.default_rng(self.seed), now()
        fit, stop, scored = (
            np.sort(random.permutation(rows)[: max(len(rows) // TRIAL_PART, min(len(rows), TRIAL_ROWS))])
            for rows in (fold.fit, fold.stop, fold.score)
        )
        with warnings.catch_warnings(), suppress(Exception):  # what fails says so where it counts
            warnings.simplefilter("ignore")
            with ThreadPoolExecutor(1, initializer=_use_one_core) as pool:
                pool.submit(self.held_out, name, Fold(fit, stop, scored)).result()
        return (now() - started) * len(fold.fit) / len(fit)

    def _constant(self, rows: Array, fold: Fold) -> Array:
        labels, weights = self.dataset.labels[rows], self._weights(rows)
        if self.dataset.task == "regression":
            encoded = self._encoded(rows, fold)
            return np.broadcast_to(np.average(encoded, axis=0, weights=weights), (len(fold.score), encoded.shape[1]))
        columns = [(column, column != IGNORED) for column in labels.reshape(len(rows), -1).T]
        each = [
            np.bincount(column[kept], None if weights is None else weights[kept], self.dataset.num_outputs)
            for column, kept in columns
        ]
        shares = np.stack(each) / np.maximum(np.sum(each, axis=1, keepdims=True), 1e-300)
        shares = shares[0] if labels.ndim == 1 else shares
        return np.broadcast_to(shares, (len(fold.score), *shares.shape))

    def _linear(self, rows: Array, fold: Fold) -> Array:
        from sklearn.linear_model import RidgeCV

        x, scored = self._inputs(rows, fold.score)
        weights = self._weights(rows)
        if self.dataset.task == "classification":
            model = self._logistic(x, self.dataset.labels[rows], weights, rows)
            return self._probabilities(model, scored)
        model = RidgeCV(alphas=ALPHAS).fit(x, self._encoded(rows, fold), sample_weight=weights)
        return np.asarray(model.predict(scored)).reshape(len(scored), -1)

    def _logistic(self, x: Array, labels: Array, weights: Array | None, rows: Array) -> Any:
        """Return a logistic regression whose strength is chosen by cross-validation, on some of the rows if many."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        most = np.clip(CHOOSING_NUMBERS / x.shape[1] / self.dataset.num_outputs, FEWEST_TO_CHOOSE, MOST_TO_CHOOSE)
        few = np.random.default_rng(self.seed).permutation(len(rows))[: int(most)]
        model = LogisticRegression(max_iter=MOST_STEPS)
        splits = self._splits(labels[few], None if self.dataset.groups is None else self.dataset.groups[rows[few]])
        if splits is not None:
            tried = {"C": INVERSE_STRENGTHS}
            search = GridSearchCV(model, tried, cv=splits, scoring="neg_log_loss", refit=False, error_score="raise")
            search.fit(x[few], labels[few], sample_weight=None if weights is None else weights[few])
            model.C = search.best_params_["C"] * len(few) / len(rows)  # the same strength of so many more rows
        return model.fit(x, labels, sample_weight=weights)

    def _splits(self, labels: Array, groups: Array | None) -> list[tuple[Array, Array]] | None:
        """Return folds of which each part holds every class, by groups if there are any; None where there are none."""
        from sklearn.model_selection import GroupKFold, StratifiedKFold

        counts = np.unique(labels, return_counts=True)[1]
        if counts.min() < CHOOSING_FOLDS or (groups is not None and len(np.unique(groups)) < CHOOSING_FOLDS):
            return None
        shuffled = StratifiedKFold(CHOOSING_FOLDS, shuffle=True, random_state=self.seed % 2**32)
        splitter = shuffled if groups is None else GroupKFold(CHOOSING_FOLDS)
        splits = list(splitter.split(labels, labels, groups))
        whole = all(len(np.unique(labels[part])) == len(counts) for split in splits for part in split)
        return splits if whole else None

    def _trees(self, rows: Array, fold: Fold) -> Array:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        x, scored = self._inputs(rows, fold.score)
        weights, seed = self._weights(rows), self.seed % 2**32
        if self.dataset.task == "classification":
            model = HistGradientBoostingClassifier(random_state=seed)
            model.fit(x, self.dataset.labels[rows], sample_weight=weights)
            return self._probabilities(model, scored)
        model = HistGradientBoostingRegressor(random_state=seed)
        model.fit(x, self._encoded(rows, fold)[:, 0], sample_weight=weights)
        return np.asarray(model.predict(scored)).reshape(len(scored), 1)

    def _probabilities(self, model: Any, x: Array) -> Array:
        """Return probabilities of all classes (n, C), also of those that the training part does not hold."""
        found = np.zeros((len(x), self.dataset.num_outputs))
        found[:, model.classes_] = model.predict_proba(x)
        return found

    def _inputs(self, *parts: Array) -> list[Array]:
        """Return rows as a network would get them, flat, encoded by what the first of the parts shows."""
        encoder = self.dataset.fit_encoder(parts[0])
        return [self.dataset.features(encoder, rows).flatten(1).double().cpu().numpy() for rows in parts]

    def _encoded(self, rows: Array, fold: Fold) -> Array:
        """Return numbers (n, M) in the units of the fold's losses."""
        return self._codec(fold).encode(self.dataset.labels[rows]).double().numpy().reshape(len(rows), -1)

    def _codec(self, fold: Fold) -> TargetCodec:
        """Return what encodes the targets of a fold, as that of its networks does."""
        standardise = isinstance(self.dataset.inputs, Table)
        return fit_target(self.dataset.y, self.dataset.labels[fold.fit], standardise=standardise)

    def _weights(self, rows: Array) -> Array | None:
        return None if self.dataset.weights is None else self.dataset.weights[rows]

    def _scored(self, answers: Array, fold: Fold) -> HeldOut:
        """Return losses and scores of answers, defined as those of networks are."""
        codec, task, weights = self._codec(fold), self.dataset.task, self._weights(fold.score)
        y = codec.encode(self.dataset.labels[fold.score])
        y = y if weights is None else codec.weigh(y, torch.as_tensor(weights).float())
        given = torch.from_numpy(np.ascontiguousarray(answers))
        if task == "classification":  # a class that is impossible costs as much as in scikit-learn's log_loss
            given = given.clamp_min(torch.finfo(given.dtype).eps).log()
        elif y.is_floating_point():
            y = y.double()
        mean = row_weight(task, y, torch.float64).mean().item()  # over the tokens that count, as for networks
        losses, scores = row_loss(task, given, y).numpy() / mean, row_score(task, given, y).double().numpy() / mean
        outputs = answers.astype(np.float32) if answers.ndim == 2 else np.empty((len(answers), 0))
        if task == "regression":
            outputs = codec.decode(given).values.reshape(len(answers), -1)
        return HeldOut(losses.astype(np.float32), scores * squared_scale(codec), outputs)


def fit_simple_models(
    make_model: ModelMaker,
    dataset: Dataset,
    folds: Sequence[Fold],
    ledger: Ledger,
    seed: int,
    deadline: Deadline = NEVER,
) -> None:
    """Fit the simple models that a ledger lacks, each on one core; one that fails is left out, with a warning.

    So is one that would not be done by a deadline: how long it takes is told from a fit to a few of the rows.
    """
    dataset = as_taken(make_model, dataset, Member(Recipe(), folds[0]))
    models = SimpleModels(dataset, derive(seed, "baselines"))
    keys = [Key(0, number, 0, name) for name in models.names for number in range(len(folds))]
    wanted = [key for key in keys if key not in ledger.rows]
    if deadline != NEVER:
        wanted = models.done_by(deadline, wanted, folds)
    failed: dict[str, Exception] = {}
    started = time.perf_counter()
    pool = ThreadPoolExecutor(num_cores(), initializer=_use_one_core)
    with warnings.catch_warnings(record=True), pool:  # such as that an optimizer ended at its last step
        made = [pool.submit(models.held_out, key.baseline, folds[key.fold]) for key in wanted]
        for key, result in zip(wanted, made, strict=True):
            try:
                held_out = result.result()
            except Exception as error:
                failed[key.baseline] = error
                continue
            ended = time.perf_counter()
            ledger.append(_simple_row(key, held_out, ended - started))
            started = ended
    for name, cause in failed.items():
        warnings.warn(f"baseline {name!r} is left out, since it could not be fitted: {one_line(cause)}", stacklevel=3)


def _simple_row(key: Key, found: HeldOut, seconds: float) -> Row:
    return Row(
        **key._asdict(),
        params={},
        status="completed",
        reason="fitted",
        best_epoch=0,
        best_step=0,
        num_epochs=0,
        seconds=round(seconds, 4),
        train_loss=[],
        stop_loss=[],
        **vars(found),
    )


def _use_one_core() -> None:
    """Have a thread use one core: those of several would wait for each other, much longer where cores are busy."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
