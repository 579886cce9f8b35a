"""How a search divides the rows, and what it may spend; whole settings, or their fields by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from pydantic import field_validator

from meden._checks import InputError, check_count, check_number, nearest
from meden._settings import Settings
from meden.data import Dataset, Fold, make_folds
from meden.study.folder import MOST_SEEDS
from meden.workers.workers import Backend, Workers

MOST_CONFIGURATIONS = 1_000_000


class CV(Settings):
    """Cross-validation: in each fold the fitting rows train, the stop split stops, and the scored rows only score.

    Args:
        folds: number of folds, 2 or more; or the folds themselves.
        seeds: runs per configuration and fold, 1 or more, with different starting weights, batches and noise.
        groups: column or labels (n,) of rows that stay together.
        order: column or values (n,) that order the rows in time: each fold trains on the past.
        gap: moments that are left out before each cut in time, 0 or more.
        stop_fraction: share of a fold's training part in its stop split, in [0, 0.5].

    Example:
        >>> CV(folds=3, seeds=2).num_runs
        6
    """

    folds: int | Sequence[Fold] = 5
    seeds: int = 1
    groups: Any = None
    order: Any = None
    gap: int = 0
    stop_fraction: float = 0.15

    @field_validator("folds", mode="before")
    @classmethod
    def _folds(cls, value: Any) -> Any:
        given = isinstance(value, Sequence) and not isinstance(value, str)
        if given and (len(value) < 2 or not all(isinstance(fold, Fold) for fold in value)):
            raise InputError(f"folds must be an integer of at least 2, or a list of meden.data.Fold, got {value!r:.80}")
        if not given:
            check_count("folds", value, low=2)
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        check_count("seeds", value, high=MOST_SEEDS)
        return value

    @field_validator("gap", mode="before")
    @classmethod
    def _moments(cls, value: Any) -> Any:
        check_count("gap", value, low=0)
        return value

    @field_validator("stop_fraction", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        check_number("stop_fraction", value, low=0.0, high=0.5)
        return value

    @property
    def num_runs(self) -> int:
        """Runs of one configuration."""
        num_folds = self.folds if isinstance(self.folds, int) else len(self.folds)
        return num_folds * self.seeds

    @property
    def division(self) -> dict[str, Any]:
        """What divides the rows again into the same folds, as plain values; empty where plain values cannot say it."""
        if not isinstance(self.folds, int) or not isinstance(self.order, str | None):
            return {}
        return {"folds": self.folds, "order": self.order, "gap": self.gap, "stop_fraction": self.stop_fraction}

    def divide(self, dataset: Dataset, seed: int) -> list[Fold]:
        """Return the folds of a data set that was read with :attr:`groups`.

        Raises:
            InputError: if rows, groups or classes are too few.
        """
        if not isinstance(self.folds, int):
            return list(self.folds)
        return make_folds(
            dataset, self.folds, seed=seed, order=self.order, gap=self.gap, stop_fraction=self.stop_fraction
        )


class Limits(Settings):
    """The limits of a search; it ends at the first one it reaches.

    Args:
        budget: configurations to try, at most; 1 to 1,000,000.
        epochs_budget: epochs of all runs together, at most, 1 or more; None is no limit.
        time_limit: seconds, above 0; None is no limit. What is tried then depends on the speed of the machine: of all
            limits this is the only one whose result cannot be reproduced elsewhere. (Going on after a kill still
            repeats what was done before.)
        racing: give up configurations that lose, early: see :mod:`meden.search.racing`. They count as tried, with the
            status ``dropped``, and cannot be chosen.
    """

    budget: int = 64
    epochs_budget: int | None = None
    time_limit: float | None = None
    racing: bool = False

    @field_validator("budget", "epochs_budget", mode="before")
    @classmethod
    def _counts(cls, value: Any, info: Any) -> Any:
        if value is not None or info.field_name == "budget":
            check_count(info.field_name, value, high=MOST_CONFIGURATIONS if info.field_name == "budget" else None)
        return value

    @field_validator("time_limit", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if value is not None:
            check_number("time_limit", value, low=0.0, low_open=True)
        return value


class CVFields(TypedDict, total=False):
    """Fields of :class:`CV`, by themselves."""

    folds: int | Sequence[Fold]
    seeds: int
    groups: Any
    order: Any
    gap: int
    stop_fraction: float


class LimitsFields(TypedDict, total=False):
    """Fields of :class:`Limits`, by themselves."""

    budget: int
    epochs_budget: int | None
    time_limit: float | None
    racing: bool


class WorkersFields(TypedDict, total=False):
    """Fields of :class:`meden.workers.workers.Workers`, by themselves."""

    jobs: int
    backend: Backend
    address: str | None


class CompareFields(CVFields, WorkersFields):
    """What :func:`meden.compare` takes by itself."""


class SearchFields(CVFields, LimitsFields, WorkersFields):
    """What :func:`meden.tune` takes by itself."""


S = TypeVar("S", bound=Settings)
NAMES: dict[type[Settings], str] = {CV: "cv", Limits: "limits", Workers: "workers"}
"""What the arguments are called that take settings as a whole."""


def settings_of(kind: type[S], given: S | None, fields: Mapping[str, Any]) -> S:
    """Return settings that were given as a whole, or made from those of their fields that were given by themselves.

    Args:
        kind: of settings.
        given: as a whole; None is what ``fields`` say, and defaults for the rest.
        fields: by themselves, those of other kinds among them.

    Raises:
        InputError: if both were given, or something else; or if a value is out of range.

    Example:
        >>> settings_of(Limits, None, {"folds": 3, "budget": 8}).budget
        8
    """
    own = {name: value for name, value in fields.items() if name in kind.model_fields}
    if given is None:
        return kind(**own)
    if not isinstance(given, kind):
        raise InputError(f"{NAMES[kind]} must be a meden.search.{kind.__name__}, got {given!r:.80}")
    if own:
        raise InputError(f"{', '.join(own)} must be given either in {NAMES[kind]} or as arguments, got both")
    return given


def check_fields(fields: Mapping[str, Any], *kinds: type[Settings]) -> None:
    """Check that each field by itself is of one of these kinds of settings.

    Raises:
        InputError: naming the first that is not, and the nearest that would be.
    """
    known = [name for kind in kinds for name in kind.model_fields]
    for name in fields:
        if name not in known:
            raise InputError(f"there is no argument {name!r}{nearest(name, known)}")
