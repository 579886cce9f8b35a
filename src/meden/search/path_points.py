"""What came of a path: its points, and the choice among them.

Legend: ``R`` runs (fold, then seed), ``G`` groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Literal, get_args

import numpy as np

from meden._checks import InputError, check_count, check_number
from meden._shown import Pair, Shown
from meden.objective import SCORE_NAMES
from meden.report import Format
from meden.run import Run
from meden.search.path_groups import names_of
from meden.search.path_page import path_report
from meden.search.path_point import Array, PathPoint
from meden.search.path_source import Diverged, PathSource
from meden.structure.groups import Kind
from meden.study.selection import best, one_standard_error

Rule = Literal["one_se", "best"]
At = Rule | float
"""A rule of choice, or a strength."""


@dataclass(frozen=True, eq=False, repr=False)
class Path(Shown):
    """Strengths from the largest, where nothing is left, to the smallest, with the held-out results of each.

    Attributes:
        kind: what the groups are.
        names: names of all groups, (G,): for inputs the original columns.
        points: one for each strength, the largest first.
        dense: the model without the penalty, at strength 0.
        num_seeds: runs per strength and fold.
        notes: what was out of the ordinary.
        source: what trains its points again.
    """

    kind: Kind
    names: tuple[str, ...]
    points: tuple[PathPoint, ...]
    dense: PathPoint
    num_seeds: int
    notes: tuple[str, ...]
    source: PathSource

    @property
    def best(self) -> PathPoint:
        """The strength of the lowest mean held-out loss."""
        return self.points[best(self._losses)]

    @property
    def one_se(self) -> PathPoint:
        """The fewest groups whose held-out loss is within one standard error of the best, paired by fold."""
        return self.points[one_standard_error(self._losses, [-point.num_kept for point in self.points])]

    @property
    def has_ended(self) -> bool:
        """Whether there is a strength at which no run diverged."""
        return any(np.isfinite(point.losses).all() for point in self.points)

    @property
    def _losses(self) -> Array:
        if not self.has_ended:
            raise Diverged("recipe must train at some strength, got runs that diverged at every one: lower its lr")
        each = np.array([point.losses for point in self.points])
        means: Array = each.reshape(len(each), -1, self.num_seeds).mean(axis=2)
        return means

    def at(self, where: At = "one_se") -> PathPoint:
        """Return a point: of a rule, or the nearest to a strength, as a ratio.

        Raises:
            InputError: if it is neither.
        """
        if isinstance(where, str):
            if where not in get_args(Rule):
                raise InputError(f"at must be a strength, 'one_se' or 'best', got {where!r}")
            return self.one_se if where == "one_se" else self.best
        check_number("at", where, low=0.0, low_open=True)
        return min(self.points, key=lambda point: abs(np.log(point.strength / where)))

    def support(self, at: At = "one_se", *, num: int | None = None, share: float = 0.5) -> tuple[str, ...]:
        """Return the names of the groups that are kept, in the order of :attr:`names`.

        Args:
            at: a rule of choice, or a strength.
            num: how many, in place of ``at``: the first so many of :meth:`ranking`.
            share: of the runs that must keep a group, above 0 and at most 1.
        """
        if num is not None:
            check_count("num", num, high=len(self.names))
            first = set(self.ranking()[:num])
            return tuple(name for name in self.names if name in first)
        check_number("share", share, low=0.0, low_open=True, high=1.0)
        point = self.at(at)
        return tuple(name for name in self.names if point.frequency(name) >= share)

    def ranking(self) -> tuple[str, ...]:
        """Return all names, first those that stay to the largest strengths.

        A group counts in each run by the number of strengths at which it is kept; ties go to the larger norm in the
        dense models.
        """
        stays = np.mean([[point.frequency(name) for name in self.names] for point in self.points], axis=0)
        norms = np.nan_to_num(self.dense.norms).mean(axis=0)
        return tuple(self.names[place] for place in np.lexsort([-norms, -stays]))

    def runs(self, at: At = "one_se") -> tuple[Run, ...]:
        """Return the models at a point, by fold, then seed."""
        return self.source.runs_of(*self.at(at).configurations)

    def refit(self, at: At = "one_se", *, support: Sequence[str] | None = None, seed: int | None = None) -> Run:
        """Train on all rows with the groups that left held at zero, and without the penalty that shrinks the others.

        Args:
            at: whose support is kept; as for :meth:`support`.
            support: names of the groups to keep, in place of ``at``.
            seed: of weights, batches and noise; None is that of the path.

        Raises:
            InputError: if there is no such group.

        Reference:
            A. Belloni and V. Chernozhukov, Least squares after model selection, 2013.
        """
        kept = self.support(at) if support is None else tuple(support)
        for name in kept:
            if name not in self.names:
                raise InputError(f"support must be names of the {len(self.names)} {self.kind}, got {name!r}")
        return self.source.refit(kept, seed)

    @property
    def metric(self) -> str:
        """What :attr:`PathPoint.score` is: ``accuracy`` or ``mse``."""
        return SCORE_NAMES[self.source.dataset.task]

    @property
    def penalty(self) -> str:
        """The name of the penalty."""
        return type(self.source.penalty).__name__

    def report(self, file: FilePath | str, *, format: Format = "html") -> FilePath:
        """Write the path as a page that opens offline, and return where it is.

        Args:
            file: where to write.
            format: ``"html"`` or ``"md"``.
        """
        return path_report(self, file, format=format)

    def _pairs(self) -> Iterable[Pair]:
        yield "kind", self.kind
        if not self.has_ended:
            yield "status", "diverged at every strength"
        for name in get_args(Rule) if self.has_ended else ():
            point = self.at(name)
            yield name, f"strength {point.strength:.4g}, {point.num_kept:.4g} of {len(self.names)}, {point.loss:.4g}"
        yield "strengths", len(self.points)
        yield from (("note", note) for note in self.notes)


def found_on(source: PathSource, asked: Sequence[Mapping[str, Any]], largest: float) -> Path:
    """Return the points of a walk, from the configurations that were trained, by number."""
    names = names_of(source.groups)
    tried: dict[float, list[int]] = {}
    for number, params in enumerate(asked):
        tried.setdefault(params["strength"], []).append(number)
    points = [_point(source, names, strength, tried[strength]) for strength in sorted(tried, reverse=True)]
    *walked, dense = points
    notes = _notes(walked, largest, source.kind)
    return Path(source.kind, names, tuple(walked), dense, source.num_seeds, notes, source)


def _notes(points: Sequence[PathPoint], largest: float, kind: Kind) -> tuple[str, ...]:
    """Say what the largest strength left, and how far the path went on from it."""
    top, planned = points[0], next((point for point in points if point.strength <= largest), None)
    notes = []
    if planned is not None and top.strength > largest:
        notes.append(
            f"the largest strength, {largest:.4g}, left {planned.num_kept:.4g} of the {kind}, since the rest of "
            f"the model had grown against it; the path was extended to {top.strength:.4g}"
        )
    if top.num_kept and np.isfinite(top.losses).all():
        notes.append(f"{top.num_kept:.4g} of the {kind} are left at {top.strength:.4g}: give larger strengths")
    return tuple(notes)


def _point(source: PathSource, names: Sequence[str], strength: float, numbers: Sequence[int]) -> PathPoint:
    keys = source.keys(0)
    each = np.array([[source.objective(key._replace(configuration=n)) for n in numbers] for key in keys])
    chosen = [numbers[place] for place in each.argmin(axis=1)]
    ended = [key._replace(configuration=n) for key, n in zip(keys, chosen, strict=True)]
    norms = [source.norms(key) for key in ended]
    with np.errstate(invalid="ignore"):  # no finite number is between two that diverged
        gap = float(np.ptp(each, axis=1).max())
    return PathPoint(
        strength=strength,
        losses=np.array([source.rows[key].losses.mean(dtype=np.float64) for key in ended]),
        scores=np.array([source.rows[key].scores.mean() for key in ended]),
        kept=tuple(frozenset(name for name, norm in own.items() if norm) for own in norms),
        norms=np.array([[own.get(name, np.nan) for name in names] for own in norms]),
        objectives=each.min(axis=1),
        configurations=tuple(chosen),
        gap=gap,
    )
