"""Train a stack of members together: the loop of :mod:`meden.training.one`, for K models at once.

Legend: ``K`` members of the stack, ``P`` trained numbers of one.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from meden import progress
from meden.data import num_batches, watched_rows
from meden.data.targets import Task
from meden.deadline import UNHURRIED, Pace, TimeIsUp
from meden.history import History, Record
from meden.objective import Totals, eval_rows, means, null_loss, on_device, output_shape, row_weight
from meden.run import Run, finished
from meden.training.many import penalties as stacked_penalties
from meden.training.many.augment import Augmenting, values_and_keys
from meden.training.many.batches import Entrant, Numbers, blends, epoch_batches, padded, rates, taken
from meden.training.many.first_member import check_first_member
from meden.training.many.replay import Program
from meden.training.many.stacking import Stack, both, stack, unstack
from meden.training.many.step import AVERAGE, Batch, Constants, Evaluation, Step, forward_streams
from meden.training.many.updates import UPDATES

SHRINKING_PAYS = 1e10
"""A stack is made smaller when that saves so many multiplications, which take longer than tracing it anew. Seconds are
not measured: a stack of another size may round in another way, and results must not depend on what else is running."""
FASTER_THAN_A_CORE = 100
"""Times that an accelerator multiplies faster."""
PASSES = 50
"""Reads and writes of each trained number in an update, in multiplications."""

PER_MEMBER = ("numbers", "entrants", "histories")
"""Lists with an entry for each member of the stack."""
STEPS_AT_ONCE = 4
"""Steps between two looks at the clock, where there is a time limit."""


class Programs(NamedTuple):
    """The traced parts of the loop; stacks of one structure share them."""

    take_steps: Program
    score: Program
    penalties: Program


class Population:
    """A stack of members of equal structure, in training.

    Args:
        entrants: the members, K, by number.
        x: (n, ...) inputs of all members.
        y: (n, ...) targets.
        task: what ``y`` is.
        pads: whether a short batch may be filled up with rows of weight 0: rows do not see each other in the model.
        on_run: called with a member's number and its run as it ends.
        on_newest: called before that with its number and its model, in the newest state; None if nobody wants it.
        on_epoch: called with a member's number and its newest record.
        programs: of another population of the same structure; None makes its own.
    """

    def __init__(
        self,
        entrants: Mapping[int, Entrant],
        x: Tensor,
        y: Tensor,
        task: Task,
        *,
        pads: bool,
        on_run: Callable[[int, Run], None],
        on_epoch: Callable[[int, Record], None],
        on_newest: Callable[[int, nn.Module], None] | None = None,
        programs: Programs | None = None,
    ) -> None:
        self.numbers, self.entrants = list(entrants), list(entrants.values())
        self.task, self.pads = task, pads
        self.on_run, self.on_epoch, self.on_newest = on_run, on_epoch, on_newest
        first = self.entrants[0]
        self.x, self.y = on_device(x, first.model), on_device(y, first.model)
        self.row_weights = row_weight(task, self.y)
        self.output_shape = output_shape(first.model, self.x[first.fit[:2]])
        self.stack = stack([entrant.model for entrant in self.entrants], first.bound, first.rated)
        self.best = self.stack.copy()
        self.update = UPDATES[first.recipe.optimizer](first.recipe)
        self.state = self.update.start(self.stack.flat)
        if first.recipe.averaging is not None:
            self.state[AVERAGE] = self.stack.flat.clone()
        self.g = torch.empty_like(self.stack.flat)
        self.segments = stacked_penalties.segments(first.bound, self.stack, first.rated)
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.histories = [History() for _ in self.entrants]
        self.progress = progress.start(len(self.entrants))
        self.steps_per_epoch = num_batches(len(first.fit), first.recipe.batch_size, first.recipe.steps_per_epoch)
        self.programs = programs or self._make_programs()
        self._lay_out()

    def _make_programs(self) -> Programs:
        first, layout = self.entrants[0], self.stack.layout()
        skeleton = copy.deepcopy(first.model)  # the member's own is its run's as soon as it has ended
        clips = first.recipe.clip_norm is not None
        logits = self.output_shape[-1] if self.output_shape else 1
        augmenting = Augmenting(first.recipe.augment, self.task, logits, self.stack.flat.dtype)
        idle = self._idle_columns(first.idle)
        step = Step(skeleton, self.task, layout, augmenting, self.update, self.segments, clips, idle)
        rows, weights = next(epoch_batches(self.entrants[:1], 0, self.stack.flat, pads=self.pads))
        batch = rows[0, 0, weights[0, 0] > 0]
        check_first_member(step, first, self.stack, taken(self.x, batch), taken(self.y, batch))
        penalties = stacked_penalties.PenaltyValues(first.bound, layout)
        return Programs(
            Program(step, writes=4),
            Program(Evaluation(skeleton, self.task, layout)),
            Program(penalties, scripted=False),
        )

    def _idle_columns(self, idle: Mapping[str, Tensor]) -> Tensor | None:
        """Return which columns of the stack are idle, (P,); None if none is."""
        names = self.stack.columns
        tensors = {
            name: idle.get(name, torch.zeros(self.stack.shapes[name], dtype=torch.bool)).cpu()[None] for name in names
        }
        columns = torch.cat(self.stack.join(tensors), dim=1)[0]
        return columns.to(self.stack.flat.device) if idle else None

    def trace(self) -> None:
        """Trace the first step without taking it, the first evaluation, and what the penalties come to.

        Raises:
            Exception: whatever keeps the models from being stacked, such as control flow that depends on data.
        """
        first = pytree.tree_map(lambda tensor: tensor[0], self.first_batch())
        self.programs.take_steps.trace(*self._tensors, self._constants, first)
        with torch.no_grad():
            self.programs.score.trace(self.stack.flat, self.stack.rest, *next(self._cut(self._watched_rows[0])))
            if self.entrants[0].bound:
                self.programs.penalties.trace(*self._penalties())

    def try_step(self, batch: Batch) -> None:
        """Take the first step, to see how long it takes."""
        self.programs.take_steps.repeat(*self._tensors, self._constants, over=batch)

    def first_batch(self) -> Batch:
        """Return the numbers of one step, with their axis of steps."""
        rows, weights = next(epoch_batches(self.entrants, 0, self.stack.flat, pads=self.pads))
        return self._batches(rows[:1], weights[:1])

    def run_until(self, epoch: float, pace: Pace = UNHURRIED) -> None:
        """Train until so many epochs are done, or every member has ended.

        Raises:
            TimeIsUp: if there was no time for one.
        """
        started = time.perf_counter() - self.seconds
        while self.progress.live.any() and self.epoch < epoch:
            if not self._train_epoch(pace):
                self._shorten_to(self.epoch)
                self._end(self._live_rows(), progress.out_of_time(self.epoch))
                return
            self.seconds = time.perf_counter() - started
            self._shorten(pace)
            self._end_epoch()

    def drop(self, numbers: Collection[int]) -> None:
        """End the training of some members, by number."""
        self._end([row for row in self._live_rows() if self.numbers[row] in numbers], progress.dropped(self.epoch))
        self._shrink_if_it_pays()

    @property
    def num_live(self) -> int:
        """Members that still train."""
        return int(self.progress.live.sum())

    @property
    def steps_ahead(self) -> int:
        """Steps that the members still train for, at most."""
        last = max((self.entrants[row].recipe.last_epoch for row in self._live_rows()), default=self.epoch)
        return (last - self.epoch) * self.steps_per_epoch

    def take_over(self, other: Population) -> None:
        """Train the members of another, too; both are at the same step, and have the same programs."""
        assert self.step == other.step and self.programs is other.programs
        self.stack, self.best = both(self.stack, other.stack), both(self.best, other.best)
        self.g = torch.cat([self.g, other.g])
        self.state = {
            name: torch.cat([tensor, other.state[name]]) if tensor.ndim else tensor
            for name, tensor in self.state.items()
        }
        for name in PER_MEMBER:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.progress = progress.join(self.progress, other.progress)
        self.seconds = max(self.seconds, other.seconds)
        self._keep(self._worth_keeping())

    def _end(self, rows: Sequence[int], ending: progress.Ending) -> None:
        for row in rows:
            self._finish(row, ending)
        self.progress = progress.drop(self.progress, rows)

    def live_histories(self) -> dict[int, History]:
        """Return the records of the members that are still training, by number."""
        return {self.numbers[row]: self.histories[row] for row in self._live_rows()}

    def _live_rows(self) -> list[int]:
        rows: list[int] = np.flatnonzero(self.progress.live).tolist()
        return rows

    def _train_epoch(self, pace: Pace) -> bool:
        """Train an epoch; returns whether there was time for it."""
        started = time.perf_counter()
        for all_rows, all_weights in epoch_batches(self.entrants, self.epoch, self.stack.flat, pads=self.pads):
            at_once = len(all_rows) if pace.is_free else STEPS_AT_ONCE
            for rows, weights in zip(*(torch.split(part, at_once) for part in (all_rows, all_weights)), strict=True):
                if self.step and pace.is_over(self.epoch):
                    if not self.epoch:
                        raise TimeIsUp.at(self.step, self.steps_per_epoch, time.perf_counter() - started)
                    return False
                self.programs.take_steps.repeat(*self._tensors, self._constants, over=self._batches(rows, weights))
                self.step += len(rows)
        self.epoch += 1
        return True

    def _shorten(self, pace: Pace) -> None:
        """Have the schedules end when the time is up."""
        planned = int(self.rules.last_epoch[self.progress.live].max())
        if (epochs := pace.epochs(planned, self.epoch, self.seconds)) < planned:
            self._shorten_to(epochs)

    def _shorten_to(self, epochs: int) -> None:
        self.entrants = [
            dataclasses.replace(e, recipe=e.recipe.shortened(epochs)) if e.recipe.last_epoch > epochs else e
            for e in self.entrants
        ]
        self._read_recipes()
        self._read_schedules()

    def _read_recipes(self) -> None:
        recipes = [entrant.recipe for entrant in self.entrants]
        self.settings, self.rules = Numbers.of(recipes), progress.rules_of(recipes)

    def _lay_out(self) -> None:
        """Lay out the tensors that stay as they are from step to step."""
        flat = self.stack.flat
        self._tensors = flat, self.stack.rest, self.state, self.g
        self._read_recipes()
        self._read_schedules()
        own = [entrant.bound for entrant in self.entrants]
        values = [stacked_penalties.slot_values(own, segment, flat) for segment in self.segments]
        self._penalty_numbers = stacked_penalties.penalty_numbers(own, flat)
        augment, keys = values_and_keys(self.entrants, flat)
        momentum, clip = (
            torch.from_numpy(column[:, None]).to(flat) for column in (self.settings.momentum, self.settings.clip)
        )
        self._watched_rows = padded(
            [e.fit[watched_rows(len(e.fit), e.recipe.eval_rows, e.seed)] for e in self.entrants]
        )
        self._stop_rows = padded([entrant.stop for entrant in self.entrants])
        streams = forward_streams(self.entrants).to(flat.device)
        shares = [entrant.recipe.rdrop for entrant in self.entrants if entrant.recipe.rdrop is not None]
        rdrop = [flat.new_tensor(shares)] if shares else []
        given = self._lr_factors(), values, augment, keys, streams, rdrop
        self._constants = Constants(self.x, self.y, momentum, clip, *given)

    def _lr_factors(self) -> list[Tensor]:
        """Return what the learning rate of each number is multiplied by, (K, P); nothing where all are 1."""
        rated = self.entrants[0].rated
        if not rated:
            return []
        factors = torch.ones_like(self.stack.flat)
        for name, cut in self.stack.columns.items():
            if name in rated:
                own = [entrant.recipe.lr_factors[rated[name]] for entrant in self.entrants]
                factors[:, cut] = factors.new_tensor(own)[:, None]
        return [factors]

    def _read_schedules(self) -> None:
        recipes = [entrant.recipe for entrant in self.entrants]
        self._rates, self._blends = rates(recipes, self.steps_per_epoch), blends(recipes, self.steps_per_epoch)

    def _batches(self, rows: Tensor, weights: Tensor) -> Batch:
        """Return what the next steps are given, from their rows and weights (S, K, B)."""
        flat, steps = self.stack.flat, np.arange(self.step, self.step + len(rows))
        rates = _columns(self._rates, steps) * self.progress.plateau.factor
        self._rate = rates[-1]
        return Batch(
            rows=rows,
            weights=weights,
            lr=torch.from_numpy(rates[:, :, None]).to(flat),
            factors=[
                [flat.new_tensor([slot.factor(step) for step in steps.tolist()]) for slot in segment.slots]
                for segment in self.segments
            ],
            step=torch.from_numpy(steps).to(flat.device),
            blend=torch.from_numpy(_columns(self._blends, steps)[:, :, None]).to(flat),
        )

    def _shown(self) -> Stack:
        """Return the stack with the weights that count: the averages, if there are any."""
        return dataclasses.replace(self.stack, flat=self.state.get(AVERAGE, self.stack.flat))

    @torch.no_grad()
    def _evaluate(self, rows: Tensor, weights: Tensor) -> list[dict[str, float]]:
        """Return each member's scores on rows of its own (K, n), in evaluation mode; those of weight 0 fill up."""
        shown = self._shown()
        parts = [self.programs.score(shown.flat, shown.rest, *data) for data in self._cut(rows)]
        kept = weights.to(self.y.device) > 0
        found = [torch.cat(part, dim=1) for part in zip(*parts, strict=True)]
        found.append(taken(self.row_weights, rows.to(self.y.device)))
        sums = torch.stack([torch.where(kept, part.double(), 0.0).sum(1) for part in found])
        return [means(self.task, Totals(*own)) for own in sums.T.tolist()]

    def _cut(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield x and y of rows (K, n), as many at a time as are evaluated at once."""
        size = 8 * eval_rows(self.x, self.output_shape)
        for chosen in torch.split(rows.to(self.y.device), max(1, size // len(rows)), dim=1):
            yield taken(self.x, chosen), taken(self.y, chosen)

    def _end_epoch(self) -> None:
        """Record, judge, keep best states, and take out the members that ended."""
        records, live = self._records(), self._live_rows()
        self.progress, verdict = progress.advance(self.progress, records, self.rules)
        self.best.copy_rows(self._shown(), torch.from_numpy(np.flatnonzero(verdict.keep)).to(self.y.device))
        for row in live:
            self.histories[row] = self.histories[row].add(records[row])
            self.on_epoch(self.numbers[row], records[row])
            if ending := verdict.endings[row]:
                self._finish(row, ending)
        self._shrink_if_it_pays()

    def _records(self) -> list[Record]:
        train = self._evaluate(*self._watched_rows)
        valid = self._evaluate(*self._stop_rows) if self._stop_rows[0].numel() else [None] * len(self.entrants)
        penalties, zero_groups = self._penalty_values(), self._zero_groups()
        flat = self._shown().flat
        zeros = (flat == 0).sum(1).tolist()
        norms = flat.double().norm(dim=1).tolist()
        return [
            Record(
                epoch=self.epoch,
                step=self.step,
                train=train[row],
                valid=valid[row],
                penalties={label: values[row] for label, values in penalties.items()},
                lr=float(self._rate[row]),
                num_zeros=zeros[row],
                num_zero_groups={label: own[row] for label, own in zero_groups.items()},
                weight_norm=norms[row],
                seconds=round(self.seconds, 4),
            )
            for row in range(len(self.entrants))
        ]

    def _penalties(self) -> tuple[Any, ...]:
        """Return what the penalties' values depend on."""
        shown, first = self._shown(), self.entrants[0].bound
        schedules = [bound.regularizer.schedule for bound in first]
        factors = [1.0 if schedule is None else schedule.factor(self.step) for schedule in schedules]
        return shown.flat, shown.rest, self._penalty_numbers, list(shown.flat.new_tensor(factors))

    @torch.no_grad()
    def _penalty_values(self) -> dict[str, list[float]]:
        """Return every penalty's value by label, (K,) each."""
        bound = self.entrants[0].bound
        found = self.programs.penalties(*self._penalties()) if bound else ()
        return {first.label: own.tolist() for first, own in zip(bound, found, strict=True)}

    def _zero_groups(self) -> dict[str, list[int]]:
        """Return how many of the groups that span tensors are zero, by label, (K,) each."""
        tensors = self._shown().params
        found: dict[str, list[int]] = {}
        for first in self.entrants[0].bound:
            if first.sets:
                matrices = [stacked_penalties.seen(operand, tensors) for operand in first.operands.values()]
                found[first.label] = torch.stack([(w == 0).all(2).sum(1) for w in matrices]).sum(0).tolist()
        return found

    def _finish(self, row: int, ending: progress.Ending) -> None:
        """Write the best state into the member's model, and report."""
        entrant, history = self.entrants[row], self.histories[row]
        if self.on_newest is not None:
            unstack(entrant.model, self._shown(), row)
            self.on_newest(self.numbers[row], entrant.model)
        unstack(entrant.model, self.best if self.progress.best_epoch[row] else self._shown(), row)
        null = null_loss(self.task, self.y[entrant.fit], self.output_shape)
        outcome = progress.outcome(self.progress, row, ending, history[-1], null)
        recipe, seed, num_rows = entrant.recipe, entrant.seed, len(entrant.fit)
        self.on_run(self.numbers[row], finished(entrant.model, recipe, seed, history, outcome, num_rows))

    def _shrink_if_it_pays(self) -> None:
        """Take out members that ended, once they are a quarter, if the smaller stack saves enough work."""
        if not self.num_live:
            return
        kept = self._worth_keeping()
        num_idle = len(self.entrants) - len(kept)
        if 4 * num_idle >= len(self.entrants) and self._repays_a_trace(num_idle):
            self._keep(kept)

    def _worth_keeping(self) -> list[int]:
        """Return the rows of the members that still train, and of some that ended: stacks of one size share a trace.

        Sizes are powers of two, unless those that ended would cost more than a trace.
        """
        live, ended = (np.flatnonzero(self.progress.live == still).tolist() for still in (True, False))
        beside = ended[: (1 << (len(live) - 1).bit_length()) - len(live)]
        return live if self._repays_a_trace(len(beside)) else sorted(live + beside)

    def _repays_a_trace(self, num_members: int) -> bool:
        """Say whether so many members' work in the steps ahead is more than that of tracing a stack of another size."""
        first = self.entrants[0]
        width = len(first.fit) / num_batches(len(first.fit), first.recipe.batch_size)
        saved = num_members * self.steps_ahead * self.stack.flat.shape[1] * (6 * width + PASSES)
        return saved > SHRINKING_PAYS * (1 if self.y.device.type == "cpu" else FASTER_THAN_A_CORE)

    def _keep(self, rows: list[int]) -> None:
        """Take all other members out of the stack."""
        chosen = torch.tensor(rows, device=self.y.device)
        self.stack.keep(chosen)
        self.best.keep(chosen)
        self.g = self.g[chosen]
        self.state = {name: tensor[chosen] if tensor.ndim else tensor for name, tensor in self.state.items()}
        for name in PER_MEMBER:
            setattr(self, name, [getattr(self, name)[row] for row in rows])
        self.progress = progress.take(self.progress, rows)
        self._lay_out()


def _columns(table: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the numbers of some steps, (S, K), of a table (K, T); the last ones from its end on."""
    return table[:, np.minimum(steps, table.shape[1] - 1)].T
