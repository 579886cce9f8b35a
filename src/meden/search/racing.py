"""Races: configurations that lose are given up early, at rungs of epochs and of folds.

A race decides by the losses of the stop splits and never by those of the scored rows. Losses are compared in pairs, on
the same folds and seeds, so that what a fold adds to all of them cancels out. A configuration that learns slowly may
lose to one that is soon at its end: hence the late first rung, and the many that stay at each.

Legend: ``M`` configurations, ``F`` fits of each: folds times seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ERRORS = 2.0
"""Whoever is so many standard errors behind the leader, or fewer, stays: the leader of many is flattered by luck."""
SHARE = 2 / 3
"""Share of the configurations that stays at a rung whatever the differences."""
LEAST = 8
"""So many stay at any rung, so that there is something left to choose from."""
FIRST_RUNG = 16
"""The first rung is at the epochs divided by this."""
FIRST_RUNG_IN_TURN = 8
"""The same where fits take turns: later, as more is decided by one fit."""
FEWEST_EPOCHS = 4
"""Epochs before which nothing is decided."""
FEWEST_FOLDS = 3
"""Folds before which nothing is decided: of fewer no standard error can be trusted."""

THE_END = sys.maxsize
"""The epoch when all is trained."""


def survivors(losses: Array, *, errors: float = ERRORS, share: float = SHARE, least: int = LEAST) -> list[int]:
    """Return the rows that stay in a race: a share of the best, and all that may be as good as the leader.

    The leader has the lowest mean among the rows that ran everywhere. The standard error is that of the mean of a
    row's differences from the leader, in the columns where both ran.

    Args:
        losses: (M, F), lower is better; NaN where a row did not run, infinite where it diverged.
        errors: standard errors behind the leader within which all stay.
        share: of the rows, rounded up, that stay in any case, in [0, 1].
        least: rows that stay in any case.

    Example:
        >>> survivors(np.array([[1.0, 2.0, 3.0], [1.5, 1.8, 3.1], [2.0, 3.1, 4.0]]), errors=1, share=0, least=1)
        [0, 1]

    Reference:
        K. Jamieson and A. Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016
        (successive halving); O. Maron and A. Moore, Hoeffding races, 1993 (never dropping what may be the best).
    """
    sound = np.flatnonzero(~np.isinf(losses).any(axis=1) & ~np.isnan(losses).all(axis=1))
    if not len(sound):
        return []
    means, of_means = _mean_and_error(losses[sound] - losses[_leader(losses, sound)])
    ranks = np.argsort(np.argsort(means, kind="stable"))
    stays = (ranks < max(least, math.ceil(share * len(losses)))) | (means <= errors * of_means)
    return [int(row) for row in sound[stays]]


def _leader(losses: Array, sound: NDArray[np.int64]) -> int:
    num_run = (~np.isnan(losses[sound])).sum(axis=1)
    everywhere = sound[num_run == num_run.max()]
    return int(everywhere[np.argmin(np.nanmean(losses[everywhere], axis=1))])


def _mean_and_error(differences: Array) -> tuple[Array, Array]:
    """Return the mean of each row and its standard error, infinite where there are fewer than two numbers."""
    ran = ~np.isnan(differences)
    num = ran.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(ran, differences, 0.0).sum(axis=1) / num
        squares = np.where(ran, differences - means[:, None], 0.0) ** 2
        errors = np.sqrt(squares.sum(axis=1) / (num - 1) / num)
    return np.where(num > 0, means, math.inf), np.where(num > 1, errors, math.inf)


def rungs(epochs: int, *, in_turn: bool = False) -> list[int]:
    """Return the epochs after which a race is judged: each twice the one before, the last at most half of them all.

    Args:
        epochs: of the longest fit.
        in_turn: whether fits take turns, so that each is judged by itself.

    Example:
        >>> rungs(100), rungs(30), rungs(6), rungs(100, in_turn=True)
        ([6, 12, 24, 48], [4, 8], [], [12, 24, 48])
    """
    first = max(FEWEST_EPOCHS, epochs // (FIRST_RUNG_IN_TURN if in_turn else FIRST_RUNG))
    return [first << power for power in range(epochs.bit_length()) if first << power <= epochs / 2]


def rounds(num_folds: int) -> list[range]:
    """Return the folds of each round: half of them (three at least) for all, then the others for those that are left.

    Example:
        >>> rounds(5), rounds(10), rounds(3)
        ([range(0, 3), range(3, 5)], [range(0, 5), range(5, 10)], [range(0, 3)])
    """
    half = max(FEWEST_FOLDS, math.ceil(num_folds / 2))
    return [range(half), range(half, num_folds)] if half < num_folds else [range(num_folds)]


def loss_at(curve: Sequence[float], epoch: int, *, keeps_best: bool) -> float:
    """Return the stop split's loss that a fit stood at after an epoch.

    Args:
        curve: loss after each epoch; it may have ended before.
        epoch: as many are looked at.
        keeps_best: whether the fit goes back to its best state in the end.

    Returns:
        The loss; infinite if the fit had diverged by then.
    """
    seen = np.asarray(curve[:epoch], dtype=np.float64)
    if not np.isfinite(seen).all():
        return math.inf
    return float(seen.min() if keeps_best else seen[-1])


WAVE, FIRST_WAVE = 8, 4
"""Configurations that are tried side by side where fits take turns; of the first, and the second, wave there are fewer:
those of the first all go to the end."""
SHARE_IN_TURN, LEAST_IN_TURN = 1 / 3, 4
"""What stays at a rung whatever the differences, where fits take turns: of those that got so far before."""


def start_of_wave(number: int) -> int:
    """Return the first configuration of a configuration's wave.

    Example:
        >>> [start_of_wave(number) for number in (0, 3, 4, 7, 8, 15, 16)]
        [0, 0, 4, 4, 8, 8, 16]
    """
    return number - number % (FIRST_WAVE if number < WAVE else WAVE)


@dataclass(frozen=True)
class Contest:
    """What a fit, trained by itself, is up against: configurations that were tried before, at the same rungs.

    It must not wait for others, so that nothing depends on who trains what at the same time.
    """

    rivals: Mapping[int, Array]
    """Losses of configurations in all fits (M, F) by epoch; NaN where one was given up before."""
    own: Mapping[int, Array]
    """Losses of this configuration in the fits before (d,), by epoch."""
    columns: tuple[int, ...]
    """Which fits (F) those are, and this one."""
    keeps_best: bool
    """Whether a fit goes back to its best state in the end."""

    def stays(self, epoch: int, curve: Sequence[float]) -> bool:
        """Say whether the fit may go on after a rung, from its stop losses so far."""
        own = np.append(self.own[epoch], loss_at(curve, epoch, keeps_best=self.keeps_best))
        return may_win(own, self.rivals[epoch], self.columns)


def may_win(own: Array, rivals: Array, columns: Sequence[int]) -> bool:
    """Say whether a configuration may be as good as the leader of those before it, or is among the best of them.

    The leader has the lowest mean among those that ran everywhere. How far differences scatter from fit to fit is what
    they do, in the median, of those that ran everywhere: a configuration that has run once has no spread of its own.

    Args:
        own: losses (d,) of the configuration.
        rivals: losses (M, F) of others at the same epoch; NaN where one did not run, infinite where it diverged.
        columns: which of the fits ``own`` are, (d,).

    Example:
        >>> rivals = np.array([[1.0, 2.0, 3.0], [1.1, 2.2, 3.1], [1.2, 2.1, 3.3], [1.3, 2.4, 3.2], [1.5, 2.5, 3.6]])
        >>> may_win(np.array([1.2]), rivals, [0]), may_win(np.array([2.9]), rivals, [0])
        (True, False)

    Reference:
        O. Maron and A. Moore, Hoeffding races, 1993; L. Li and others, A system for massively parallel hyperparameter
        tuning, 2020 (each configuration is judged by those that reached its rung before).
    """
    if not np.isfinite(own).all():
        return False
    sound = rivals[~np.isinf(rivals).any(axis=1)] if len(rivals) else rivals
    here = sound[:, list(columns)].mean(axis=1) if len(sound) else np.empty(0)
    here = here[~np.isnan(here)]
    ranks_high = int((here < own.mean()).sum()) < max(LEAST_IN_TURN, math.ceil(SHARE_IN_TURN * (len(here) + 1)))
    whole = sound[~np.isnan(sound).any(axis=1)] if len(sound) else sound
    if ranks_high or len(whole) < 2 or whole.shape[1] < 2:
        return True
    leader = whole[np.argmin(whole.mean(axis=1))]
    scatter = np.median(np.std(np.delete(whole - leader, np.argmin(whole.mean(axis=1)), axis=0), axis=1, ddof=1))
    return bool((own - leader[list(columns)]).mean() <= ERRORS * scatter / math.sqrt(len(own)))
