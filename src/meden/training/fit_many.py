"""Train members: one list in, one run each out. Those of equal structure are trained together.

What cannot be stacked is trained one by one, with the same result, and a warning says why, once.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meden._checks import InputError, check_count, check_number
from meden.data import Dataset, DatasetSource, Part, Source, TensorSource, as_dataset, is_dataset, num_batches
from meden.data.targets import Task
from meden.deadline import UNHURRIED, Deadline, Pace
from meden.history import History, Record
from meden.member import Member, ModelMaker, as_taken, build_model, check_member, constant_loss, encode_folds, made_with
from meden.noise import draws_past_torch
from meden.objective import check_fits, on_device, rows_are_independent
from meden.optim import bind, has_batch_norm
from meden.progress import LOST
from meden.rdrop import warn_of_quiet
from meden.recipe import prepare_noise, selectors_of
from meden.run import HeldOut, Run
from meden.trainable import check_trains
from meden.training.fit import check_augmentations, check_recipe, prepare
from meden.training.grouping import found_in, grouped
from meden.training.heap import give_back
from meden.training.idle import idle_numbers, tried_rows
from meden.training.many.batches import Entrant
from meden.training.many.chunks import fastest_chunk, free_bytes, member_bytes, steady_chunk
from meden.training.many.population import Programs
from meden.training.many.stacking import fixed_bytes, recipe_key, structure
from meden.training.one import Training
from meden.training.one_by_one import OneByOne
from meden.training.scoring import score, score_model, seen_losses
from meden.training.stacks import (
    Judge,
    OnEpoch,
    SingleTrainer,
    StackTrainer,
    Trainer,
    drop_losers,
    merged,
    num_threads,
    run_all,
)

OnRun = Callable[[int, Run], None]
RowNumbers = np.ndarray[tuple[int], np.dtype[np.int64]]
LARGEST_CHUNK = 256
"""Members of one stack: with more it is no faster, and needs more memory."""
SMALLEST_SHARE = 4
"""Members for which another thread is worth its own trace."""
MEMORY_SHARE = 0.5
"""Share of the free memory that is used unless a budget is given."""
STACKS_IN_A_RACE = 4
"""Stacks that merge as members drop out. They are one worker's: with more of them, fewer workers have a share."""
STACKS_A_THREAD = 4
"""Planned stacks that are made before the first is trained, for each thread."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""What torch's allocators say."""


def fit_many(
    make_model: ModelMaker,
    members: Sequence[Member],
    data: Any,
    *,
    chunk: int | None = None,
    memory: float | None = None,
    rungs: Sequence[int] = (),
    judge: Judge | None = None,
    on_run: OnRun | None = None,
    on_epoch: OnEpoch | None = None,
    deadline: Deadline | None = None,
) -> list[Run]:
    """Train one model for each member, many at once.

    Args:
        make_model: returns a fresh model; called with the member's ``model_args``, and with ``num_inputs`` and
            ``num_outputs`` if it takes them.
        members: recipe, fold and seed of each.
        data: a :class:`meden.data.Dataset` or whatever :func:`meden.data.as_dataset` reads, such as ``(X, y)``. Or a
            map-style ``torch.utils.data.Dataset`` or another source of rows, as for :func:`meden.fit`, whose rows are
            read as they are needed: members are then trained one after the other, none of their numbers of classes
            is known (give ``num_outputs`` in ``model_args``), and only a member's own rows are read.
        chunk: most members of one stack; None decides by their number, memory and measured speed. 1 trains them one
            by one. The results do not depend on it, up to rounding. None for a Dataset.
        memory: bytes that may be used; None is half of what is free. None for a Dataset.
        rungs: epochs, rising, after which all members wait for each other and ``judge`` says which to drop. All are
            held in memory at once then.
        judge: called with such an epoch and the histories so far by the members' numbers, those of members that have
            ended included; returns the numbers to drop. The others end as they would have without it.
        on_run: called with the member's number and its run as each ends.
        on_epoch: called with the member's number and each epoch's record.
        deadline: when all must have ended: schedules are shortened to the epochs that there is time for, which are
            measured as they pass; one epoch is trained in any case. What comes out then depends on the machine's speed.

    Returns:
        One run for each member, in order. Diverged and dropped members are runs like any other. The ``held_out`` of a
        member whose fold scores no rows is None.

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
    for earlier, rung in zip((0, *rungs), rungs, strict=False):
        check_count("rungs", rung, low=earlier + 1)
    if bool(rungs) != (judge is not None):
        raise InputError(f"rungs and judge must be given together, got rungs {list(rungs)!r} and judge {judge!r}")
    work: _Work | OneByOne
    pace = UNHURRIED if deadline is None else Pace(deadline, least=1)
    runs: dict[int, Run] = {}

    def ended(number: int, run: Run) -> None:
        runs[number] = run
        if on_run is not None:
            on_run(number, run)

    if isinstance(data, Source) or is_dataset(data):
        for name, value in (("chunk", chunk), ("memory", memory)):
            if value is not None:
                raise InputError(
                    f"{name} must be None for a Dataset, whose models are trained one by one, got {value!r}"
                )
        warnings.warn("models are trained one by one, since the rows of a Dataset are read on demand", stacklevel=2)
        source = data if isinstance(data, Source) else DatasetSource(data)
        work = OneByOne(make_model, members, source, rungs, judge, ended, on_epoch, pace)
    else:
        work = _Work(make_model, members, as_dataset(data), chunk, memory, rungs, judge, ended, on_epoch, pace=pace)
    work.run()
    return [runs[number] for number in range(len(members))]


def plan_stacks(
    make_model: ModelMaker, members: Sequence[Member], data: Any, *, racing: bool = False
) -> list[list[int]]:
    """Return who is trained with whom, as numbers of the members: by what they are, and by nothing else.

    In a race they are a few stacks, which merge as members drop out.

    Neither the number of cores, nor free memory, nor measured speed has a say, so that the same members, trained by
    :func:`fit_stacks`, give the same bits whichever worker trains which stack, in whatever order.
    """
    return _Work(make_model, members, as_dataset(data)).plan(racing)


def fit_stacks(
    make_model: ModelMaker,
    members: Sequence[Member],
    data: Any,
    stacks: Sequence[Sequence[int]],
    *,
    rungs: Sequence[int] = (),
    judge: Judge | None = None,
    on_run: OnRun | None = None,
    on_epoch: OnEpoch | None = None,
    pace: Pace = UNHURRIED,
    programs: dict[Hashable, Programs] | None = None,
) -> None:
    """Train some stacks of a plan; ``on_run`` is given the runs, which are not kept.

    All members are given, by whose numbers ``stacks`` go. ``programs`` holds what was traced for the stacks before, and
    afterwards for the last of these: models of the same function on the same data need no trace of their own.

    Raises:
        TimeIsUp: if there was no time for the first epoch of one; those that have ended were reported.
    """
    callbacks = {"judge": judge, "on_run": on_run, "on_epoch": on_epoch, "pace": pace}
    kept = {} if programs is None else programs
    _Work(make_model, members, as_dataset(data), rungs=rungs, stacks=stacks, kept=kept, **callbacks).run()  # type: ignore[arg-type]


@dataclasses.dataclass
class _Work:
    """What is to be trained, and how far that is; runs are handed on."""

    make_model: ModelMaker
    members: Sequence[Member]
    dataset: Dataset
    chunk: int | None = None
    memory: float | None = None
    rungs: Sequence[int] = ()
    judge: Judge | None = None
    on_run: OnRun | None = None
    on_epoch: OnEpoch | None = None
    stacks: Sequence[Sequence[int]] | None = None
    """What is trained, and with whom; None is all members, as is fastest."""
    pace: Pace = UNHURRIED
    """Of all that is still to be trained, together."""
    ended: dict[int, History | None] = dataclasses.field(default_factory=dict)
    """Records of members that have ended; None of one that was dropped."""
    newest: dict[int, HeldOut] = dataclasses.field(default_factory=dict)
    """Results of newest states, of members that are ending."""
    programs: dict[Hashable, Programs] = dataclasses.field(default_factory=dict)
    """What was traced for the stacks held in memory, by what stacks must share to use it."""
    earlier: dict[Hashable, Programs] = dataclasses.field(default_factory=dict)
    """The same for the stacks before them: of neighbours, the structure is often the same."""
    kept: dict[Hashable, Programs] = dataclasses.field(default_factory=dict)
    """Those of the last stacks, for whoever trains more of them."""
    warned: set[str] = dataclasses.field(default_factory=set)
    idle: dict[Hashable, Mapping[str, Tensor]] = dataclasses.field(default_factory=dict)
    """What is idle in models of one structure that agree in all they do not train."""
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)

    def run(self) -> None:
        """Train every member, in stacks of equal structure."""
        groups = self._grouped()
        self.programs = dict(self.kept)
        for wave in [self.stacks or groups] if self.rungs else self._waves(groups):
            self.earlier, self.programs = self.programs, {}
            self._train(wave)
            self.earlier = {}
            give_back()
        self.kept.clear()
        self.kept.update(self.programs)
        self.programs = {}
        give_back()

    def plan(self, racing: bool) -> list[list[int]]:
        """Divide the members into those that are trained together."""
        groups = self._grouped()
        chunks = [self._steady_chunk(self.members[numbers[0]]) for numbers in groups]
        sizes = [chunk if chunk == 1 or not racing else STACKS_IN_A_RACE * chunk for chunk in chunks]
        if len(groups) == 1 and len(groups[0]) >= SMALLEST_SHARE and self.device.type == "cpu":
            sizes = [min(sizes[0], -(-len(groups[0]) // 2))]  # few processors have one core only
        return [part for numbers, size in zip(groups, sizes, strict=True) for part in _halve(numbers, size)]

    def _grouped(self) -> list[list[int]]:
        """Check and encode; return the members' numbers by what they must share to be stacked."""
        for member in self.members:
            check_member(self.make_model, self.dataset.num_rows, member)
        self.dataset = as_taken(self.make_model, self.dataset, self.members[0])
        self.shares = encode_folds(self.dataset, [member.fold for member in self.members])
        self.constant_loss = constant_loss(self.dataset)
        groups: dict[Hashable, list[int]] = {}
        for number, member in enumerate(self.members):
            groups.setdefault(self._key(member), []).append(number)
        firsts = [self._first(self.members[numbers[0]]) for numbers in groups.values()]  # misfits are refused at once
        self.device = next(firsts[0].model.parameters()).device
        return list(groups.values())

    def _steady_chunk(self, member: Member) -> int:
        first = self._first(member)
        x, y = self._data(member, first)
        return 1 if _why_alone(first) else steady_chunk(first, x, y, self.dataset.task)

    def _key(self, member: Member) -> Hashable:
        """Return what members must share to be tried as one stack, without making their models."""
        fit_rows, stop = self._rows_of(member)
        arguments = tuple(sorted((name, repr(value)) for name, value in member.model_args.items()))
        steps = num_batches(len(fit_rows), member.recipe.batch_size, member.recipe.steps_per_epoch)
        width = self.shares[member.fold].x.shape[1:]
        return arguments, recipe_key(member.recipe), steps, len(stop) > 0, width

    def _data(self, member: Member, entrant: Entrant) -> tuple[Tensor, Tensor]:
        """Return the rows that a member, and those beside it, index into."""
        x, y = self.shares[member.fold].together
        return on_device(x, entrant.model), on_device(y, entrant.model)

    def _waves(self, groups: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
        """Yield the members that are held in memory at once."""
        if self.stacks is not None:
            yield from self._stacks_at_once(self.stacks)
            return
        size = (self.chunk or LARGEST_CHUNK) * num_threads(self.device)
        for numbers in groups:
            for start in range(0, len(numbers), size):
                yield [numbers[start : start + size]]

    def _stacks_at_once(self, stacks: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
        """Yield neighbours among the stacks: a few for each thread, of no more structures, and traces, than threads."""
        threads = num_threads(self.device)
        wave: list[Sequence[int]] = []
        keys: set[Hashable] = set()
        for stack in stacks:
            key = self._key(self.members[stack[0]])
            if len(wave) == STACKS_A_THREAD * threads or len(keys | {key}) > threads:
                yield wave
                wave, keys = [], set()
            wave.append(stack)
            keys.add(key)
        if wave:
            yield wave

    def _train(self, groups: Sequence[Sequence[int]]) -> None:
        try:
            crews = [self._trainers(numbers) for numbers in groups]
            trainers = [trainer for crew in crews for trainer in crew]
            waves = self._left() / sum(map(len, groups))
            for rung in self.rungs:
                run_all(trainers, self.device, rung, self.pace, waves)
                assert self.judge is not None
                drop_losers(rung, trainers, {n: h for n, h in self.ended.items() if h is not None}, self.judge)
                crews = [merged(crew) for crew in crews]
                trainers = [trainer for crew in crews for trainer in crew]
            run_all(trainers, self.device, pace=self.pace, waves=waves)
        except Exception as error:
            trainers, crews = [], []
            left = [[number for number in numbers if number not in self.ended] for numbers in groups]
            largest = max(map(len, left))
            if not _is_out_of_memory(error) or largest <= 1 or self.chunk == 1:
                raise
            self.chunk = max(1, min(self.chunk or largest, largest) // 2)
            self._warn(f"out of memory: at most {self.chunk} models are trained together from now on")
            self._train([numbers for numbers in left if numbers])

    def _left(self) -> int:
        """Return how many members are still to be trained, these included."""
        return (len(self.members) if self.stacks is None else sum(map(len, self.stacks))) - len(self.ended)

    def _trainers(self, numbers: Sequence[int]) -> list[Trainer]:
        """Return the trainers of one group; members of one structure are stacked if they can be."""
        first = self._first(self.members[numbers[0]])
        entrants = {numbers[0]: first} | {number: self._entrant(self.members[number]) for number in numbers[1:]}
        x, y = self._data(self.members[numbers[0]], first)
        mixes = any(augmentation.mixes_rows for augmentation in first.recipe.augment)
        pads = not mixes and rows_are_independent(first.model, x[torch.from_numpy(first.fit[:4])])
        groups: dict[Hashable, dict[int, Entrant]] = {}
        for number, entrant in entrants.items():
            pieces = tuple(own.pieces for b in entrant.bound for own in b.sets)  # columns of a table differ by fold
            idle = tuple((name, where.cpu().numpy().tobytes()) for name, where in entrant.idle.items())
            key = structure(entrant.model), pieces, None if pads else len(entrant.fit), idle
            groups.setdefault(key, {})[number] = entrant
        shared = self._key(self.members[numbers[0]])
        return [p for key, alike in groups.items() for p in self._trainers_of((shared, key), alike, x, y, pads)]

    def _trainers_of(
        self, key: Hashable, entrants: Mapping[int, Entrant], x: Tensor, y: Tensor, pads: bool
    ) -> Sequence[Trainer]:
        """Return stacks of members of one structure if they can be stacked and if that is faster, else each alone."""
        begins = {
            number: functools.partial(self._training, number, entrant.idle) for number, entrant in entrants.items()
        }
        alone = [SingleTrainer(number, begin, self._done) for number, begin in begins.items()]
        data = x, y, self.dataset.task
        if len(entrants) == 1 or self.chunk == 1:
            return alone
        if reason := _why_alone(next(iter(entrants.values()))):
            self._warn(f"models are trained one by one, since {reason}")
            return alone
        steady = steady_chunk(next(iter(entrants.values())), *data) if self.rungs else None
        chunk = self._chunk(entrants, *data, steady)
        if chunk == 1:
            return alone
        try:
            if self.stacks is None:
                chunk = fastest_chunk(list(entrants.values()), *data, pads=pads, largest=chunk)
            stacks: list[StackTrainer] = []
            for part in _cut(entrants, chunk) if chunk > 1 else ():
                shared = self.programs.get(key) or self.earlier.get(key)
                stack = StackTrainer(
                    part,
                    *data,
                    pads=pads,
                    programs=shared,
                    most=0 if self.stacks is None else chunk,
                    on_done=self._done,
                    on_epoch=self._report_epoch,
                    on_newest=self._score_newest,
                )
                self.programs[key] = stack.population.programs
                stacks.append(stack)
        except Exception as error:
            if _is_out_of_memory(error):
                raise
            reason = str(error).strip().split("\n")[0]
            self._warn(f"models are trained one by one, since they cannot be stacked: {reason}")
            return alone
        return stacks or alone

    def _chunk(self, entrants: Mapping[int, Entrant], x: Tensor, y: Tensor, task: Task, steady: int | None) -> int:
        """Return the largest number of members to stack: as planned, or by their number, the cores and the memory."""
        if self.stacks is not None:
            return min(len(entrants), self.chunk or len(entrants), steady or len(entrants))
        first = next(iter(entrants.values()))
        budget = MEMORY_SHARE * free_bytes(x.device) if self.memory is None else self.memory
        fitting = budget / num_threads(x.device) // member_bytes(first, x, y, task)
        share = max(-(-len(entrants) // num_threads(x.device)), SMALLEST_SHARE)
        return int(max(1, min(fitting, share, len(entrants), self.chunk or LARGEST_CHUNK)))

    def _warn(self, reason: str) -> None:
        if reason not in self.warned:
            self.warned.add(reason)
            warnings.warn(reason, stacklevel=2)

    def _first(self, member: Member) -> Entrant:
        """Return a member that stands for all of its group: its model has been tried in training."""
        entrant = self._entrant(member)
        x = on_device(self.shares[member.fold].x[:2], entrant.model)
        check_trains(entrant.model, x, member.recipe.batch_size, num_rows=len(entrant.fit))
        warn_of_quiet(entrant.model, member.recipe.rdrop, x)
        return entrant

    def _entrant(self, member: Member) -> Entrant:
        share = self.shares[member.fold]
        model = build_model(self.make_model, share, self.dataset, member)
        fit_rows, stop = self._rows_of(member)
        parts = {"train": fit_rows, "valid": stop}
        pairs = {
            name: (on_device(share.x[rows[:2]], model), on_device(share.y[rows], model))
            for name, rows in parts.items()
            if len(rows)
        }
        check_fits(model, self.dataset.task, pairs)
        check_recipe(model, member.recipe, has_valid=len(stop) > 0)
        check_augmentations(member.recipe, pairs["train"][0], self.dataset.task)
        prepare_noise(model, member.recipe, member.run_seed)
        columns, found = share.encoder.input_columns, found_in(self.make_model)
        own = grouped(member.recipe.regularizers, model, pairs["train"][0], columns, found, structure)
        bound = bind(model, own, adaptive=member.recipe.adaptive)
        rated = selectors_of(model, member.recipe.lr_factors)
        rows = share.first + fit_rows, share.first + stop
        idle = self._idle(model, share.x[fit_rows[tried_rows(len(fit_rows))]])
        return Entrant(model, member.recipe, bound, member.run_seed, *rows, rated, idle)

    def _idle(self, model: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
        """Return what is idle in a model: tried once for all that agree in structure and in what they do not train."""
        key = structure(model), fixed_bytes(model)
        if key not in self.idle:
            self.idle[key] = idle_numbers(model, on_device(x, model))
        return self.idle[key]

    def _rows_of(self, member: Member) -> tuple[RowNumbers, RowNumbers]:
        """Return the fitting rows and the rows of the stop split."""
        if member.fold is None:
            return np.arange(self.dataset.num_rows), np.empty(0, dtype=np.int64)
        return member.fold.fit, member.fold.stop

    def _training(self, number: int, idle: Mapping[str, Tensor]) -> Training:
        """Return what trains a member by itself, whose idle numbers are known."""
        member = self.members[number]
        share = self.shares[member.fold]
        fit_rows, stop = self._rows_of(member)
        return prepare(
            build_model(self.make_model, share, self.dataset, member),
            (share.x[fit_rows], share.y[fit_rows]),
            (share.x[stop], share.y[stop]) if len(stop) else None,
            member.recipe,
            seed=member.run_seed,
            task=self.dataset.task,
            on_epoch=functools.partial(self._report_epoch, number),
            on_newest=functools.partial(self._score_newest, number),
            columns=share.encoder.input_columns,
            make=functools.partial(Training, idle=idle),
        )

    def _report_epoch(self, number: int, record: Record) -> None:
        if self.on_epoch is not None:
            with self.lock:
                self.on_epoch(number, record)

    def _score_newest(self, number: int, model: nn.Module) -> None:
        member = self.members[number]
        if member.newest and (rows := self._scored_rows(member)):
            codec = self.shares[member.fold].encoder.target
            self.newest[number] = score_model(model, rows, self.dataset.task, member.run_seed, codec)

    def _scored_rows(self, member: Member) -> Source | None:
        share = self.shares[member.fold]
        return None if member.fold is None else Part(TensorSource(share.x, share.y), member.fold.score)

    def _done(self, number: int, run: Run) -> None:
        member = self.members[number]
        share, rows = self.shares[member.fold], self._scored_rows(member)
        held_out = None if rows is None else score(run, rows, self.dataset.task, share.encoder.target)
        seen = None
        if member.keep_losses:
            seen = seen_losses(run, TensorSource(share.x, share.y), self._rows_of(member), self.dataset.task)
        newest = None if run.status in LOST else self.newest.pop(number, None)
        with self.lock:
            self.ended[number] = None if run.status == "dropped" else run.history
            if self.on_run is not None:
                origin = made_with(self.make_model, share, self.dataset, member)
                known: dict[str, Any] = {"encoder": share.encoder, "constant_loss": self.constant_loss}
                told: dict[str, Any] = {"held_out": held_out, "newest": newest, "seen": seen}
                self.on_run(number, dataclasses.replace(run, **told, **known, **origin))


def _why_alone(entrant: Entrant) -> str | None:
    """Return what about a recipe needs a model of its own."""
    recipe = entrant.recipe
    if draws_past_torch(entrant.model):
        return "the model draws random numbers outside torch's functions"
    if recipe.activity:
        return "activity penalties read the outputs of one model's layers"
    if recipe.sharpness is not None:
        return "sharpness-aware steps take two passes through a model"
    if recipe.averaging is not None and has_batch_norm(entrant.model):
        return "batch norm must be re-estimated for averaged weights"
    names = dict(entrant.model.named_parameters(remove_duplicate=False))
    for bound in entrant.bound:
        for name, (made, _) in bound.made.items():
            return f"{bound.label} is a penalty on {name}, which {made.kind} makes from other tensors"
        if not bound.params.keys() <= names.keys():
            return f"the wrapper of the model ({type(entrant.model).__name__}) holds only one"
    return None


def _is_out_of_memory(error: Exception) -> bool:
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def _halve(numbers: Sequence[int], most: int) -> list[list[int]]:
    """Cut into 1, 2, 4, ... parts of at most so many: as many workers as that then have equal shares."""
    num = 1
    while num * most < len(numbers):
        num *= 2
    return [part.tolist() for part in np.array_split(np.asarray(numbers), num) if len(part)]


def _cut(entrants: Mapping[int, Entrant], chunk: int) -> Iterator[dict[int, Entrant]]:
    """Cut into as few chunks as hold at most ``chunk`` each, as equal as can be, so that they share a trace."""
    for part in np.array_split(np.asarray(list(entrants)), -(-len(entrants) // chunk)):
        yield {number: entrants[number] for number in part.tolist()}
