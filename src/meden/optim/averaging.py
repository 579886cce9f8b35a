"""Averages of the weights over training: a rate per optimizer step, the same for one model and for a stack.

Legend: ``T`` optimizer steps in all, ``t`` one of them, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from meden._checks import InputError, check_count
from meden._settings import Settings
from meden.noise import seeded


class Averaging(Settings):
    """Evaluate and keep averaged weights instead of the last ones.

    Args:
        kind: ``ema``: an exponential moving average over the steps. ``swa``: the mean of the weights at the ends of
            epochs.
        decay: share of the old average that ``ema`` keeps at a step, in (0, 1); the first steps keep less, so that the
            start is soon forgotten.
        start: share of the epochs, in [0, 1), after which ``swa`` starts to average; before that the average is the
            weights.

    Example:
        >>> Averaging(kind="swa", start=0.5)
        Averaging(kind='swa', decay=0.999, start=0.5)

    Reference:
        B. Polyak and A. Juditsky, Acceleration of stochastic approximation by averaging, 1992; D. Ruppert, 1988.
        P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov and A. Wilson, Averaging weights leads to wider optima and
        better generalization, 2018.
    """

    kind: Literal["ema", "swa"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    start: float = Field(default=0.75, ge=0, lt=1)


def blend(averaging: Averaging, *, epochs: int, steps_per_epoch: int) -> NDArray[np.float64]:
    """Return how far the average moves to the weights after each optimizer step.

    The update is ``average += rate (weights - average)``. The first rate is 1: an average begins as a copy.

    Returns:
        (T,), T = epochs * steps_per_epoch. ``ema``: 1 - min(decay, (1 + t) / (10 + t)). ``swa``: 1 to the end of the
        first averaged epoch, then 1 / (n + 1) at the end of each further epoch, n being those averaged so far, and
        0 in between.

    Example:
        >>> blend(Averaging(kind="swa", start=0.5), epochs=4, steps_per_epoch=2).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.5]
    """
    t = np.arange(epochs * steps_per_epoch, dtype=np.float64)
    if averaging.kind == "ema":
        return np.where(t == 0, 1.0, 1 - np.minimum(averaging.decay, (1 + t) / (10 + t)))
    first = int(averaging.start * epochs + 1e-9)  # 0.29 * 100 is just below 29
    num_averaged = np.maximum(t // steps_per_epoch - first, 0)
    ends_epoch = (t + 1) % steps_per_epoch == 0
    return np.where((num_averaged == 0) | ends_epoch, 1 / (num_averaged + 1), 0.0)


class Averager:
    """An average of a model's weights, for your own training loop.

    Averages of half-precision weights are kept in float32. Buffers are not averaged: batch-norm statistics belong to
    the weights they were measured with, see :func:`refresh_batch_norm`.

    Args:
        model: whose parameters are averaged.
        averaging: how.
        epochs: of the whole training.
        steps_per_epoch: optimizer steps of each.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> averager = Averager(model, Averaging(), epochs=1, steps_per_epoch=3)
        >>> averager.update()  # after each optimizer.step()
        >>> with averager.applied():
        ...     y = model(torch.ones(1, 2))  # of the averaged weights
    """

    def __init__(self, model: nn.Module, averaging: Averaging, *, epochs: int, steps_per_epoch: int) -> None:
        check_count("epochs", epochs)
        check_count("steps_per_epoch", steps_per_epoch)
        self.model = model
        self.num_updates = 0
        self._averaging, self._steps_per_epoch = averaging, steps_per_epoch
        self.plan(epochs)
        self._average = {name: _wide_copy(param) for name, param in model.named_parameters()}

    def plan(self, epochs: int) -> None:
        """Go on as if the whole training had so many epochs."""
        self._rates = blend(self._averaging, epochs=epochs, steps_per_epoch=self._steps_per_epoch)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average to the present weights; call it after each ``optimizer.step()``.

        Raises:
            InputError: after more steps than were announced.
        """
        if self.num_updates == len(self._rates):
            raise InputError(f"updates must be at most epochs * steps_per_epoch = {len(self._rates)}, got one more")
        rate = float(self._rates[self.num_updates])
        for name, param in self.model.named_parameters():
            self._average[name].lerp_(param.to(self._average[name].dtype), rate)
        self.num_updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model for a while; then all parameters and buffers are, bit for bit, as before.

        Raises:
            InputError: before the first update, when there is no average.
        """
        if self.num_updates == 0:
            raise InputError("averaged weights must be updated at least once before they are applied, got no update")
        before = [(tensor, tensor.detach().clone()) for tensor in (*self.model.parameters(), *self.model.buffers())]
        _copy([(param, self._average[name]) for name, param in self.model.named_parameters()])
        try:
            yield
        finally:
            _copy(before)

    def rebind(self, model: nn.Module, average: Mapping[str, Tensor]) -> None:
        """Go on with another model, such as a smaller one, and its average so far by parameter name; updates count on.

        Raises:
            InputError: if the average is not one of the model's parameters.
        """
        shapes = {name: tuple(param.shape) for name, param in model.named_parameters()}
        if {name: tuple(tensor.shape) for name, tensor in average.items()} != shapes:
            raise InputError(f"average must hold the model's parameters ({', '.join(shapes)}), got {sorted(average)}")
        self.model = model
        self._average = {name: _wide_copy(tensor) for name, tensor in average.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the average by parameter name, and the number of updates."""
        average = {name: tensor.clone() for name, tensor in self._average.items()}
        return {"num_updates": self.num_updates, "average": average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` returned.

        Raises:
            InputError: if it is of another model.
        """
        names = sorted(state["average"])
        if names != sorted(self._average):
            raise InputError(f"state must name the model's parameters ({', '.join(self._average)}), got {names}")
        self.num_updates = int(state["num_updates"])
        _copy([(tensor, state["average"][name]) for name, tensor in self._average.items()])


def has_batch_norm(model: nn.Module) -> bool:
    """Say whether a model has batch-norm layers with running statistics."""
    return bool(_batch_norms(model))


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, x: Tensor, *, batch_size: int) -> None:
    """Measure the running statistics of all batch-norm layers anew, for the weights the model now has.

    They become the mean over batches of ``x``. Noise is off meanwhile, as in the evaluation that the statistics are
    for, and counts no steps; modes are put back. A model without batch norm is left alone.

    Args:
        model: in any mode.
        x: (n, ...) fitting rows on the model's device, two at least.
        batch_size: rows of a batch, 2 or more; those left over are shared out among the batches.

    Raises:
        InputError: if a batch would have a single row.

    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> refresh_batch_norm(model, torch.tensor([[1.0], [3.0]]), batch_size=2)
        >>> model.running_mean.item(), model.running_var.item()
        (2.0, 2.0)
    """
    if has_batch_norm(model):
        check_count("batch_size", batch_size, low=2)
        measure_batch_norm(model, torch.tensor_split(x, max(1, len(x) // batch_size)))


def measure_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Do what :func:`refresh_batch_norm` does with batches as they come, of two rows or more each."""
    with _measuring(model, _batch_norms(model)):
        for part, batch in enumerate(batches):
            if len(batch) < 2:
                raise InputError(f"x must have at least two rows to measure their variance, got {len(batch)}")
            with seeded(model, "batch norm", step=part):
                model(batch)


@contextmanager
def _measuring(model: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Everything in evaluation mode but the batch norms, whose statistics start anew and weigh batches equally."""
    modes = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
        layer.momentum = None  # cumulative
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


def _wide_copy(param: Tensor) -> Tensor:
    return param.detach().to(torch.promote_types(param.dtype, torch.float32), copy=True)


@torch.no_grad()
def _copy(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Copy each second tensor into the first."""
    for target, source in pairs:
        target.copy_(source)
