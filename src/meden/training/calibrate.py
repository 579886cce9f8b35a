"""Temperature scaling: a model's logits divided by one number, so that what it says is as often so.

Legend: ``n`` rows, ``C`` classes.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.data.answered import rows_and_target
from meden.diagnosis import careful_temperature
from meden.diagnosis.calibration import FEWEST_ROWS
from meden.objective import EVAL_ROWS, as_pair, check_fits, evaluating, on_device
from meden.run import HeldOut, Run

CLOSE = 1e-4
"""Logits that differ by less, of the largest one, are the same up to rounding."""
SMALLEST = 1e-45
"""Probability that is not 0 in float32."""


def calibrate(run: Run, data: Any) -> Run:
    """Return a run with calibrated probabilities: its logits are divided by a temperature.

    The temperature is the one at which the loss of the given rows is least, with a prior towards 1, where it stays
    unless they clearly show a better one (:func:`meden.diagnosis.careful_temperature`): a hundred rows or more should
    decide it. Which class comes first does not change, nor does the accuracy. The last layer takes it up, so that the
    model has the same layers as before, and is saved and loaded as before. ``run.history`` stays what it was;
    ``run.held_out`` is that of the new probabilities, and ``run.temperature`` says that the two differ.

    Args:
        run: of a classifier, with one class for each row.
        data: rows that the run was not fitted on and is not to be judged by, such as those that stopped it: a table
            with the target among its columns, or a pair (rows, target); inputs and classes as tensors or arrays for a
            run that meden did not encode data for.

    Raises:
        InputError: if the run has no probabilities of one class a row, or diverged; if data are empty, of two lengths
            or do not fit it; or if its last layer is not linear in what it puts out.

    Example:
        >>> import torch, meden
        >>> x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
        >>> y = ((x[:, 0] + torch.randn(300, generator=torch.Generator().manual_seed(1))) > 0).long()
        >>> recipe = meden.Recipe(epochs=60, lr=0.01)
        >>> run = meden.fit(meden.models.MLP(5, 2), train=(x[:100], y[:100]), recipe=recipe)
        >>> calmer = meden.calibrate(run, (x[100:200], y[100:200]))
        >>> bool(calmer.model(x).softmax(1).max() < run.model(x).softmax(1).max())
        True

    Reference:
        C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, 2017.
    """
    if not isinstance(run, Run):
        raise InputError(f"run must be one trained run, got {type(run).__name__}")
    if run.failure:
        raise InputError(f"run must have a model that can predict, got one that {run.failure}")
    if run.encoder is None:
        pair = as_pair("data", data, run.model)
        check_fits(run.model, "classification", {"data": pair})
        if pair[1].is_floating_point():
            raise InputError(f"data must have classes as whole numbers, got {pair[1].dtype}")
        return calibrated(run, *pair)
    if not run.encoder.classes:
        raise InputError("run must be a classifier to be calibrated, got one that predicts numbers")
    rows, cells = rows_and_target("data", data, run.encoder.label.name)
    found = run.encoder.transform(rows)
    if found.refused:
        place, reason = next(iter(found.refused.items()))
        raise InputError(f"data must be predictable in each row, got row {place}: {reason}")
    return calibrated(run, found.x, torch.as_tensor(run.encoder.labels(cells)))


def calibrated(run: Run, x: Tensor, y: Tensor) -> Run:
    """Return a run with a temperature that rows of encoded inputs x (n, ...) and classes y (n,) decide."""
    logits = _outputs(run.model, x)
    if logits.ndim != 2 or y.ndim != 1 or logits.shape[1] < 2:
        raise InputError(
            f"run must have logits (n, C) with one class per row to be calibrated, got {tuple(logits.shape)}"
        )
    if not len(y) or len(x) != len(y) or int(y.max()) >= logits.shape[1]:
        raise InputError(
            f"data must hold rows with one of {logits.shape[1]} classes each, got {len(x)} rows and {len(y)} classes"
        )
    check_calibrates(run.model, x[:2])
    temperature = careful_temperature(logits.double().numpy(), y.cpu().numpy())
    few = f", which are few: use at least {FEWEST_ROWS}" if len(y) < FEWEST_ROWS else ""
    if temperature == 1:
        reason = f"{run.reason}; logits unchanged, since no temperature is clearly better on {len(y)} rows{few}"
        return dataclasses.replace(run, reason=reason)
    model = _cooled(run.model, x, logits, temperature)
    held_out = None if run.held_out is None else _held_out(run.held_out, temperature)
    reason = (
        f"{run.reason}; logits divided afterwards by the temperature {temperature:.3g}, fitted on {len(y)} rows{few}"
    )
    together = run.temperature * temperature
    return dataclasses.replace(run, model=model, held_out=held_out, reason=reason, temperature=together)


def check_calibrates(model: nn.Module, x: Tensor) -> None:
    """Check, before training, that the last layer of a model can take up a temperature; x are some rows (n, ...).

    Raises:
        InputError: if it cannot, or there are no logits (n, C).
    """
    tried = copy.deepcopy(model)
    draws = torch.Generator().manual_seed(0)
    for parameter in tried.parameters():
        if not parameter.any():  # a last layer of zeros has the same logits at any temperature
            parameter.data.copy_(torch.randn(parameter.shape, generator=draws))
    logits = _outputs(tried, x)
    if logits.ndim != 2:
        raise InputError(f"model must have logits (n, C) to be calibrated, got {tuple(logits.shape)}")
    _cooled(tried, x, logits, 2.0)


def by_stop_rows(run: Run, dataset: Dataset, fold: Fold) -> Run:
    """Return a run with the temperature that the rows which stopped it decide; one that was lost as it is."""
    if run.failure or run.encoder is None:
        return run
    return calibrated(run, dataset.features(run.encoder, fold.stop), dataset.targets(run.encoder, fold.stop))


@torch.no_grad()
def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    with evaluating(model):
        return torch.cat([model(on_device(part, model)).cpu() for part in torch.split(x, EVAL_ROWS)])


@torch.no_grad()
def _cooled(model: nn.Module, x: Tensor, logits: Tensor, temperature: float) -> nn.Module:
    """Return a copy whose last layer, or layers that end side by side, have numbers divided by the temperature."""
    own = ((name, layer._parameters.get("weight")) for name, layer in model.named_modules())
    heights = {name: len(weight) for name, weight in own if weight is not None and weight.ndim == 2}
    layers, ends = list(heights), [name for name, height in heights.items() if height == logits.shape[1]]
    for names in (layers[-1:], ends):
        made = copy.deepcopy(model)
        for parameter in (p for name in names for p in made.get_submodule(name).parameters(recurse=False)):
            parameter.div_(temperature)
        if (_outputs(made, x) - logits / temperature).abs().max() <= CLOSE * logits.abs().max() / temperature:
            return made
    raise InputError(
        "run must have a model that ends in linear layers to absorb the temperature, got one whose logits do not "
        f"scale with {(layers[-1] if layers else 'none')}: add a layer of your own after it"
    )


def _held_out(before: HeldOut, temperature: float) -> HeldOut | None:
    """Return what becomes of scored rows: of logits z with softmax p, that of z / T is p^(1 / T) over its sum.

    None where losses are not those of the probabilities, as rows count by weight: they cannot be told from them.
    """
    told = np.log(np.maximum(before.outputs.astype(np.float64), SMALLEST))
    right = before.scores > 0.5
    if told.shape[1] < 2 or not np.allclose(before.losses[right], -told.max(axis=1)[right], rtol=1e-3, atol=1e-4):
        return None
    total = np.logaddexp.reduce(told / temperature, axis=1)
    outputs = np.exp(told / temperature - total[:, None])
    losses = before.losses.astype(np.float64) / temperature + total
    return HeldOut(losses.astype(np.float32), before.scores, outputs.astype(before.outputs.dtype))
