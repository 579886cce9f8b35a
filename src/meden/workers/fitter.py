"""What trains members in the process that it is called in: meden's trainers of networks, or somebody's function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from meden.data import Dataset
from meden.deadline import UNHURRIED, Pace
from meden.history import Record
from meden.member import Member, ModelMaker
from meden.run import Run
from meden.training.fit_many import fit_stacks, plan_stacks
from meden.training.many.population import Programs
from meden.training.stacks import Judge
from meden.workers.coordinator import OnEnd, Result


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How members are trained, and whom that is reported to."""

    on_end: OnEnd
    """Called with a member's number and what came of it."""
    on_epoch: Callable[[int, Record], None] | None = None
    """Called with a member's number and each epoch's record; None if they are not wanted."""
    rungs: Sequence[int] = ()
    """Epochs after which all wait for each other; none for a fitter that takes turns."""
    judge: Judge | None = None
    """Says who is dropped there."""
    keeps_weights: bool = False
    """Whether the models' tensors are reported too."""
    pace: Pace = UNHURRIED
    """Of all training runs together."""


class Fitter(Protocol):
    """Trains members; it reaches worker processes pickled."""

    takes_turns: ClassVar[bool]
    """Whether members are trained one after the other, each to its end, so that none can wait for others in a race."""

    def plan(self, members: Sequence[Member], *, racing: bool = False) -> list[list[int]]:
        """Return who is trained with whom, as numbers of the members: by what they are, and by nothing else."""

    def fit(self, members: Sequence[Member], stacks: Iterable[Sequence[int]], how: Manner) -> None:
        """Train some stacks of a plan.

        Args:
            members: all of the plan.
            stacks: numbers of members that are trained together.
            how: and who hears of it.

        Raises:
            TimeIsUp: if there was no time for the first epoch of one; those that have ended were reported.
        """


@dataclass(frozen=True)
class Networks:
    """Trains the networks that a function makes, many at once."""

    takes_turns: ClassVar[bool] = False
    make_model: ModelMaker
    dataset: Dataset
    programs: dict[Hashable, Programs] = field(default_factory=dict, repr=False, compare=False)
    """What was traced for the stacks that were trained last."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process is told, which traces for itself."""
        return {"make_model": self.make_model, "dataset": self.dataset, "programs": {}}

    def plan(self, members: Sequence[Member], *, racing: bool = False) -> list[list[int]]:
        """See :meth:`Fitter.plan`."""
        return plan_stacks(self.make_model, members, self.dataset, racing=racing)

    def fit(self, members: Sequence[Member], stacks: Iterable[Sequence[int]], how: Manner) -> None:
        """See :meth:`Fitter.fit`."""

        def ended(number: int, run: Run) -> None:
            how.on_end(number, Result.of(run, weights=how.keeps_weights))

        fit_stacks(
            self.make_model,
            members,
            self.dataset,
            list(stacks),
            rungs=how.rungs,
            judge=how.judge,
            on_run=ended,
            on_epoch=how.on_epoch,
            pace=how.pace,
            programs=self.programs,
        )
