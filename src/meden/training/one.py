"""Train one model by a recipe.

The loop, as it runs::

    for each epoch                      a seeded permutation of the rows, without replacement
        for each batch
            rate     <- schedule
            augment
            forward  -> data loss + loss-coupled penalties
            backward    (twice where sharpness counts)
            clip
            step        gradient and decoupled penalties, the update, proximal penalties
            average
        evaluate        fitting and held-out rows in evaluation mode, of the averaged weights if there are any
        record
        stop?           keep the best state
        checkpoint
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from meden import checkpoint as files
from meden import stopping
from meden._checks import InputError
from meden.augment import augmented
from meden.data import batches, epoch_permutation, num_batches, watched_rows
from meden.data.targets import Task
from meden.history import History, Record
from meden.noise import stream
from meden.objective import Pair, evaluate, null_loss, output_shape, row_loss, soft_targets
from meden.optim import SAM, Averager, bind, has_batch_norm, record_activity, refresh_batch_norm, regularize
from meden.optim.schedules import PlateauState, factors, plateau_start, plateau_update
from meden.recipe import Recipe, make_optimizer
from meden.run import Run, Status, completed, diverged, dropped, sound, stopped_early


@dataclass
class _State:
    """All that changes from epoch to epoch, apart from the tensors of model and optimizer."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_step: int = 0
    history: History = field(default_factory=History)
    stop: stopping.StopState = field(default_factory=stopping.start)
    plateau: PlateauState = field(default_factory=plateau_start)


class Training:
    """The pieces of one run and its loop, which may pause after any epoch."""

    def __init__(
        self,
        model: nn.Module,
        train: Pair,
        valid: Pair | None,
        recipe: Recipe,
        seed: int,
        task: Task,
        checkpoint: Path | None,
        on_epoch: Callable[[Record], None] | None,
    ) -> None:
        self.model, self.train, self.valid, self.recipe, self.seed, self.task = model, train, valid, recipe, seed, task
        self.checkpoint, self.on_epoch = checkpoint, on_epoch
        bound = bind(model, recipe.regularizers, adaptive=recipe.adaptive)
        self.bound = bound
        self.in_loss = tuple(b for b in bound if b.coupling == "loss")
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(recipe, self.params)
        attached = [r for r, b in zip(recipe.regularizers, bound, strict=True) if b.coupling != "loss"]
        self.handle = regularize(self.optimizer, model, attached)
        self.recording = record_activity(model, recipe.activity)
        steps_per_epoch = num_batches(len(train[1]), recipe.batch_size)
        self.factors = factors(recipe.schedule, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch)
        watched = torch.from_numpy(watched_rows(len(train[1]), recipe.eval_rows, seed)).to(train[1].device)
        self.watched = (train[0][watched], train[1][watched]) if recipe.eval_rows else train
        self.augment_key = stream(seed, "augment").to(train[1].device)
        shape = output_shape(model, train[0])
        self.num_logits, self.null = (shape[-1] if shape else 1), null_loss(task, train[1], shape)
        self.sam = None if recipe.sharpness is None else SAM(self.optimizer, recipe.sharpness, model)
        self.averager = None
        if recipe.averaging is not None:
            self.averager = Averager(model, recipe.averaging, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch)
        self.state = _State()
        self.best: dict[str, Tensor] = {}

        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def run(self) -> Run:
        """Train to the end."""
        run = self.run_until(self.recipe.epochs)
        assert run is not None
        return run

    def run_until(self, epoch: float) -> Run | None:
        """Train until so many epochs are done; returns the run if it has ended by then."""
        status, reason = self._verdict()
        started = time.perf_counter() - self.state.seconds
        while status is None and self.state.epoch < epoch:
            self._train_epoch()
            self.state.seconds = time.perf_counter() - started
            with self._evaluated():
                record = self._record()
                self._judge(record)
            status, reason = self._verdict()
            if self.checkpoint is not None:
                self._save(self.checkpoint)
            if self.on_epoch is not None:
                self.on_epoch(record)
        return None if status is None else self._finish(status, reason)

    def drop(self) -> Run:
        """End here, as the loser of a race."""
        return self._finish(*dropped(self.state.epoch))

    @property
    def history(self) -> History:
        """The record so far."""
        return self.state.history

    def _train_epoch(self) -> None:
        x, y = self.train
        self.model.train()
        for rows in batches(len(y), self.recipe.batch_size, seed=self.seed, epoch=self.state.epoch):
            self._set_rate(self._rate())
            chosen = torch.from_numpy(rows).to(y.device)
            self._backward(*self._augmented(x[chosen], y[chosen]))
            if self.recipe.clip_norm is not None:
                clip_grad_norm_(self.params, self.recipe.clip_norm)
            self.optimizer.step()
            self.state.step += 1
            if self.averager is not None:
                self.averager.update()
        self.state.epoch += 1

    def _augmented(self, x: Tensor, y: Tensor) -> Pair:
        if any(augmentation.softens for augmentation in self.recipe.augment):
            y = soft_targets(self.task, y, self.num_logits, self.params[0].dtype)
        return augmented(self.recipe.augment, x, y, self.augment_key, torch.tensor(self.state.step, device=x.device))

    def _backward(self, x: Tensor, y: Tensor) -> None:
        """Leave the gradient of the objective in the parameters."""

        def objective() -> Tensor:
            loss = row_loss(self.task, self.model(x), y).mean()
            loss = loss + sum(b.value(self.state.step) for b in self.in_loss) + self.recording.value()
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            return loss

        objective() if self.sam is None else self.sam.backward(objective)

    @contextmanager
    def _evaluated(self) -> Iterator[None]:
        """Put the weights that count into the model for a while: the averaged ones, if there are any."""
        if self.averager is None:
            yield
            return
        x = self.watched[0]
        with self.averager.applied():
            if has_batch_norm(self.model):
                size = len(x) if self.recipe.batch_size == "full" else max(2, self.recipe.batch_size)
                shuffled = torch.from_numpy(epoch_permutation(len(x), self.seed, 0)).to(x.device)
                refresh_batch_norm(self.model, x[shuffled], batch_size=size)
            yield

    def _rate(self) -> float:
        return float(self.recipe.lr * self.factors[self.state.step] * self.state.plateau.factor)

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _record(self) -> Record:
        with torch.no_grad():
            penalties = {b.label: float(b.value(self.state.step)) for b in self.bound} | self.recording.values()
            num_zeros = int(sum((p == 0).sum() for p in self.params))
            norm = float(torch.stack([p.double().square().sum() for p in self.params]).sum().sqrt())
        record = Record(
            epoch=self.state.epoch,
            step=self.state.step,
            train=evaluate(self.model, *self.watched, self.task),
            valid=None if self.valid is None else evaluate(self.model, *self.valid, self.task),
            penalties=penalties,
            lr=self.optimizer.param_groups[0]["lr"],
            num_zeros=num_zeros,
            weight_norm=norm,
            seconds=round(self.state.seconds, 4),
        )
        self.state.history = self.state.history.add(record)
        return record

    def _judge(self, record: Record) -> None:
        """Update the stopping and plateau states, and keep the state if it is the best so far."""
        score = record.valid["loss"] if record.valid else np.nan
        schedule, rule = self.recipe.schedule, self.recipe.early_stopping
        if schedule.kind == "plateau":
            self.state.plateau = plateau_update(self.state.plateau, score, decay=schedule.decay, every=schedule.every)
        better = self.averager is not None  # an average must be kept: the model goes on with other weights
        if rule is not None:
            self.state.stop, verdict = stopping.update(
                self.state.stop, score, patience=rule.patience, min_delta=rule.min_delta
            )
            better = bool(verdict.improved)
        if better:
            self.best = files.copy_tensors(files.model_tensors(self.model))
            self.state.best_epoch, self.state.best_step = self.state.epoch, self.state.step

    def _verdict(self) -> tuple[Status | None, str]:
        """Say how the run ended, or None if it goes on."""
        state, rule = self.state, self.recipe.early_stopping
        if len(state.history) and not state.history[-1].is_finite():
            return diverged(state.epoch, state.step)
        if rule is not None and state.stop.waited >= rule.patience:
            return stopped_early(rule.patience, state.best_epoch)
        if state.epoch >= self.recipe.last_epoch:
            return completed(state.epoch)
        return None, ""

    def _finish(self, status: Status, reason: str) -> Run:
        if self.best:
            files.restore_tensors(self.model, self.best)
        else:
            self.state.best_epoch, self.state.best_step = self.state.epoch, self.state.step
        kept = self.state.history[self.state.best_epoch - 1].train["loss"]
        status, reason = sound(status, reason, kept, self.null)
        self.handle.remove()
        self.recording.remove()
        self.model.eval()
        state = self.state
        return Run(
            model=self.model,
            recipe=self.recipe,
            history=state.history,
            status=status,
            reason=reason,
            best_step=state.best_step,
            best_epoch=state.best_epoch,
            seed=self.seed,
        )

    def _identity(self) -> dict[str, Any]:
        return {"recipe": self.recipe.to_dict(), "seed": self.seed, "num_rows": len(self.train[1])}

    def _save(self, path: Path) -> None:
        state = self.state
        values = {
            "identity": self._identity(),
            "epoch": state.epoch,
            "step": state.step,
            "seconds": state.seconds,
            "best_epoch": state.best_epoch,
            "best_step": state.best_step,
            "history": state.history.to_list(),
            "stop": [float(part) for part in state.stop],
            "stall": [float(part) for part in state.plateau.stall],
            "plateau_factor": float(state.plateau.factor),
        }
        tensors = files.prefixed("model.", files.model_tensors(self.model))
        tensors |= files.prefixed("optimizer.", files.optimizer_tensors(self.optimizer))
        if self.averager is not None:
            tensors |= files.prefixed("average.", self.averager.state_dict()["average"])
        files.save(path, tensors | files.prefixed("best.", self.best), values)

    def _resume(self, path: Path) -> None:
        tensors, values = files.load(path)
        if values.get("identity") != self._identity():
            raise InputError(
                f"checkpoint {str(path)!r} must come from the same recipe, seed and rows; remove it or name another"
            )
        files.restore_tensors(self.model, files.under("model.", tensors))
        files.restore_optimizer(self.optimizer, files.under("optimizer.", tensors))
        self.best = files.under("best.", tensors)
        if self.averager is not None:
            average = files.under("average.", tensors)
            self.averager.load_state_dict({"num_updates": values["step"], "average": average})
        self.handle.load_state_dict({"num_steps": values["step"]})
        plain = {name: values[name] for name in ("epoch", "step", "seconds", "best_epoch", "best_step")}
        self.state = _State(
            **plain,
            history=History.from_list(values["history"]),
            stop=_stop_state(values["stop"]),
            plateau=PlateauState(_stop_state(values["stall"]), np.asarray(values["plateau_factor"])),
        )


def _stop_state(parts: list[float]) -> stopping.StopState:
    return stopping.StopState(np.asarray(parts[0]), np.asarray(int(parts[1])))
