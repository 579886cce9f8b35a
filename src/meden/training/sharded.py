"""Train one model on many processes: the loop of :class:`meden.training.one.Training`, with what is divided in it.

Every process runs the loop over the same batches. Of a batch it passes its own rows, in as many parts as memory asks
for, and adds up gradients of sums over rows; they are exchanged with the last part. What follows (clipping, penalties,
the update) acts on shards, or on whole tensors that are the same everywhere. Records are sums over all rows, and what
they mean is decided once, by the first process's.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meden import checkpoint as files
from meden._checks import InputError
from meden.data import Pair, Source
from meden.data.sources import Rows
from meden.deadline import Pace
from meden.distributed import Sharding, World, checkpoint
from meden.distributed.wrapping import Spread
from meden.history import History, Record
from meden.noise import PassDraws, noise_layers, passing, set_shard
from meden.objective import (
    Totals,
    add_up,
    counted,
    eval_parts,
    means,
    row_weight,
    score_rows,
)
from meden.penalties.sharding import local, spread_as, whole
from meden.progress import Ending
from meden.rdrop import fitting_losses
from meden.run import Run
from meden.training.dividing import check_divides, leaves_tensors
from meden.training.idle import silence
from meden.training.one import Training


class Stopped(SystemExit):
    """The training was asked to stop, and has saved where it is."""


class Part(NamedTuple):
    """What a process passes at once of a batch."""

    x: Tensor
    y: Tensor
    rows: range
    """Their places in the batch. There may be none of them: x and y are then a row that counts for nothing."""


class Batch(NamedTuple):
    """A batch, as one process sees it."""

    num_rows: int
    """Of all processes together."""
    parts: Sequence[Part]


class Sharded(Training):
    """A training on many processes; the arguments besides those of a training are the processes, and how."""

    def __init__(self, *args: Any, world: World, sharding: Sharding, **kwargs: Any) -> None:
        self.world, self.sharding = world, sharding
        self._asked, self._stops = threading.Event(), False
        self._activity: Counter[str] = Counter()
        self._num_rows = 0
        self.rows_per_second = 0.0
        """Trained in the last epoch, by all processes together."""
        super().__init__(*args, **kwargs)

    def run(self) -> Run:
        """Train to the end; one that is asked to stop by SIGTERM saves a checkpoint before.

        Raises:
            Stopped: if it was asked to.
        """
        with self._heeding():
            return super().run()

    @property
    def whole(self) -> nn.Module:
        """The model as it was given, whose numbers are written into it in the end."""
        return self.spread.whole

    def _train_epoch(self, pace: Pace) -> bool:
        self._num_rows, started = 0, time.perf_counter()
        has_time = super()._train_epoch(pace)
        self.rows_per_second = self._num_rows / (time.perf_counter() - started)
        return has_time

    def _spread(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        check_divides(self, self.world.size, self.sharding)
        shapes = {name: list(tensor.shape) for name, tensor in files.model_tensors(model).items()}
        identity: dict[str, Any] = {"seed": self.seed, "task": self.task}
        with suppress(InputError):  # what no file can hold, such as a tensor, is not compared
            identity = self._identity
        self.world.check_same({"model": shapes, **identity})
        has_idle_tensors = leaves_tensors(model, self.example)
        self.spread = Spread(model, self.world, self.sharding, has_idle_tensors=has_idle_tensors)
        params = dict(self.spread.model.named_parameters())
        self.idle = {name: spread_as(where, params[name]).bool() for name, where in self.idle.items()}
        return self.spread.model, self.spread.forward

    def _prepared(self, number: int, parts: Sequence[Rows]) -> Iterator[Batch]:
        plans = [self._plan(len(rows)) for rows in parts]
        if self.recipe.augment:  # which may mix rows: the whole batch is augmented everywhere
            for (x, y), plan in zip(self._read(self.train, parts, "epoch", number), plans, strict=True):
                x, y = self._augmented(x, y)
                yield Batch(len(x), [Part(x[_some(rows)], y[_some(rows)], rows) for rows in plan])
            return
        wanted = [batch[_some(rows)] for batch, plan in zip(parts, plans, strict=True) for rows in plan]
        pairs = self._read(self.train, wanted, "epoch", number)
        for batch, plan in zip(parts, plans, strict=True):
            yield Batch(len(batch), [Part(*next(pairs), rows) for rows in plan])

    def _plan(self, num_rows: int) -> list[range]:
        """Return the places in a batch of what this process passes at once: as many parts as the others have."""
        own = self.world.share(range(num_rows))
        size = self.sharding.micro_batch_size or num_rows
        num_parts = max(1, -(-num_rows // (size * self.world.size)))
        ends = [own.start + len(own) * part // num_parts for part in range(num_parts + 1)]
        return [range(start, stop) for start, stop in itertools.pairwise(ends)]

    def _backward(self, batch: Batch) -> None:
        weight = self._weight(batch)
        self._num_rows += batch.num_rows

        def objective() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            self._activity = Counter()
            steps = {layer: layer.step.clone() for layer in noise_layers(self.model).values()}
            losses = []
            for part in batch.parts:
                for layer, step in steps.items():  # all parts of a batch are of one step
                    layer.step.copy_(step)
                losses.append(self._pass(part, weight, len(part.rows) / batch.num_rows, part is batch.parts[-1]))
            return torch.stack(losses).sum() + self._add_penalties()

        objective() if self.sam is None else self.sam.backward(objective)

    def _weight(self, batch: Batch) -> float:
        """Return what the rows of a batch count, on all processes together."""
        if counted(self.task, batch.parts[0].y) is None:
            return batch.num_rows
        own = [float(row_weight(self.task, part.y, torch.float64)[: len(part.rows)].sum()) for part in batch.parts]
        return self.world.total([sum(own)])[0] or 1.0  # no token counts

    def _pass(self, part: Part, weight: float, share: float, is_last: bool) -> Tensor:
        """Add the gradient of a part's share of the objective of the batch; returns the share."""
        set_shard(self.model, part.rows or range(1))
        draws, activity = self._draws(part.rows), []

        def forward(own: PassDraws | None) -> Tensor:
            with passing(self.model, own) if own else nullcontext():
                outputs: Tensor = self.forward(part.x)
            activity.append(self.recording.value())
            return outputs

        with self.spread.passing(is_last=is_last):
            losses = fitting_losses(self.task, forward, part.y, draws, rdrop=self.recipe.rdrop)
            loss = losses[: len(part.rows)].sum() / weight + share * sum(activity) / len(activity)
            # before the backward pass, in which what is checkpointed puts out the same again
            self._activity.update({label: share * value for label, value in self.recording.values().items()})
            with passing(self.model, draws, "backward") if draws else nullcontext():
                torch.autograd.backward(loss * self.world.size)  # exchanging gradients takes their mean
        return loss.detach()

    def _add_penalties(self) -> Tensor:
        """Add the gradient of penalties that join the loss, which no process has more of than another."""
        penalties = sum((b.value(self.state.step) for b in self.in_loss), start=torch.zeros(()))
        if self.idle:
            silence(self.model, self.idle)
        if not self.in_loss:
            return penalties
        grads = torch.autograd.grad(penalties, self.params, allow_unused=True)
        for param, grad in zip(self.params, grads, strict=True):
            if grad is not None:
                param.grad = grad if param.grad is None else param.grad + grad
        value: Tensor = local(whole(penalties.detach()))
        return value

    def _draws(self, rows: range = range(0)) -> PassDraws | None:
        draws = super()._draws()
        if draws is not None:
            draws.shard = rows or range(1)
        return draws

    def _stepped(self) -> None:
        """Save, if it is time to or the training is asked to stop."""
        if self.checkpoint is None:
            return
        (asked,) = self.world.total([self._asked.is_set()])
        self._stops = asked > 0
        every = self.sharding.save_every
        if self.state.step % self.steps_per_epoch and (self._stops or (every and self.state.step % every == 0)):
            self._save()

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Take SIGTERM for a wish to save and stop, if there is a place to save to."""
        if self.checkpoint is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _scores(self, source: Source, rows: Rows) -> dict[str, float]:
        parts = eval_parts(rows, self.example, self.output_shape)
        shares = [self.world.share(range(len(part))) for part in parts]
        pairs = self._read(source, [part[_some(own)] for part, own in zip(parts, shares, strict=True)])
        found = [self._totals(pair, len(own)) for pair, own in zip(pairs, shares, strict=True)]
        return means(self.task, Totals(*self.world.total([sum(each) for each in zip(*found, strict=True)])))

    def _totals(self, pair: Pair, num_rows: int) -> Totals:
        return add_up(*(part[:num_rows] for part in score_rows(self.model, [pair], self.task)))

    def _sums(self, tensors: Sequence[Tensor]) -> list[float]:
        sums = super()._sums([local(tensor) for tensor in tensors])
        return self.world.total(sums) if self.sharding.strategy == "fsdp" else sums

    def _activities(self) -> dict[str, float]:
        return dict(zip(self._activity, self.world.total(list(self._activity.values())), strict=True))

    def _record(self) -> Record:
        record = self.world.agreed(asdict(super()._record()))
        self.state.history = History((*self.state.history.records[:-1], Record(**record)))
        return self.state.history[-1]

    def _finish(self, ending: Ending) -> Run:
        run = super()._finish(ending)
        self.spread.gather()
        return replace(run, model=self.spread.whole.eval())

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        values, keep = self._values(), self.sharding.keep
        checkpoint.save(self.checkpoint, self.state.step, self._tensors(), values, self.world, keep=keep)
        if self._stops:
            raise Stopped(0)

    def _resume(self) -> None:
        found = None if self.checkpoint is None else checkpoint.newest(self.checkpoint, self.world)
        if found is None:
            return
        forms = checkpoint.forms(found)
        self._check_checkpoint(found.folder, found.values, {name: form.shape for name, form in forms.items()})
        own = files.model_tensors(self.model)
        like = self._tensors() | files.prefixed("best.", own) | files.prefixed("average.", own)
        stepped = (param for group in self.optimizer.param_groups for param in group["params"])
        like |= {f"optimizer.{number}": param for number, param in enumerate(stepped)}

        def blank(name: str, form: checkpoint.Form) -> Tensor:
            tensor = like.get(name, like.get(name.rpartition(".")[0]))
            if tensor is None or tensor.shape != form.shape:  # a count of steps
                return torch.zeros(form.shape, dtype=form.dtype)
            return torch.zeros_like(tensor, dtype=form.dtype, requires_grad=False)

        self._restore(checkpoint.load(found, blank), found.values)


def _some(rows: range) -> slice:
    """Return the slice of some rows; of one, where there are none."""
    return slice(rows.start, rows.stop) if rows else slice(0, 1)
