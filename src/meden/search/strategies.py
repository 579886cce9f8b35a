"""Which configurations are tried: Optuna proposes, we tell it what came of it."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from meden._checks import check_choice
from meden.search.space import Space

StrategyName = Literal["tpe", "gp", "sobol", "random", "grid"]
STRATEGIES = ("tpe", "gp", "sobol", "random", "grid")
BATCH = 16
"""Configurations that a strategy which learns proposes at once."""


class Proposals:
    """A strategy at work: ask for configurations, tell their scores.

    The same seed and the same scores give the same proposals, so that a search which was cut off is replayed from its
    ledger instead of being stored.

    Args:
        space: what is searched.
        strategy: ``"tpe"``, ``"gp"``, ``"sobol"``, ``"random"`` or ``"grid"``.
        budget: configurations in all; a grid has at most as many.
        seed: of the sampler.
    """

    def __init__(self, space: Space, strategy: StrategyName, *, budget: int, seed: int) -> None:
        check_choice("strategy", strategy, STRATEGIES)
        self.space = space
        self._grid = list(_grid(space, budget)) if strategy == "grid" else []
        self.budget = len(self._grid) if strategy == "grid" else budget
        self.batch = BATCH if strategy in ("tpe", "gp") else self.budget
        with _quiet():
            self._study = optuna.create_study(sampler=_sampler(strategy, seed), direction="minimize")
        self._asked: list[optuna.Trial] = []

    def ask(self) -> list[dict[str, Any]]:
        """Return the next batch of configurations; empty when the budget is spent."""
        num = min(self.batch, self.budget - len(self._asked))
        distributions = {name: dimension.distribution() for name, dimension in self.space.items()}
        with _quiet():
            if self._grid:
                return [self._fixed(params) for params in self._grid[len(self._asked) :][:num]]
            trials = [self._study.ask(distributions) for _ in range(num)]
        self._asked += trials
        return [dict(trial.params) for trial in trials]

    def tell(self, scores: Sequence[float]) -> None:
        """Tell the scores of the last batch, in order; lower is better, a diverged one is infinite."""
        with _quiet():
            for trial, score in zip(self._asked[-len(scores) :], scores, strict=True):
                self._study.tell(trial, score if math.isfinite(score) else math.inf)

    def _fixed(self, params: dict[str, Any]) -> dict[str, Any]:
        self._study.enqueue_trial(params)
        self._asked.append(self._study.ask({name: d.distribution() for name, d in self.space.items()}))
        return params


def _grid(space: Space, budget: int) -> Iterator[dict[str, Any]]:
    """Yield a full grid of at most ``budget`` points, with equally many values in each dimension where they exist."""
    num = max(size for size in range(1, budget + 1) if _grid_size(space, size) <= budget or size == 1)
    values = [dimension.grid(num) for dimension in space.values()]
    for point in itertools.islice(itertools.product(*values), budget):
        yield dict(zip(space, point, strict=True))


def _grid_size(space: Space, num: int) -> int:
    return math.prod(len(dimension.grid(num)) for dimension in space.values())


def _sampler(strategy: StrategyName, seed: int) -> BaseSampler:
    seed %= 2**32
    if strategy == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    if strategy == "gp":
        return GPSampler(seed=seed)
    return QMCSampler(seed=seed, scramble=True) if strategy == "sobol" else RandomSampler(seed=seed)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log lines and notes on experimental samplers out of the user's terminal."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
