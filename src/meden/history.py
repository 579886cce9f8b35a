"""What a run recorded: one record per epoch, as plain numbers that go to JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meden._fields import Count, check_all, checked_fields, damaged
from meden._files import read_json, write_json
from meden._shown import Pair, Shown, ShownFields, text

Scores = Mapping[str, float]
"""Scores by name; ``"loss"`` is the mean data loss without penalties, in evaluation mode."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Record(ShownFields):
    """One epoch.

    Attributes:
        epoch: epochs done, from 1.
        step: optimizer steps done.
        train: scores on the fitting rows, in evaluation mode.
        valid: scores on the held-out rows, in evaluation mode; None where there are none.
        penalties: value of each penalty, apart, times its strength.
        lr: learning rate of the last step.
        num_zeros: parameters that are exactly zero; a weight that a parametrisation makes counts as what it is made
            from. None where another trainer's log does not say.
        num_zero_groups: groups that span tensors of which all trained numbers are exactly zero, by the label of what
            penalises them.
        weight_norm: Euclidean norm of all parameters; None where another trainer's log does not say.
        seconds: wall time since the start of the run.
    """

    epoch: Count
    step: Count
    train: Scores
    valid: Scores | None = None
    penalties: Scores = dataclasses.field(default_factory=dict)
    lr: float
    num_zeros: Count | None
    num_zero_groups: Mapping[str, Count] = dataclasses.field(default_factory=dict)
    weight_norm: float | None
    seconds: float

    def is_finite(self) -> bool:
        """Say whether losses and weights are all finite: a run that is not has diverged."""
        losses = [scores["loss"] for scores in (self.train, self.valid) if scores]
        return all(math.isfinite(number) for number in (self.weight_norm or 0.0, *losses))


@dataclasses.dataclass(frozen=True, repr=False)
class History(Shown):
    """The records of one run in order.

    Attributes:
        records: one for each epoch.

    Example:
        >>> record = Record(epoch=1, step=9, train={"loss": 0.5}, lr=0.1, num_zeros=0, weight_norm=1.0, seconds=0.2)
        >>> History((record,)).column("train.loss")
        [0.5]
    """

    records: tuple[Record, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    def _pairs(self) -> Iterable[Pair]:
        yield "epochs", len(self)
        if self.records:
            held_out = [loss for loss in self.column("valid.loss") if not math.isnan(loss)]
            yield "train loss", f"{text(self.column('train.loss')[0])} to {text(self.column('train.loss')[-1])}"
            if held_out:
                yield "held-out loss", f"{text(held_out[0])} to {text(held_out[-1])}, lowest {text(min(held_out))}"
            yield "steps", self.records[-1].step
            yield "seconds", self.records[-1].seconds

    def add(self, record: Record) -> History:
        """Return a history with one more record."""
        return History((*self.records, record))

    def column(self, name: str) -> list[float]:
        """Return one quantity per epoch, such as ``"lr"`` or ``"train.loss"``; NaN where it is absent."""
        outer, _, inner = name.partition(".")
        rows = (getattr(record, outer) for record in self.records)
        return [(row or {}).get(inner, math.nan) if inner else row for row in rows]

    def to_list(self) -> list[dict[str, Any]]:
        """Return the records as plain dictionaries."""
        return [dataclasses.asdict(record) for record in self.records]

    @classmethod
    def from_list(cls, rows: Sequence[Mapping[str, Any]]) -> History:
        """Rebuild a history from :meth:`to_list`; what a record has no field for is ignored."""
        records = tuple(Record(**checked_fields(Record, row)) for row in rows)
        for record in records:
            for scores in (record.train, record.valid):
                check_all("scores must include a loss", scores is None or "loss" in scores, scores)
        return cls(records)

    def save(self, path: Path | str) -> None:
        """Write the records as JSON (not-a-number is kept as ``NaN``)."""
        write_json(Path(path), {"records": self.to_list()})

    @classmethod
    def load(cls, path: Path | str) -> History:
        """Read what :meth:`save` wrote.

        Raises:
            Damaged: an InputError, if the file is missing or was changed.
        InputError: if it is of another major version.
        """
        fields = read_json(Path(path))
        with damaged(f"{str(path)!r} must be a history that meden wrote"):
            return cls.from_list(fields["records"])
