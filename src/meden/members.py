"""Train members: one list in, one run each out. Those of equal structure are trained together.

What cannot be stacked is trained one by one, with the same result, and the reason is told once.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError, check_count, check_number
from meden.data import Dataset, Fold, as_dataset, num_batches
from meden.data.targets import NumberCodec
from meden.history import Record
from meden.member import Member, ModelMaker, Share, build_model, check_member, model_arguments, shares
from meden.objective import (
    EVAL_ROWS,
    Task,
    check_fits,
    evaluating,
    on_device,
    row_loss,
    row_score,
    rows_are_independent,
)
from meden.optim import bind
from meden.population import (
    Entrant,
    Outcome,
    Population,
    fastest_chunk,
    free_bytes,
    member_bytes,
    recipe_key,
    structure,
)
from meden.recipe import prepare_noise
from meden.run import HeldOut, Run
from meden.trainer import check_recipe, fit

OnRun = Callable[[int, Run], None]
OnEpoch = Callable[[Record], None]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
Work = Callable[[], None]
LARGEST_CHUNK = 256
"""Members of one stack: with more it is no faster, and needs more memory."""
SMALLEST_SHARE = 4
"""Members for which another thread is worth its own trace."""
MEMORY_SHARE = 0.5
"""Share of the free memory that is used unless a budget is given."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""What torch's allocators say."""


def fit_many(
    make_model: ModelMaker,
    members: Sequence[Member],
    data: Any,
    *,
    chunk: int | None = None,
    memory: float | None = None,
    on_run: OnRun | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[Run]:
    """Train one model for each member, many at once.

    Args:
        make_model: returns a fresh model; called with the member's ``model_args``, and with ``num_inputs`` and
            ``num_outputs`` if it takes them.
        members: recipe, fold and seed of each.
        data: a :class:`meden.data.Dataset` or whatever :func:`meden.data.as_dataset` reads, such as ``(X, y)``.
        chunk: most members of one stack; None decides by their number, memory and measured speed. 1 trains them one
            by one. The results do not depend on it, up to rounding.
        memory: bytes that may be used; None is half of what is free.
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
    if not callable(make_model):
        raise InputError(f"make_model must be a function that returns a model, got {type(make_model).__name__}")
    if not isinstance(members, Sequence) or not members or not all(isinstance(m, Member) for m in members):
        raise InputError(f"members must be a list of at least one meden.Member, got {members!r:.80}")
    if chunk is not None:
        check_count("chunk", chunk)
    if memory is not None:
        check_number("memory", memory, low=0.0, low_open=True)
    work = _Work(make_model, members, as_dataset(data), chunk, memory, on_run, on_epoch)
    work.run()
    return [work.runs[number] for number in range(len(members))]


@dataclasses.dataclass
class _Work:
    """What is to be trained, and what came of it."""

    make_model: ModelMaker
    members: Sequence[Member]
    dataset: Dataset
    chunk: int | None
    memory: float | None
    on_run: OnRun | None
    on_epoch: OnEpoch | None
    runs: dict[int, Run] = dataclasses.field(default_factory=dict)
    told: set[str] = dataclasses.field(default_factory=set)
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)

    def run(self) -> None:
        """Train every member, in stacks of equal structure."""
        for member in self.members:
            check_member(self.make_model, self.dataset, member)
        self.shares = shares(self.dataset, [member.fold for member in self.members])
        self.rows = _Rows(self.shares)
        groups: dict[Hashable, list[int]] = {}
        for number, member in enumerate(self.members):
            groups.setdefault(self._key(member), []).append(number)
        for numbers in groups.values() if len(groups) > 1 else ():
            self._entrant(self.members[numbers[0]])  # what does not fit together is told before any training
        for numbers in groups.values():
            wave = (self.chunk or LARGEST_CHUNK) * torch.get_num_threads()
            for start in range(0, len(numbers), wave):
                self._train(numbers[start : start + wave])

    def _key(self, member: Member) -> Hashable:
        """Return what members must share to be tried as one stack, told without making their models."""
        fit_rows, stop = self._rows_of(member)
        arguments = tuple(sorted((name, repr(value)) for name, value in member.model_args.items()))
        steps = num_batches(len(fit_rows), member.recipe.batch_size)
        return arguments, recipe_key(member.recipe), steps, len(stop) > 0

    def _train(self, numbers: Sequence[int]) -> None:
        entrants = {number: self._entrant(self.members[number]) for number in numbers}
        first = next(iter(entrants.values()))
        x, y = (on_device(rows, first.model) for rows in (self.rows.x, self.rows.y))
        pads = rows_are_independent(first.model, x[torch.from_numpy(first.fit[:4])])
        groups: dict[Hashable, dict[int, Entrant]] = {}
        for number, entrant in entrants.items():
            key = structure(entrant.model), None if pads else len(entrant.fit)
            groups.setdefault(key, {})[number] = entrant
        for alike in groups.values():
            self._train_alike(alike, x, y, pads)

    def _train_alike(self, entrants: Mapping[int, Entrant], x: Tensor, y: Tensor, pads: bool) -> None:
        """Train members of one structure: in stacks if they can be stacked, and if that is faster."""
        try:
            share_out(self._stacks(entrants, x, y, pads), x.device)
        except Exception as error:
            left = [number for number in entrants if number not in self.runs]
            if any(words in str(error).lower() for words in OUT_OF_MEMORY) and len(left) > 1 and self.chunk != 1:
                self.chunk = max(1, min(self.chunk or len(left), len(left)) // 2)
                self._tell(f"out of memory: at most {self.chunk} models are trained together from here on")
                self._train(left)
            else:
                raise

    def _stacks(self, entrants: Mapping[int, Entrant], x: Tensor, y: Tensor, pads: bool) -> Sequence[Work]:
        """Return the pieces of work, each of which a thread may do."""
        data = x, y, self.dataset.task
        alone = [functools.partial(self._train_alone, number) for number in entrants]
        records = any(entrant.recipe.activity for entrant in entrants.values())  # by hooks, of one model
        chunk = 1 if records else self._chunk(entrants, *data)
        if chunk == 1:
            return alone
        try:
            chunk = fastest_chunk(list(entrants.values()), *data, pads=pads, largest=chunk)
            populations: list[Population] = []
            for numbers in _cut(list(entrants), chunk):
                shared = populations[0].programs if populations else None
                ended = functools.partial(self._ended, numbers)
                own = [entrants[number] for number in numbers]
                populations.append(Population(own, *data, pads=pads, on_outcome=ended, programs=shared))
                populations[-1].trace()
        except Exception as error:
            if any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
            self._tell(
                "models are trained one by one, since they cannot be stacked: " + str(error).strip().split("\n")[0]
            )
            return alone
        return [population.run for population in populations] if chunk > 1 else alone

    def _chunk(self, entrants: Mapping[int, Entrant], x: Tensor, y: Tensor, task: Task) -> int:
        """Return the largest number of members to stack, by their number, the cores and the memory."""
        first = next(iter(entrants.values()))
        budget = MEMORY_SHARE * free_bytes(x.device) if self.memory is None else self.memory
        fitting = budget / workers(x.device) // member_bytes(first, x, y, task)
        share = max(-(-len(entrants) // workers(x.device)), SMALLEST_SHARE)
        return int(max(1, min(fitting, share, len(entrants), self.chunk or LARGEST_CHUNK)))

    def _tell(self, reason: str) -> None:
        if reason not in self.told:
            self.told.add(reason)
            warnings.warn(reason, stacklevel=2)

    def _entrant(self, member: Member) -> Entrant:
        share = self.shares[member.fold]
        model = build_model(self.make_model, share, self.dataset, member)
        fit_rows, stop = self._rows_of(member)
        parts = {"train": fit_rows, "valid": stop}
        pairs = {
            name: (on_device(share.x[rows], model), on_device(share.y[rows], model))
            for name, rows in parts.items()
            if len(rows)
        }
        check_fits(model, self.dataset.task, pairs)
        check_recipe(model, member.recipe, has_valid=len(stop) > 0)
        prepare_noise(model, member.recipe, member.run_seed)
        bound = bind(model, member.recipe.regularizers, adaptive=member.recipe.adaptive)
        first = self.rows.first[member.fold]
        return Entrant(model, member.recipe, bound, member.run_seed, first + fit_rows, first + stop)

    def _rows_of(self, member: Member) -> tuple[Rows, Rows]:
        """Return the fitting rows and the rows of the stop split."""
        if member.fold is None:
            return np.arange(self.dataset.num_rows), np.empty(0, dtype=np.int64)
        return member.fold.fit, member.fold.stop

    def _train_alone(self, number: int) -> None:
        member = self.members[number]
        share = self.shares[member.fold]
        fit_rows, stop = self._rows_of(member)
        with self.lock:  # the global random state is borrowed to make the model
            model = build_model(self.make_model, share, self.dataset, member)
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

    def _ended(self, numbers: Sequence[int], entrant: Entrant, outcome: Outcome) -> None:
        number, fields = numbers[outcome.number], outcome._asdict()
        del fields["number"]
        self._done(number, Run(model=entrant.model, recipe=entrant.recipe, seed=entrant.seed, **fields))

    def _done(self, number: int, run: Run) -> None:
        member = self.members[number]
        share = self.shares[member.fold]
        held_out = None if member.fold is None else _score(run, share, member.fold.score, self.dataset)
        made_with = model_arguments(self.make_model, share, self.dataset, member)
        with self.lock:
            self.runs[number] = dataclasses.replace(run, held_out=held_out, encoder=share.encoder, model_args=made_with)
            if self.on_run is not None:
                self.on_run(number, self.runs[number])


def workers(device: torch.device) -> int:
    """Return how many threads train: on the CPU as many as torch would use for one operation."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def share_out(work: Sequence[Work], device: torch.device) -> None:
    """Do pieces of work in threads of one core each.

    Small operations gain little from two cores, and lose much where other processes want one of them.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers(device), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(piece) for piece in work]:
                done.result()
    finally:
        torch.set_num_threads(before)


def _cut(numbers: Sequence[int], chunk: int) -> list[Sequence[int]]:
    """Cut into as few chunks as hold at most ``chunk`` each, as equal as can be, so that they share a trace."""
    return [list(part) for part in np.array_split(np.asarray(numbers), -(-len(numbers) // chunk))]


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
