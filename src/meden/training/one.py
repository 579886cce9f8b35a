"""Train one model by a recipe.

The loop, as it runs::

    for each epoch                      a seeded permutation of the rows, without replacement, or a piece of them
        for each batch
            rate     <- schedule
            augment
            forward  -> data loss + loss-coupled penalties    (two passes for R-Drop)
            backward    (twice where sharpness counts)
            clip
            step        gradient and decoupled penalties, the update, proximal penalties
            average
        evaluate        fitting and held-out rows in evaluation mode, of the averaged weights if there are any
        record
        advance         what is kept, and whether this is the end: :mod:`meden.progress`
        checkpoint

Rows come from a source, batch by batch; which rows make a batch is the same for all sources.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from meden import checkpoint as files
from meden import progress
from meden._checks import InputError
from meden.augment import augmented
from meden.data import BATCHING, Pair, Source, epoch_permutation, num_batches, passes, watched_rows
from meden.data.sources import Rows
from meden.data.targets import Task
from meden.deadline import UNHURRIED, Pace, TimeIsUp
from meden.history import History, Record
from meden.noise import PassDraws, derive, may_draw, passing, stream
from meden.objective import (
    eval_parts,
    evaluate,
    mean_of,
    null_loss,
    null_rows,
    output_shape,
    soft_targets,
)
from meden.optim import SAM, Averager, bind, has_batch_norm, measure_batch_norm, record_activity, regularize
from meden.optim.schedules import factors
from meden.rdrop import fitting_losses
from meden.recipe import Recipe, lr_factors_of, make_optimizer, set_rate
from meden.run import Run, finished
from meden.training.grouping import grouped
from meden.training.idle import idle_numbers, silence, tried_rows
from meden.training.reading import classes_of, fingerprint, first_rows, read


@dataclass
class _State:
    """All that changes from epoch to epoch, apart from the tensors of model and optimizer."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=History)
    ending: progress.Ending | None = None
    progress: progress.State = field(default_factory=lambda: progress.start(1))


class Training:
    """What one run is made of, and its loop, which may pause after any epoch."""

    def __init__(
        self,
        model: nn.Module,
        train: Source,
        valid: Source | None,
        recipe: Recipe,
        seed: int,
        task: Task,
        checkpoint: Path | None,
        on_epoch: Callable[[Record], None] | None,
        on_newest: Callable[[nn.Module], None] | None = None,
        columns: Sequence[str] | None = None,
        idle: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.columns, self._known_idle = columns, idle
        self.model, self.train, self.valid, self.recipe, self.seed, self.task = model, train, valid, recipe, seed, task
        self.checkpoint, self.on_epoch, self.on_newest = checkpoint, on_epoch, on_newest
        self.asked = recipe
        self.steps_per_epoch = num_batches(len(train), recipe.batch_size, recipe.steps_per_epoch)
        self._read_recipe()
        self.watched = (
            range(len(train)) if recipe.eval_rows is None else watched_rows(len(train), recipe.eval_rows, seed)
        )
        self._try_model(model)
        self.model, self.forward = self._spread(model)
        self._make_optimizer()
        self.state = _State()
        self.rate = recipe.lr
        self.best: dict[str, Tensor] = {}
        self._resume()

    def _try_model(self, model: nn.Module) -> None:
        """Find out what a model makes of rows, while it is whole."""
        self.stream = stream(self.seed, "forward") if may_draw(model) else None
        self.example = first_rows(self.train, model)[0][:2]
        self.output_shape = shape = output_shape(model, self.example)
        self.num_logits, self.num_classes = (shape[-1] if shape else 1), classes_of(self.task, shape)
        # penalties of activations may know biases that the outputs do not
        self.idle = {} if self.recipe.activity else self._idle(model)
        if self.checkpoint is not None:
            assert self._identity  # which no file can hold if the recipe's parts cannot be written
        self.regularizers = grouped(self.recipe.regularizers, model, self.example, self.columns)
        self.null = null_loss(self.task, next(self._read(self.train, [null_rows(len(self.train))]))[1], shape)

    def _idle(self, model: nn.Module) -> Mapping[str, Tensor]:
        if self._known_idle is not None:
            return self._known_idle
        return idle_numbers(model, next(self._read(self.train, [tried_rows(len(self.train))]))[0])

    def first_rows(self, num: int) -> Tensor:
        """Return x (num or fewer, ...) of the first fitting rows, on the model's device."""
        return next(self._read(self.train, [np.arange(min(num, len(self.train)))]))[0]

    def _spread(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Return the module whose tensors are trained, and the one that batches are passed through."""
        return model, model

    def _make_optimizer(self) -> None:
        """Make all that acts on the tensors that are trained."""
        model, recipe = self.model, self.recipe
        self.bound = bind(model, self.regularizers, adaptive=recipe.adaptive)
        self.in_loss = tuple(b for b in self.bound if b.coupling == "loss")
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(recipe, self.params, lr_factors_of(model, recipe.lr_factors))
        attached = [r for r, b in zip(self.regularizers, self.bound, strict=True) if b.coupling != "loss"]
        self.handle = regularize(self.optimizer, model, attached)
        self.recording = record_activity(model, recipe.activity)
        self.augment_key = stream(self.seed, "augment").to(self.params[0].device)
        self.sam = None if recipe.sharpness is None else SAM(self.optimizer, recipe.sharpness, model)
        self.averager = None
        if recipe.averaging is not None:
            self.averager = Averager(
                model, recipe.averaging, epochs=recipe.epochs, steps_per_epoch=self.steps_per_epoch
            )

    def run(self) -> Run:
        """Train to the end."""
        run = self.run_until(self.recipe.epochs)
        assert run is not None
        return run

    def run_until(self, epoch: float, pace: Pace = UNHURRIED) -> Run | None:
        """Train until so many epochs are done; returns the run if it has ended by then.

        Raises:
            TimeIsUp: if there was no time for one.
        """
        started = time.perf_counter() - self.state.seconds
        while self.state.ending is None and self.state.epoch < epoch:
            if not self._train_epoch(pace):
                self.recipe = self.recipe.shortened(self.state.epoch)
                return self._finish(progress.out_of_time(self.state.epoch))
            self.state.seconds = time.perf_counter() - started
            self._shorten(pace)
            with self._evaluated():
                record = self._record()
                self._advance(record, keeps_all=not pace.is_free)
            self._save()
            if self.on_epoch is not None:
                self.on_epoch(record)
        return None if self.state.ending is None else self._finish(self.state.ending)

    def drop(self) -> Run:
        """End here, as the loser of a race."""
        return self._finish(progress.dropped(self.state.epoch))

    @property
    def history(self) -> History:
        """The record so far."""
        return self.state.history

    def _read(self, source: Source, parts: Sequence[Rows], *identifiers: int | str) -> Iterator[Pair]:
        """Yield rows on the model's device; what is random inside them is derived from the identifiers."""
        name, seed = "valid" if source is self.valid else "train", derive(self.seed, "rows", *identifiers)
        return read(name, source, parts, seed, self.model, self.num_classes)

    def _scores(self, source: Source, rows: Rows) -> dict[str, float]:
        return evaluate(self.model, self._read(source, eval_parts(rows, self.example, self.output_shape)), self.task)

    def _train_epoch(self, pace: Pace) -> bool:
        """Train an epoch; returns whether there was time for it."""
        started = time.perf_counter()
        self.model.train()
        for number, batch in enumerate(self._batches()):
            if number and pace.is_over(self.state.epoch):
                if not self.state.epoch:
                    raise TimeIsUp.at(number, self.steps_per_epoch, time.perf_counter() - started)
                return False
            self.rate = self._rate()
            set_rate(self.optimizer, self.rate)
            self._backward(batch)
            if self.recipe.clip_norm is not None:
                clip_grad_norm_(self.params, self.recipe.clip_norm)
            self.optimizer.step()
            self.state.step += 1
            if self.averager is not None:
                self.averager.update()
            self._stepped()
        self.state.epoch += 1
        return True

    def _stepped(self) -> None:
        """Do what is to be done between two steps."""

    def _batches(self) -> Iterator[Any]:
        """Yield the batches that are left of an epoch; what is random inside a row is drawn anew in each pass."""
        size, steps = self.recipe.batch_size, self.recipe.steps_per_epoch
        done = self.state.step % self.steps_per_epoch
        own = passes(len(self.train), size, seed=self.seed, epoch=self.state.epoch, steps_per_epoch=steps)
        for number, parts in own:
            yield from self._prepared(number, parts[done:])
            done = max(0, done - len(parts))

    def _shorten(self, pace: Pace) -> None:
        """Have the schedule end when the time is up."""
        epochs = pace.epochs(self.asked.last_epoch, self.state.epoch, self.state.seconds)
        if epochs != self.recipe.last_epoch:  # also longer again: the first epoch is often the slowest
            self.recipe = self.asked.shortened(epochs)
            self._read_recipe()
            if self.averager is not None:
                self.averager.plan(self.recipe.epochs)

    def _read_recipe(self) -> None:
        """Lay out what depends on the number of epochs."""
        recipe = self.recipe
        self.factors = factors(recipe.schedule, epochs=recipe.epochs, steps_per_epoch=self.steps_per_epoch)
        self.rules = progress.rules_of([recipe])

    def _prepared(self, number: int, parts: Sequence[Rows]) -> Iterator[Any]:
        """Yield what :meth:`_backward` takes, for batches of one pass over the rows."""
        for x, y in self._read(self.train, parts, "epoch", number):
            yield self._augmented(x, y)

    def _augmented(self, x: Tensor, y: Tensor) -> Pair:
        if any(augmentation.softens for augmentation in self.recipe.augment):
            y = soft_targets(self.task, y, self.num_logits, self.params[0].dtype)
        return augmented(self.recipe.augment, x, y, self.augment_key, torch.tensor(self.state.step, device=x.device))

    def _backward(self, batch: Any) -> None:
        """Leave the gradient of the objective in the parameters."""
        x, y = batch

        def objective() -> Tensor:
            draws, activity = self._draws(), []

            def forward(own: PassDraws | None) -> Tensor:
                with passing(self.model, own) if own else nullcontext():
                    outputs: Tensor = self.forward(x)
                activity.append(self.recording.value())
                return outputs

            losses = fitting_losses(self.task, forward, y, draws, rdrop=self.recipe.rdrop)
            data_loss = mean_of(self.task, losses, y)
            penalties = sum(b.value(self.state.step) for b in self.in_loss)
            loss = data_loss + penalties + sum(activity) / len(activity)
            self.optimizer.zero_grad(set_to_none=True)
            with passing(self.model, draws, "backward") if draws else nullcontext():  # hooks may draw
                torch.autograd.backward(data_loss if self.idle else loss)
            if self.idle:
                silence(self.model, self.idle)
                if isinstance(penalties, Tensor):
                    torch.autograd.backward(penalties)
            return loss

        objective() if self.sam is None else self.sam.backward(objective)

    def _draws(self) -> PassDraws | None:
        """Return what the model may draw from in this step: the same in both passes of a sharpness-aware one."""
        if self.stream is None:
            return None
        return PassDraws(self.stream, torch.tensor(self.state.step), (self.seed, "forward", self.state.step))

    @contextmanager
    def _evaluated(self) -> Iterator[None]:
        """Put the weights that count into the model for a while: the averaged ones, if there are any."""
        if self.averager is None:
            yield
            return
        with self.averager.applied():
            if has_batch_norm(self.model):
                num, size = len(self.watched), self.recipe.batch_size
                num_parts = 1 if size == "full" else max(1, num // max(2, size))
                shuffled = np.asarray(self.watched)[epoch_permutation(num, self.seed, 0)]
                parts = np.array_split(shuffled, num_parts)
                measure_batch_norm(self.model, (x for x, _ in self._read(self.train, parts)))
            yield

    def _rate(self) -> float:
        return float(self.recipe.lr * self.factors[self.state.step] * self.state.progress.plateau.factor[0])

    def _record(self) -> Record:
        with torch.no_grad():
            penalties = {b.label: float(b.value(self.state.step)) for b in self.bound} | self._activities()
            zero_groups = {b.label: num for b in self.bound if (num := b.num_zero_groups()) is not None}
            num_zeros, squares = self._sums(self.params)
        record = Record(
            epoch=self.state.epoch,
            step=self.state.step,
            train=self._scores(self.train, self.watched),
            valid=None if self.valid is None else self._scores(self.valid, range(len(self.valid))),
            penalties=penalties,
            lr=self.rate,
            num_zeros=int(num_zeros),
            num_zero_groups=zero_groups,
            weight_norm=math.sqrt(squares),
            seconds=round(self.state.seconds, 4),
        )
        self.state.history = self.state.history.add(record)
        return record

    def _activities(self) -> dict[str, float]:
        """Return the penalties of what layers put out in the last step."""
        return self.recording.values()

    def _sums(self, tensors: Sequence[Tensor]) -> list[float]:
        """Return the number of zeros, and the sum of squares."""
        zeros, squares = zip(*(((t == 0).sum().double(), t.double().square().sum()) for t in tensors), strict=True)
        return [float(torch.stack(each).sum()) for each in (zeros, squares)]

    def _advance(self, record: Record, *, keeps_all: bool) -> None:
        """See what the newest record means, and keep the state if it is the one to keep.

        A copy is needed wherever steps may follow that do not count.
        """
        state = self.state
        state.progress, verdict = progress.advance(state.progress, [record], self.rules)
        state.ending = verdict.endings[0]
        passes = keeps_all or self.averager is not None or self.recipe.early_stopping is not None
        if verdict.keep[0] and passes:  # else the model itself stays in the newest state, which is the one to keep
            self.best = files.copy_tensors(files.model_tensors(self.model))

    def _finish(self, ending: progress.Ending) -> Run:
        if self.on_newest is not None:
            with self._evaluated():
                self.on_newest(self.model)
        if self.best:
            files.restore_tensors(self.model, self.best)
        self.handle.remove()
        self.recording.remove()
        history = self.state.history
        outcome = progress.outcome(self.state.progress, 0, ending, history[-1], self.null)
        return finished(self.model, self.recipe, self.seed, history, outcome, len(self.train))

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be gone on from."""
        return {
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "task": self.task,
            "train": fingerprint(self.train),
            "valid": None if self.valid is None else fingerprint(self.valid),
            "batching": BATCHING,
        }

    def _values(self) -> dict[str, Any]:
        state = self.state
        return {
            "identity": self._identity,
            "epoch": state.epoch,
            "step": state.step,
            "seconds": state.seconds,
            "history": state.history.to_list(),
            "progress": progress.to_lists(state.progress),
            "ending": state.ending,
        }

    def _save(self) -> None:
        """Write a checkpoint, if there is to be one."""
        if self.checkpoint is None:
            return
        files.save(self.checkpoint, self._tensors(), self._values())

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors that change, or that penalties pull to."""
        tensors = files.prefixed("model.", files.model_tensors(self.model))
        tensors |= files.prefixed("optimizer.", files.optimizer_tensors(self.optimizer))
        tensors |= files.prefixed("best.", self.best)
        if self.averager is not None:
            tensors |= files.prefixed("average.", self.averager.state_dict()["average"])
        for number, b in enumerate(self.handle.bound):
            tensors |= files.prefixed(f"start.{number}.", b.starts)
        return tensors

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        if self.checkpoint.is_dir():
            raise InputError(f"checkpoint must be a file without sharding, got the folder {str(self.checkpoint)!r}")
        tensors, values = files.load(self.checkpoint)
        self._check_checkpoint(self.checkpoint, values, {name: tensor.shape for name, tensor in tensors.items()})
        self._restore(tensors, values)

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take what was saved."""
        files.restore_tensors(self.model, files.under("model.", tensors))
        files.restore_optimizer(self.optimizer, files.under("optimizer.", tensors))
        self.best = files.under("best.", tensors)
        if self.averager is not None:
            average = files.under("average.", tensors)
            self.averager.load_state_dict({"num_updates": values["step"], "average": average})
        starts = {
            b.label: files.under(f"start.{number}.", tensors) for number, b in enumerate(self.handle.bound) if b.starts
        }
        self.handle.load_state_dict({"num_steps": values["step"], "starts": starts})
        self.state = _State(
            **{name: values[name] for name in ("epoch", "step", "seconds")},
            history=History.from_list(values["history"]),
            progress=progress.from_lists(values["progress"]),
            ending=values["ending"] and progress.Ending(*values["ending"]),
        )

    def _check_checkpoint(self, path: Path, values: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> None:
        missing = [name for name in self._values() if name not in values]
        if missing:
            raise InputError(f"checkpoint {str(path)!r} must be one of this meden, got one without {missing[0]!r}")
        others = [name for name, own in self._identity.items() if values["identity"].get(name) != own]
        if others:
            raise InputError(
                f"checkpoint {str(path)!r} must come from the same {', '.join(self._identity)}, got a different "
                f"{' and '.join(others)}; remove it or name another"
            )
        own = {f"model.{name}": tensor.shape for name, tensor in files.model_tensors(self.model).items()}
        own |= {f"start.{n}.{name}": t.shape for n, b in enumerate(self.handle.bound) for name, t in b.starts.items()}
        for name in (*own, *(name for name in shapes if name.startswith("model."))):
            ours, theirs = (f"of shape {tuple(all_[name])}" if name in all_ else "none" for all_ in (own, shapes))
            if ours != theirs:
                raise InputError(
                    f"checkpoint {str(path)!r} must come from the same model, whose {name.removeprefix('model.')} is "
                    f"{ours}, got {theirs}; remove it or name another"
                )
