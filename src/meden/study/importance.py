"""What mattered: how much each searched name explains of which configurations do better.

Legend: ``m`` finished configurations, ``F`` folds, ``D`` searched names.

A random forest learns the ranks of the losses from the configurations tried; the variance of its predictions over the
whole searched range is split among the names (fANOVA). Ranks, since losses have long tails: a few hopeless
configurations would be all that is explained. Shares are of what was searched: a wider range matters more. Every name
is one number from 0 to 1, its place, as :meth:`meden.LogUniform.at` and its like draw values: a decade counts as a
decade, an option as an option, and "off" as half of a name that may be off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from meden._checks import check_choice
from meden.report.numbers import plural
from meden.space.dimensions import Choice, Dimension, IntUniform, Maybe
from meden.space.quiet import quiet
from meden.study.results import Results, Trial

Array = NDArray[np.float64]
Of = Literal["loss", "gap"]
MOST = 256
"""Configurations that are judged: of more, so many are drawn by the seed."""
TREES, LEAVES = (16, 64), 4096
"""Fewest and most trees of a forest, which have so many leaves together: time grows faster than what is learned."""
FEWEST, ENOUGH = 24, 64
"""Configurations below which shares are not shown, and from which they are shown without a word of caution. In studies
whose true shares are known (benchmarks/importance.py), the name of most weight came first in half of those of 16
configurations, in two thirds of those of 24, in nine tenths of those of 64."""
PREDICTED = 0.2
"""Share of the variance of ranks that a forest must predict for configurations it has not seen: pure noise reaches it
in less than one study of twenty."""
CONSTANT = 1e-6
"""Losses whose range is smaller than so much of them are the same: rows hold seven digits."""
SHOWN = 0.05
"""Names with a smaller share are told together."""
_TOLD: WeakKeyDictionary[Results, dict[Of, Importances]] = WeakKeyDictionary()
"""What was told of results that are still there: verdict and page ask for the same, and forests take a second."""
ORDERS: dict[Of, str] = {"loss": "which configurations do better", "gap": "which configurations overfit less"}
TITLES: dict[Of, str] = {"loss": "Held-out loss", "gap": "Gap between held-out and training loss"}


@dataclass(frozen=True)
class Importance:
    """What one name explains, 0 to 1, by itself: interactions with other names are left out."""

    name: str
    share: float
    """Of the variance of ranks, by the mean loss over the folds."""
    low: float
    high: float
    """The lowest and the highest of that and of what each fold says by its own losses: no interval of a given coverage,
    but the range of what other rows would have said."""


@dataclass(frozen=True, kw_only=True)
class Importances:
    """What the searched names explain, or why that is unknown."""

    of: Of
    status: Literal["ok", "rough", "few", "constant", "noise"]
    """``"rough"``: the shares come from few configurations; the last three statuses have no shares."""
    reason: str
    """Why there are no shares, or why they are rough; empty if the status is ok."""
    shares: tuple[Importance, ...]
    """Shares of the names, in decreasing order."""
    num_configurations: int
    """Configurations used: those that finished, without diverged and dropped ones; a random 256 if there are more."""
    predicted: float
    """Share of the variance of ranks that the names predict for unseen configurations: at most 1, below 0 if a constant
    does better, NaN if it was not measured."""

    @property
    def rest(self) -> float:
        """Share that no name explains by itself: interactions, and what is noise to the forest."""
        return max(0.0, 1 - sum(one.share for one in self.shares)) if self.shares else math.nan

    @property
    def sentence(self) -> str:
        """What to tell, in one sentence."""
        if not self.shares:
            return f"{TITLES[self.of]}: the importance of the names is unknown, since {self.reason}."
        first, *others = self.shares
        told = [one for one in others if one.share >= SHOWN]
        left = others[len(told) :]
        parts = [f"{first.name} explains {_shares(first)}", *(f"{one.name} {_shares(one)}" for one in told)]
        if left:
            names = left[0].name if len(left) == 1 else f"the other {len(left)} names together"
            parts.append(f"{names} {_percent(sum(one.share for one in left))}")
        if self.rest >= SHOWN:
            parts.append(f"interactions or noise {_percent(self.rest)}")
        rough = f" (roughly: {self.reason})" if self.reason else ""
        return f"{TITLES[self.of]}: {', '.join(parts)} of {ORDERS[self.of]}{rough}."


def importance_of(results: Results, of: Of = "loss") -> Importances:
    """Return what each searched name explains of the held-out loss, or of its gap to the training loss.

    Configurations that finished are ranked. The same results give the same shares.

    Args:
        results: of a search, finished or not.
        of: ``"loss"``, held out; ``"gap"``, held-out loss less the training loss of the state that was kept.

    Returns:
        Shares in falling order; a status and its reason where there are too few configurations, where all have the
        same loss, or where the names predict nothing for a configuration that the forest has not seen.

    Raises:
        InputError: if ``of`` is neither.

    Example:
        >>> import meden
        >>> space, recipe = {"l2": meden.LogUniform(1e-4, 1.0)}, meden.Recipe(epochs=1)
        >>> study = meden.tune(meden.models.MLP, "iris", space, folds=2, budget=2, strategy="grid", recipe=recipe)
        >>> importance_of(study).status
        'few'

    Reference:
        F. Hutter, H. Hoos and K. Leyton-Brown, An efficient approach for assessing hyperparameter importance, 2014.
    """
    check_choice("of", of, tuple(TITLES))
    told = _TOLD.setdefault(results, {})
    if of not in told:
        told[of] = _explained(results, of)
    return told[of]


def _explained(results: Results, of: Of) -> Importances:
    num_folds = len(results.folds)
    ended = [(trial, _by_fold(trial, of, num_folds)) for trial in results.trials if trial.status == "ok"]
    used = [(trial, values) for trial, values in ended if np.isfinite(values).all()]
    num = len(used)
    if num < FEWEST:
        return _none(of, "few", f"{_finished(num)}: with fewer than {FEWEST}, shares are mostly noise", num)
    if num > MOST:
        drawn = np.random.default_rng(results.seed).choice(num, MOST, replace=False)
        used = [used[place] for place in sorted(drawn)]
    y = np.stack([values for _, values in used], axis=1)
    together = y.mean(axis=0)
    if np.ptp(together) <= CONSTANT * max(np.abs(trial.fold_losses).max() for trial, _ in used):
        return _none(of, "constant", f"it is the same for all {plural(num, 'configuration')}", num)
    x = np.array([[_place(d, trial.params[name]) for name, d in results.space.items()] for trial, _ in used])
    predicted = predicted_share(x, together, results.seed)
    if predicted < PREDICTED:
        told = f"the searched names predict {_percent(max(predicted, 0.0))} of the ranks of unseen configurations"
        return _none(of, "noise", f"{told}, which is no more than noise", num, predicted)
    shares = np.stack([explained_shares(x, values, results.seed) for values in (together, *y)])
    found = [
        Importance(name, float(own[0]), float(own.min()), float(own.max()))
        for name, own in zip(results.space, shares.T, strict=True)
    ]
    return Importances(
        of=of,
        status="ok" if num >= ENOUGH else "rough",
        reason="" if num >= ENOUGH else _finished(num),
        shares=tuple(sorted(found, key=lambda one: -one.share)),
        num_configurations=num,
        predicted=predicted,
    )


def _by_fold(trial: Trial, of: Of, num_folds: int) -> Array:
    """Return what is explained, of each fold, (F,), averaged over seeds."""
    values = trial.fold_losses if of == "loss" else trial.fold_losses - trial.fold_train_losses
    means: Array = values.reshape(num_folds, -1).mean(axis=1)
    return means


def _place(dimension: Dimension, value: Any) -> float:
    """Return where a value lies, 0 to 1, such that equal lengths are drawn equally often.

    "Off" lies at the end of its half, next to what is on: a tree that parts them then gives each about a half.
    """
    if isinstance(dimension, Maybe):
        return 0.5 if value is None else 0.5 + 0.5 * _place(dimension.inner, value)
    if isinstance(dimension, IntUniform):
        return float((value - dimension.low + 0.5) / (dimension.high - dimension.low + 1))
    if isinstance(dimension, Choice):
        return (dimension.options.index(value) + 0.5) / len(dimension.options)
    return float(dimension.position(value))


def predicted_share(x: Array, y: Array, seed: int) -> float:
    """Return the share of the variance of ranks that trees predict which have not seen the row: R2 out of bag.

    Args:
        x: (m, D), places of the names.
        y: (m,), what is predicted.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestRegressor

    ranks = _ranks(y)
    forest = RandomForestRegressor(TREES[1], oob_score=True, random_state=seed % 2**32).fit(x, ranks)
    return float(forest.oob_score_)


def explained_shares(x: Array, y: Array, seed: int) -> Array:
    """Return the share of the variance of ranks that each name explains by itself, (D,).

    Args:
        x: (m, D), places of the names.
        y: (m,), what is explained; all 0 where it does not vary.
        seed: of the forest.
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator

    names = [str(column) for column in range(x.shape[1])]
    everywhere: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in names}
    if np.ptp(y) == 0:
        return np.zeros(len(names))
    with quiet():
        study = optuna.create_study()
        study.add_trials(
            optuna.trial.create_trial(
                params=dict(zip(names, map(float, places), strict=True)), distributions=everywhere, value=float(rank)
            )
            for places, rank in zip(x, _ranks(y), strict=True)
        )
        evaluator = FanovaImportanceEvaluator(n_trees=_num_trees(y), seed=seed % 2**32)
        found = evaluator.evaluate(study, params=names)
    return np.array([found[name] for name in names])


def _num_trees(y: Array) -> int:
    return min(max(LEAVES // len(y), TREES[0]), TREES[1])


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    ranks: Array = rankdata(values)
    return ranks


def _none(
    of: Of, status: Literal["few", "constant", "noise"], reason: str, num: int, predicted: float = math.nan
) -> Importances:
    return Importances(of=of, status=status, reason=reason, shares=(), num_configurations=num, predicted=predicted)


def _finished(num: int) -> str:
    return f"{plural(num, 'configuration')} finished"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _shares(one: Importance) -> str:
    return f"{_percent(one.share)} ({100 * one.low:.0f} to {_percent(one.high)})"
