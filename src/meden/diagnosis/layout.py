"""What in a model's layers is known to get in its own way, or in that of a training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from meden.diagnosis.curves.levels import gap_text
from meden.diagnosis.evidence import Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.noise import Dropout, GaussianDropout, Noise, SpatialDropout, TokenDropout
from meden.noise.places import attached

_MIXES = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention, nn.Bilinear)
"""Layers whose outputs sum over inputs: after them what dropout does to the spread of one input is diluted."""

_DROPOUTS = (_DropoutNd, Dropout, GaussianDropout, SpatialDropout, TokenDropout)
ONE_PASS = 1.0
"""Up to so many passes over the rows none of them is seen again."""
FEW_ROWS = 8
"""Batches below this have a spread of their own: with 4 rows and less the error of networks with batch norm rises by
several points (Wu and He, 2018, figure 1), with 8 by half a point."""


@rule("layout", "warning")
def dropout_before_norm(evidence: Evidence) -> Seen | None:
    """Dropout feeds batch norm, with only activations or pooling in between.

    Dropout spreads its outputs in training and not in evaluation. Batch norm learns the wider spread, and divides by it
    when nothing is dropped. Layers are taken in the order in which the model registers them.

    Reference:
        X. Li, S. Chen, X. Hu and J. Yang, Understanding the disharmony between dropout and batch normalization by
        variance shift, 2019.
    """
    pairs = [] if evidence.model is None else list(_pairs(evidence.model))
    if not pairs:
        return None
    shown = ", ".join(f"{first} before {second}" for first, second in pairs[:4])
    return Seen(
        f"dropout is followed by batch norm ({shown}{' and more' if len(pairs) > 4 else ''}) in the order in "
        "which the layers are registered; used in that order, the norm learns a variance in training that differs "
        "from the one in evaluation",
        "Move the dropout after the batch norm, or after the last batch norm of the network",
    )


@rule("layout", "warning")
def dropout_in_one_pass(evidence: Evidence) -> Seen | None:
    """Dropout is used although no row is seen twice and the network does not overfit.

    It keeps a network from learning its rows by heart, for which it must meet them again; in a single pass it takes
    something off what is learnt and gives nothing. The evidence is of language models trained from scratch.

    Reference:
        H. Liu, J. Bauer and C. D. Manning, Drop dropout on single-epoch language model pretraining, 2025.
    """
    passes, model = evidence.passes, evidence.model
    if model is None or passes is None or passes > ONE_PASS or evidence.searched or not evidence.sound:
        return None
    names = [name for name, layer in model.named_modules() if isinstance(layer, _DROPOUTS) and _drops(layer)]
    if not (names or evidence.dropout) or gap_text(evidence):
        return None
    shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "") or f"{evidence.dropout:g} in the recipe"
    return Seen(
        f"dropout is on ({shown}) in a training of {passes:.2g} passes over the rows, so that no row is seen twice",
        "Set dropout to 0 when training from scratch; it helps once rows repeat and a gap opens",
        command=evidence.command("fit", "--set dropout=0"),
        value=passes,
    )


@rule("layout", "warning")
def dropout_on_output(evidence: Evidence) -> Seen | None:
    """Dropout comes after the last layer with weights: it drops outputs rather than hidden units."""
    last, behind = None, ""
    for name, layer in () if evidence.model is None else evidence.model.named_modules():
        if name.endswith((".input_noise", ".weight_noise")):
            continue  # it acts before the layer that it is registered in
        if _drops(layer):
            behind = name
        elif isinstance(layer, (_BatchNorm, *_MIXES, nn.LayerNorm, nn.GroupNorm)):
            last, behind = name, ""
    if evidence.model is None or last is None or not behind or not _follow(evidence.model, last, behind):
        return None
    return Seen(
        f"dropout ({behind}) comes after the last layer with weights ({last or 'the model itself'}): in training "
        "it sets whole outputs to 0",
        "Move it before that layer",
    )


@rule("layout", "warning")
def tiny_batches(evidence: Evidence) -> Seen | None:
    """Batch norm is trained with batches too small to estimate a variance.

    Reference:
        Y. Wu and K. He, Group normalization, 2018 (the error by batch size).
    """
    size = evidence.plan.batch_size
    layers = [] if evidence.model is None else [m for m in evidence.model.modules() if isinstance(m, _BatchNorm)]
    if size is None or size >= FEW_ROWS or not any(layer.training or layer.track_running_stats for layer in layers):
        return None
    return Seen(
        f"batch norm is trained with batches of {size}: the mean and variance of so few rows are mostly noise, and "
        "differ from those in evaluation",
        "Use larger batches, or layer norm or group norm, which do not depend on the batch",
        command=evidence.command("fit", f"--set batch_size={4 * FEW_ROWS}"),
        value=float(size),
    )


@rule("layout", "warning")
def softmax_on_output(evidence: Evidence) -> Seen | None:
    """The last layer is a softmax or sigmoid although the loss takes logits."""
    if evidence.model is None or not evidence.of_classes:
        return None
    leaves = [(name, layer) for name, layer in evidence.model.named_modules() if not list(layer.children())]
    kept = [(name, layer) for name, layer in leaves if not isinstance(layer, nn.Identity | nn.Flatten | Noise)]
    if len(kept) < 2 or not isinstance(kept[-1][1], nn.Softmax | nn.Sigmoid):
        return None
    (before, _), (name, layer) = kept[-2:]
    if not _follow(evidence.model, before, name):
        return None
    return Seen(
        f"the network ends in a {type(layer).__name__} ({name}), and its loss takes logits and applies a softmax "
        "itself: the predictions can never be confident",
        "Remove that layer in training, and apply it to the network's outputs for prediction",
    )


def _follow(model: nn.Module, first: str, second: str) -> bool:
    """Say whether one layer surely comes behind another: in a sequence of layers, or as noise on its output.

    A module of somebody's own may use its layers in another order than it registers them.
    """
    if second == f"{first}.output_noise".lstrip("."):
        return True
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first.split("."), second.split("."), strict=False))
    return isinstance(model.get_submodule(".".join(part for part, _ in shared)), nn.Sequential)


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
