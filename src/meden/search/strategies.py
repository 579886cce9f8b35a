"""Which configurations are tried: Optuna proposes, and learns the scores."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from meden._checks import InputError, check_choice, nearest
from meden.space.dimensions import Maybe, switch
from meden.space.names import Space, shaping
from meden.space.quiet import quiet

StrategyName = Literal["tpe", "gp", "sobol", "random", "grid"]
STRATEGIES = ("tpe", "gp", "sobol", "random", "grid")
BATCH, MOST_AT_ONCE = 16, 4096
"""Configurations that are proposed at once: by a strategy which learns, and by any."""
ALIKE = 4
"""So many configurations, one after the other, are of one shape where there are many: they are trained in one stack."""


class Proposals:
    """A strategy at work: ask for configurations, tell their scores.

    The same seed and the same scores give the same proposals, so that a search which was cut off is replayed from its
    ledger instead of being stored. A dimension that is switched off is asked for no value: ``tpe`` learns about
    strengths from the configurations that had one; ``gp`` draws them at random. Where a space holds more than four
    shapes (widths, depths, optimizers, ...), every fourth configuration draws one and the next three share it, except
    in a grid. Points given as ``first`` are tried before all of these, and the strategy learns from their scores too.

    Args:
        space: what is searched.
        strategy: ``"tpe"``, ``"gp"``, ``"sobol"``, ``"random"`` or ``"grid"``.
        budget: configurations in all; a grid has at most as many.
        seed: of the sampler.
        first: points of the space, each with a value for every name; those beyond the budget wait for a larger one.
        in_stacks: whether configurations of one shape are trained together, and may share it.

    Raises:
        InputError: if the strategy is unknown, or a first point is none of the space.
    """

    def __init__(
        self,
        space: Space,
        strategy: StrategyName,
        *,
        budget: int,
        seed: int,
        first: Sequence[Mapping[str, Any]] = (),
        in_stacks: bool = True,
    ) -> None:
        check_choice("strategy", strategy, STRATEGIES)
        _check_first(first, space)
        self.space = space
        self._first = [{name: point[name] for name in space} for point in first]
        left = max(0, budget - len(first))
        size = _grid_values(space, left) if strategy == "grid" and left else 0
        self._points = _points(space, strategy, seed, size)
        many = in_stacks and strategy != "grid" and _grid_size(space, ALIKE + 1, shaping(space)) > ALIKE
        self._shared = shaping(space) if many else []
        self._shape: dict[str, Any] = {}
        self.budget = min(len(first), budget) + min(left, _grid_size(space, size, space) if size else left)
        self.batch = BATCH if strategy in ("tpe", "gp") else min(self.budget, MOST_AT_ONCE)
        with quiet():
            self._study = optuna.create_study(sampler=_sampler(strategy, seed), direction="minimize")
        self._asked: list[optuna.Trial] = []

    def ask(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the next batch of configurations; empty when the budget is spent.

        Args:
            most: of the batch; None is as many as the strategy likes.
        """
        num = min(self.batch if most is None else min(most, self.batch), self.budget - len(self._asked))
        with quiet():
            return [self._next() for _ in range(num)]

    def tell(self, scores: Sequence[float]) -> None:
        """Tell the scores of the last batch, in order; lower is better; infinite if diverged or dropped."""
        with quiet():
            for trial, score in zip(self._asked[-len(scores) :], scores, strict=True):
                self._study.tell(trial, score if math.isfinite(score) else math.inf)

    def asked(self, number: int) -> FrozenTrial:
        """Return a configuration as Optuna knows it, with what its values were drawn from."""
        return self._study.get_trials(deepcopy=False)[number]

    def _next(self) -> dict[str, Any]:
        number = len(self._asked) - len(self._first)
        if number < 0:
            fixed = self._first[number]
        else:
            fixed = next(self._points, {}) | (self._shape if number % ALIKE else {})
        if fixed:
            self._study.enqueue_trial(_as_asked(self.space, fixed))
        trial = self._study.ask()
        self._asked.append(trial)
        params = {name: dimension.suggest(trial, name) for name, dimension in self.space.items()} | fixed
        self._shape = {name: params[name] for name in self._shared}
        return params


def _check_first(first: Sequence[Mapping[str, Any]], space: Space) -> None:
    if not isinstance(first, Sequence) or not all(isinstance(point, Mapping) for point in first):
        raise InputError(f"first must be a list of points such as {{'lr': 0.01}}, got {first!r:.80}")
    for point in first:
        for name in point:
            if name not in space:
                known = ", ".join(space)
                raise InputError(f"first must name what is searched ({known}), got {name!r}{nearest(name, space)}")
        for name, dimension in space.items():
            if name not in point:
                raise InputError(
                    f"first must give a value for every name of the space, got none for {name!r} in {point!r}"
                )
            if point[name] not in dimension:
                raise InputError(f"first must lie in the space: {name!r} in {dimension!r}, got {point[name]!r}")


def _points(space: Space, strategy: StrategyName, seed: int, size: int) -> Iterator[dict[str, Any]]:
    """Return the points of a strategy that fixes them beforehand, each made when it is asked for."""
    if strategy == "grid":
        return _grid(space, size)
    return _sobol(space, seed) if strategy == "sobol" else iter(())


def _sobol(space: Space, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the points of a scrambled Sobol sequence."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(space), rng=np.random.default_rng(seed))
    while True:
        for row in sequence.random(BATCH):
            yield {name: space[name].at(float(place)) for name, place in zip(space, row, strict=True)}


def _as_asked(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point, or some of it, as the answers to what Optuna is asked."""
    maybe = [name for name in params if isinstance(space[name], Maybe)]
    switches = {switch(name): params[name] is not None for name in maybe}
    off = [name for name in maybe if params[name] is None]
    return switches | {name: value for name, value in params.items() if name not in off}


def _grid(space: Space, size: int) -> Iterator[dict[str, Any]]:
    """Yield a full grid with so many values in each dimension, where they exist."""
    for point in itertools.product(*(dimension.grid(size) for dimension in space.values())):
        yield dict(zip(space, point, strict=True))


def _grid_values(space: Space, budget: int) -> int:
    """Return how many values each dimension of a grid of at most ``budget`` points may have, 1 or more."""
    sizes = range(1, budget + 1)
    return max(1, bisect.bisect_right(sizes, budget, key=lambda size: _grid_size(space, size, space)))


def _grid_size(space: Space, num: int, names: Iterable[str]) -> int:
    return math.prod(len(space[name].grid(num)) for name in names)


def _sampler(strategy: StrategyName, seed: int) -> BaseSampler:
    seed %= 2**32
    if strategy == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    return GPSampler(seed=seed) if strategy == "gp" else RandomSampler(seed=seed)
