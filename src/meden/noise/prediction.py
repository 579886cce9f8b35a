"""Prediction with the noise left on: the spread of the answers is a measure of how sure the model is."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_count
from meden.noise.base import load_noise_state, noise_layers, noise_state, seed_noise


class NoisyPrediction(NamedTuple):
    """Mean and spread (standard deviation, of one sample) over noisy forward passes, each of the output's shape."""

    mean: Tensor
    spread: Tensor


@torch.no_grad()
def mc_predict(model: nn.Module, *inputs: Any, num_samples: int = 30, seed: int = 0) -> NoisyPrediction:
    """Predict with noise on and everything else (batch norm) in evaluation: Monte Carlo dropout.

    The model is left as it was: modes, steps and keys.

    Args:
        model: a model that returns one tensor and has noise layers, see :func:`meden.edits.set_dropout`.
        *inputs: what the model is called with.
        num_samples: number of noisy forward passes, at least 2.
        seed: the draws depend on this number alone.

    Raises:
        InputError: if the model has no noise layers.

    Example:
        >>> from meden.noise import Dropout
        >>> mean, spread = mc_predict(nn.Sequential(Dropout(0.5)), torch.ones(1, 3), num_samples=4)
        >>> mean.shape, spread.shape
        (torch.Size([1, 3]), torch.Size([1, 3]))

    Reference:
        Y. Gal and Z. Ghahramani, Dropout as a Bayesian approximation, 2016.
    """
    check_count("num_samples", num_samples, low=2)
    layers = noise_layers(model)
    if not layers:
        raise InputError(
            f"model must have noise layers, got {type(model).__name__} without any; see meden.edits.set_dropout"
        )
    state, modes = noise_state(model), {module: module.training for module in model.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # torch's fused encoder layer knows no dropout
        model.eval()
        for layer in layers.values():
            layer.train()
        seed_noise(model, seed)
        samples = torch.stack([model(*inputs) for _ in range(num_samples)])
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        load_noise_state(model, state)
        for module, mode in modes.items():
            module.training = mode
    return NoisyPrediction(samples.mean(0), samples.std(0))
