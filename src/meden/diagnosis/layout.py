"""What in a model's layers is known to get in its own way."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from meden.diagnosis.finding import Finding
from meden.noise import Noise
from meden.noise.places import attached

_MIXES = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention, nn.Bilinear)
"""Layers whose outputs sum over inputs: after them what dropout does to the spread of one input is diluted."""


def dropout_before_norm(model: nn.Module) -> Finding | None:
    """Dropout whose output goes into batch norm, with no more than activations or pooling between.

    Dropout spreads its outputs in training and not in evaluation. Batch norm learns the wider spread, and divides by it
    when nothing is dropped. Layers are taken in the order in which the model registers them.

    Reference:
        X. Li, S. Chen, X. Hu and J. Yang, Understanding the disharmony between dropout and batch normalization by
        variance shift, 2019.
    """
    pairs = list(_pairs(model))
    if not pairs:
        return None
    shown = ", ".join(f"{first} before {second}" for first, second in pairs[:4])
    return Finding(
        "dropout_before_norm",
        f"dropout is followed by batch norm ({shown}{' and more' if len(pairs) > 4 else ''}) in the order in which the "
        "layers are registered; used in that order, the norm learns a spread that evaluation does not have",
        "Put dropout behind the batch norm, or behind the last one of the network",
    )


def _pairs(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Return the names of a dropout and of the batch norm that it goes into."""
    dropout = None
    for name, layer in model.named_modules():
        if name.endswith((".input_noise", ".weight_noise")):
            continue  # it acts before the layer that it is registered in
        if isinstance(layer, _BatchNorm):
            own = attached(layer, "input")
            before = f"{name}.input_noise" if own is not None and _drops(own) else dropout
            if before is not None:
                yield before, name
        if _drops(layer):
            dropout = name
        elif isinstance(layer, (_BatchNorm, *_MIXES)):
            dropout = None


def _drops(layer: nn.Module) -> bool:
    if isinstance(layer, Noise):
        return bool(layer.level > 0)
    return isinstance(layer, _DropoutNd) and layer.p > 0
