"""Train members: one list in, one run each out. Those of equal structure are trained together.

What cannot be stacked is trained one by one, with the same result, and the reason is told once.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError, check_count
from meden.data import Dataset, Fold, as_dataset, num_batches
from meden.data.targets import NumberCodec
from meden.history import Record
from meden.member import Member, ModelMaker, Share, build_model, model_arguments, shares
from meden.objective import EVAL_ROWS, check_fits, evaluating, on_device, row_loss, row_score, rows_are_independent
from meden.optim import bind
from meden.population import Entrant, Outcome, Population, recipe_key, structure
from meden.recipe import prepare_noise
from meden.run import HeldOut, Run
from meden.trainer import check_recipe, fit

OnRun = Callable[[int, Run], None]
OnEpoch = Callable[[Record], None]
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""What torch's allocators say."""


def fit_many(
    make_model: ModelMaker,
    members: Sequence[Member],
    data: Any,
    *,
    chunk: int | None = None,
    on_run: OnRun | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[Run]:
    """Train one model for each member, many at once.

    Args:
        make_model: returns a fresh model; called with the member's ``model_args``, and with ``num_inputs`` and
            ``num_outputs`` if it takes them.
        members: recipe, fold and seed of each.
        data: a :class:`meden.data.Dataset` or whatever :func:`meden.data.as_dataset` reads, such as ``(X, y)``.
        chunk: most members trained together; None decides by size. 1 trains them one by one.
        on_run: called with the member's number and its run as each ends.
        on_epoch: called with each epoch's record of members that are trained one by one.

    Returns:
        One run for each member, in order. Diverged members are runs like any other.

    Raises:
        InputError: before any compute, if there are no members or data do not fit.

    Example:
        >>> import meden
        >>> members = [meden.Member(meden.Recipe(lr=lr, epochs=2)) for lr in (1e-3, 1e-2, 1e-1)]
        >>> [run.status for run in meden.fit_many(meden.models.MLP, members, "iris")]
        ['completed', 'completed', 'completed']
    """
    if not isinstance(members, Sequence) or not members or not all(isinstance(m, Member) for m in members):
        raise InputError(f"members must be a list of at least one meden.Member, got {members!r:.80}")
    if chunk is not None:
        check_count("chunk", chunk)
    work = _Work(make_model, members, as_dataset(data), chunk or DEFAULT_CHUNK, on_run, on_epoch)
    work.run()
    return [work.runs[number] for number in range(len(members))]


DEFAULT_CHUNK = 256
"""Most members of one stack: beyond it a stack is no faster, and needs more memory."""


@dataclasses.dataclass
class _Work:
    """What is to be trained, and what came of it."""

    make_model: ModelMaker
    members: Sequence[Member]
    dataset: Dataset
    chunk: int
    on_run: OnRun | None
    on_epoch: OnEpoch | None
    runs: dict[int, Run] = dataclasses.field(default_factory=dict)
    refused: set[str] = dataclasses.field(default_factory=set)

    def run(self) -> None:
        """Train every member, in stacks of equal structure."""
        self.shares = shares(self.dataset, [member.fold for member in self.members])
        self.rows = _Rows(self.shares)
        groups: dict[Hashable, list[int]] = {}
        for number, member in enumerate(self.members):
            groups.setdefault(self._key(member), []).append(number)
        for numbers in groups.values():
            for start in range(0, len(numbers), self.chunk):
                self._train(numbers[start : start + self.chunk])

    def _key(self, member: Member) -> Hashable:
        """Return what members must share to be tried as one stack, told without making their models."""
        fit, stop = self._fit_stop(member)
        arguments = tuple(sorted((name, repr(value)) for name, value in member.model_args.items()))
        return arguments, recipe_key(member.recipe), num_batches(len(fit), member.recipe.batch_size), len(stop) > 0

    def _train(self, numbers: Sequence[int]) -> None:
        if len(numbers) == 1:
            return self._train_alone(numbers[0])
        entrants = {number: self._entrant(self.members[number]) for number in numbers}
        for same in self._stackable(entrants):
            self._train_together({number: entrants[number] for number in same})

    def _stackable(self, entrants: Mapping[int, Entrant]) -> Iterator[list[int]]:
        """Yield the members whose models are built alike, and whose batches are alike where rows see each other."""
        first = next(iter(entrants.values()))
        self.pads = rows_are_independent(
            first.model, on_device(self.rows.x[torch.from_numpy(first.fit[:4])], first.model)
        )
        groups: dict[Hashable, list[int]] = {}
        for number, entrant in entrants.items():
            key = structure(entrant.model), None if self.pads else len(entrant.fit)
            groups.setdefault(key, []).append(number)
        yield from groups.values()

    def _train_together(self, entrants: Mapping[int, Entrant]) -> None:
        if len(entrants) == 1:
            return self._train_alone(next(iter(entrants)))
        numbers = list(entrants)

        def ended(position: int, outcome: Outcome) -> None:
            entrant = entrants[numbers[position]]
            run = Run(model=entrant.model, recipe=entrant.recipe, seed=entrant.seed, **outcome._asdict())
            self._done(numbers[position], run)

        try:
            population = Population(
                list(entrants.values()), self.rows.x, self.rows.y, self.dataset.task, pads=self.pads, on_outcome=ended
            )
            population.trace()
        except Exception as error:
            if not self._halved(numbers, error):
                self._refuse(error)
                for number in numbers:
                    self._train_alone(number)
            return None
        return population.run()

    def _halved(self, numbers: Sequence[int], error: Exception) -> bool:
        """Train in two halves what does not fit into memory; say whether that was it."""
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            return False
        self._train(numbers[: len(numbers) // 2])
        self._train(numbers[len(numbers) // 2 :])
        return True

    def _refuse(self, error: Exception) -> None:
        """Tell once why members are trained one by one."""
        reason = str(error).strip().split("\n")[0]
        if reason not in self.refused:
            self.refused.add(reason)
            warnings.warn(f"models are trained one by one, since they cannot be stacked: {reason}", stacklevel=2)

    def _entrant(self, member: Member) -> Entrant:
        share = self.shares[member.fold]
        model = build_model(self.make_model, share, self.dataset, member)
        fit, stop = self._fit_stop(member)
        pairs = {
            name: (on_device(share.x[rows], model), on_device(share.y[rows], model))
            for name, rows in (("train", fit), ("valid", stop))
            if len(rows)
        }
        check_fits(model, self.dataset.task, pairs)
        check_recipe(model, member.recipe, has_valid=len(stop) > 0)
        prepare_noise(model, member.recipe, member.run_seed)
        bound = bind(model, member.recipe.regularizers, adaptive=member.recipe.adaptive)
        first = self.rows.first[member.fold]
        return Entrant(model, member.recipe, bound, member.run_seed, first + fit, first + stop)

    def _fit_stop(self, member: Member) -> tuple[np.ndarray, np.ndarray]:
        if member.fold is None:
            return np.arange(self.dataset.num_rows), np.empty(0, dtype=np.int64)
        return member.fold.fit, member.fold.stop

    def _train_alone(self, number: int) -> None:
        member = self.members[number]
        share = self.shares[member.fold]
        model = build_model(self.make_model, share, self.dataset, member)
        fit_rows, stop = self._fit_stop(member)
        run = fit(
            model,
            (share.x[fit_rows], share.y[fit_rows]),
            (share.x[stop], share.y[stop]) if len(stop) else None,
            member.recipe,
            seed=member.run_seed,
            task=self.dataset.task,
            on_epoch=self.on_epoch,
        )
        self._done(number, run)

    def _done(self, number: int, run: Run) -> None:
        member = self.members[number]
        share = self.shares[member.fold]
        self.runs[number] = dataclasses.replace(
            run,
            held_out=None if member.fold is None else _score(run, share, member.fold.score, self.dataset),
            encoder=share.encoder,
            model_args=model_arguments(self.make_model, share, self.dataset, member),
        )
        if self.on_run is not None:
            self.on_run(number, self.runs[number])


class _Rows:
    """All encodings of the data behind each other, and where those of each fold begin."""

    def __init__(self, encoded: Mapping[Fold | None, Share]) -> None:
        distinct = list({id(share): share for share in encoded.values()}.values())
        self.x: Tensor = torch.cat([share.x for share in distinct]) if len(distinct) > 1 else distinct[0].x
        self.y: Tensor = torch.cat([share.y for share in distinct]) if len(distinct) > 1 else distinct[0].y
        places = {id(share): number * len(share.x) for number, share in enumerate(distinct)}
        self.first = {fold: places[id(share)] for fold, share in encoded.items()}


def _score(run: Run, share: Share, rows: np.ndarray, dataset: Dataset) -> HeldOut:
    """Return the losses and scores of the scored rows; regression scores are in the user's units."""
    if run.status == "diverged":
        nothing = np.full(len(rows), np.nan, dtype=np.float32)
        return HeldOut(nothing, nothing)
    losses, scores = [], []
    with torch.no_grad(), evaluating(run.model):
        for part in torch.split(torch.as_tensor(rows), EVAL_ROWS):
            outputs, y = run.model(on_device(share.x[part], run.model)), on_device(share.y[part], run.model)
            losses.append(row_loss(dataset.task, outputs, y))
            scores.append(row_score(dataset.task, outputs, y))
    scale = share.encoder.target.std**2 if isinstance(share.encoder.target, NumberCodec) else 1.0
    return HeldOut(torch.cat(losses).float().cpu().numpy(), (torch.cat(scores) * scale).float().cpu().numpy())
