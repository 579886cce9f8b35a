"""What is minimised and what is reported: data losses per row, scores in evaluation mode.

Legend: ``B`` rows of a batch, ``T`` tokens of a row, ``C`` classes or outputs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from meden._checks import InputError
from meden.data import Pair
from meden.data.arrays import all_finite
from meden.data.sources import Rows
from meden.data.targets import IGNORED, Task
from meden.noise import PassDraws, noise_layers, passing, seeded, stream
from meden.noise.rng import normal

NULL_ROWS = 64
"""Rows that the null model (equal logits, or zeros) is measured on: enough for its order of magnitude."""
EVAL_ROWS = 4096
"""Rows of one forward pass in evaluation, or tokens of them, at most."""
EVAL_BYTES = 2**25
"""Their inputs, and their outputs, at most: rows may be images of any size, or have a logit for each of many words."""


def task_of(y: Tensor) -> Task:
    """Return ``classification`` for whole-number targets, ``regression`` for floating ones."""
    return "regression" if y.is_floating_point() else "classification"


def row_loss(task: Task, outputs: Tensor, y: Tensor) -> Tensor:
    """Return the canonical data loss of each row: cross-entropy in nats, or half the squared error.

    Args:
        task: what ``y`` is.
        outputs: (B, C) logits, (B, 1) or (B,) the logit of class 1 of two, (B, T, C) logits of T tokens; for
            regression any shape with as many numbers a row as ``y``.
        y: (B,) or (B, T) class numbers, -100 for a token that does not count; or probabilities (B, C), (B, T, C), of
            class 1 of two (B,); for regression (B,) or (B, C). Rows may bring weights along: probabilities that add up
            to the weight, or pairs (number, weight) of regression, (B, C, 2).

    Returns:
        (B,), a mean over tokens and a sum over regression outputs, times the weight if there is one. A token that does
        not count adds 0, so that the mean of rows is the sum of these over that of :func:`row_weight`.

    Example:
        >>> row_loss("regression", torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 3.0]))
        tensor([0.5000, 0.0000])
    """
    num_rows = y.shape[0]
    if task == "regression" and is_paired(outputs, y):
        numbers, weights = y.unbind(-1)
        return ((outputs.reshape(num_rows, -1) - numbers).square() * weights).sum(1) / 2
    if task == "regression":
        return (outputs.reshape(num_rows, -1) - y.reshape(num_rows, -1)).square().sum(1) / 2
    if has_one_logit(outputs, y):
        soft = y.reshape(num_rows).to(outputs.dtype)
        return F.binary_cross_entropy_with_logits(outputs.reshape(num_rows), soft, reduction="none")
    if y.ndim > 1 and not y.is_floating_point():
        tokens = F.cross_entropy(outputs.flatten(0, -2), y.flatten(), ignore_index=IGNORED, reduction="none")
        return tokens.view(num_rows, -1).mean(1)
    return _cross_entropy(outputs, y).reshape(num_rows, -1).mean(1)


def counted(task: Task, y: Tensor) -> Tensor | None:
    """Return which labels of rows with several count, bool (B, T); None where each row has one, or numbers.

    Of probabilities, a token whose are all 0 does not count: those of one with the class number -100.
    """
    if task == "regression" or y.ndim < 2 + y.is_floating_point():
        return None
    return y.any(-1) if y.is_floating_point() else y != IGNORED


def row_weight(task: Task, y: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what each row counts in a mean, (B,): the share of its tokens that count, or 1.

    Example:
        >>> row_weight("classification", torch.tensor([[3, 1, 2, 0], [3, -100, -100, -100]]))
        tensor([1.0000, 0.2500])
    """
    kept = counted(task, y)
    if kept is None:
        return torch.ones(len(y), dtype=dtype, device=y.device)
    return kept.reshape(len(y), -1).to(dtype).mean(1)


def mean_loss(task: Task, outputs: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the data loss of a batch: the mean over its rows, or over those of their tokens that count.

    Args:
        task: what ``y`` is.
        outputs: see :func:`row_loss`.
        y: see :func:`row_loss`.
        weights: (B,) of the rows, such as 0 for those that only fill up; None is 1 each.

    Returns:
        0-d; 0 of a batch in which nothing counts.

    Example:
        >>> logits, y = torch.eye(3)[None], torch.tensor([[0, 2, -100]])
        >>> torch.allclose(mean_loss("classification", logits, y), F.cross_entropy(logits[0], y[0]))
        True
    """
    return mean_of(task, row_loss(task, outputs, y), y, weights)


def mean_of(task: Task, losses: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean of losses of rows, (B,), as :func:`mean_loss` does."""
    if counted(task, y) is None:
        return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()
    shares = row_weight(task, y, losses.dtype)
    if weights is not None:
        losses, shares = losses * weights, shares * weights
    return losses.sum() / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -log softmax(logits)[y], or the sum over the classes where y (..., C) are their probabilities or weights.

    Torch's own is several times slower under vmap, where its softmax meets a short last axis.
    """
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    total = shifted.exp().sum(-1).log()
    if y.is_floating_point():
        return total * y.sum(-1) - (shifted * y).sum(-1)
    return total - shifted.gather(-1, y.unsqueeze(-1)).squeeze(-1)


def output_shape(model: nn.Module, x: Tensor) -> torch.Size:
    """Return the shape of a model's outputs for one row: (C,), (T, C), or () for outputs (B,)."""
    with torch.no_grad(), evaluating(model):
        outputs: Tensor = model(x[:2])
    return outputs.shape[1:]


def null_rows(num_rows: int) -> NDArray[np.int64]:
    """Return the rows that :func:`null_loss` goes by; of these alone it goes by all."""
    return np.arange(0, num_rows, max(1, num_rows // NULL_ROWS))


def null_loss(task: Task, y: Tensor, shape: torch.Size) -> float:
    """Return the mean loss of a model that says nothing: equal logits, or zeros; of some rows, spread over all.

    Args:
        task: what ``y`` is.
        y: (n, ...) targets.
        shape: of a row's outputs, see :func:`output_shape`.

    Example:
        >>> null_loss("regression", torch.tensor([2.0, -2.0]), torch.Size([1]))
        2.0
    """
    rows = y[null_rows(len(y))]
    return float(mean_loss(task, torch.zeros(len(rows), *shape, device=y.device), rows))


def soft_targets(task: Task, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Return class numbers as probabilities, which augmentations mix; others, and regression targets, as they are.

    Args:
        task: what ``y`` is.
        y: (...) class numbers.
        num_classes: logits of the model, C; 1 stands for the logit of class 1 of two.
        dtype: of the probabilities.

    Returns:
        (..., C), or (...) for one logit.

    Example:
        >>> soft_targets("classification", torch.tensor([2, 0]), 3, torch.float32)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if task == "regression" or num_classes == 1 or y.is_floating_point():
        return y.to(dtype)
    return (y.unsqueeze(-1) == torch.arange(num_classes, device=y.device)).to(dtype)


def row_score(task: Task, outputs: Tensor, y: Tensor) -> Tensor:
    """Return for each row whether it is right (share of its tokens), or the squared error of regression: (B,).

    Both are times the row's weight, if it brings one along, and 0 of tokens that do not count (:func:`row_loss`).
    """
    num_rows = y.shape[0]
    if task == "regression":
        return 2 * row_loss(task, outputs, y)
    predicted = (outputs.reshape(num_rows) > 0).long() if has_one_logit(outputs, y) else outputs.argmax(-1)
    right = y.gather(-1, predicted.unsqueeze(-1)) if y.ndim > predicted.ndim else (predicted == y).float()
    return right.reshape(num_rows, -1).mean(1)


SCORE_NAMES: dict[Task, str] = {"classification": "accuracy", "regression": "mse"}


def as_pair(name: str, pair: Any, model: nn.Module) -> Pair:
    """Return x and y as tensors on the model's device, floating ones in the model's precision.

    Raises:
        InputError: if they are no pair, differ in length, are empty or hold NaN or infinities.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InputError(f"{name} must be a pair (x, y), a Dataset or a source of rows, got {type(pair).__name__}")
    try:
        x, y = (part if isinstance(part, Tensor) else torch.as_tensor(np.asarray(part)) for part in pair)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} must hold arrays of numbers (x, y), got something else: {error}") from None
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(y) == 0:
        raise InputError(
            f"{name} must hold the same number of rows in x and y, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for part, tensor in (("x", x), ("y", y)):
        if tensor.is_floating_point() and not all_finite(tensor):
            wrong = int((~tensor.isfinite()).sum())
            raise InputError(f"{name} {part} must be finite, got {wrong} values that are NaN or infinite")
    taken_x, taken_y = on_device(x, model), on_device(y if y.is_floating_point() else y.long(), model)
    for part, tensor, taken in (("x", x, taken_x), ("y", y, taken_y)):
        if taken.is_floating_point():
            largest = torch.finfo(taken.dtype).max ** (0.5 if part == "y" else 1)  # y is squared
            if (farthest := max(abs(float(end)) for end in tensor.aminmax())) > largest:
                raise InputError(
                    f"{name} {part} must hold numbers up to {largest:.2g} for a model of {taken.dtype}, got "
                    f"{farthest:.2g}; standardise them"
                )
    return taken_x, taken_y


def check_fits(model: nn.Module, task: Task, pairs: Mapping[str, Pair]) -> None:
    """Check that a model's outputs fit the targets, by one forward pass of two rows in evaluation mode.

    Raises:
        InputError: naming both shapes, or the classes that have no logit.
    """
    if task not in SCORE_NAMES:
        raise InputError(f"task must be one of {', '.join(SCORE_NAMES)}, got {task!r}")
    for name, (x, y) in pairs.items():
        with torch.no_grad(), evaluating(model):
            outputs = model(x[:2])
        shape, wanted = (tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs)), tuple(y[:2].shape)
        if not isinstance(outputs, Tensor) or not _shapes_fit(task, outputs, y[:2]):
            logits = hasattr(outputs, "logits") and "; meden.integrations.huggingface.as_module takes its logits"
            raise InputError(
                f"model outputs must fit {task} targets of shape {wanted} ({name}), got {shape}{logits or ''}"
            )
        if task == "classification":
            one_logit = has_one_logit(outputs, y[:2])
            check_classes(name, y.flatten() if one_logit else y, 2 if one_logit else outputs.shape[-1])
            kept = counted(task, y)
            if kept is not None and not bool(kept.any()):
                raise InputError(f"{name} y must hold at least one token that counts, got only {IGNORED}")


def check_classes(name: str, y: Tensor, num_classes: int) -> None:
    """Check that class numbers have a logit each; probabilities of classes pass, and tokens that do not count.

    Raises:
        InputError: naming the range that came.
    """
    if y.is_floating_point():
        return
    tokens = y.ndim > 1
    if tokens and int(y.min()) == IGNORED:
        y = y[y != IGNORED]
    if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < num_classes:
        allowed = f"classes 0 to {num_classes - 1}" + (f", or {IGNORED} where a token does not count" if tokens else "")
        raise InputError(f"{name} y must be {allowed}, got {int(y.min())} to {int(y.max())}")


def _shapes_fit(task: Task, outputs: Tensor, y: Tensor) -> bool:
    if task == "regression":
        return outputs.shape[:1] == y.shape[:1] and (outputs.numel() == y.numel() or is_paired(outputs, y))
    shares = y.is_floating_point() and outputs.shape == y.shape
    return shares or has_one_logit(outputs, y) or outputs.shape[:-1] == y.shape


def is_paired(outputs: Tensor, y: Tensor) -> bool:
    """Say whether regression targets are pairs (number, weight), (B, C, 2)."""
    return y.ndim == 3 and y.shape[-1] == 2 and y.numel() == 2 * outputs.numel()


def rows_are_independent(model: nn.Module, x: Tensor) -> bool:
    """Say whether a training model treats each row by itself, which batch norm, for one, does not.

    Tried on copies that are disturbed: two rows among ``x`` must come out as they do alone.
    """
    with torch.no_grad():
        alone, together = (draw_much(disturbed(model), rows) for rows in (x[:2], x))
        return torch.allclose(alone, together[:2], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def disturbed(model: nn.Module, place: int = 0, *, size: float = 0.1) -> nn.Module:
    """Return a training copy whose weights are shifted, to one of many places, and whose noise is turned up.

    A layer that starts at zero would hide what comes before it.
    """
    copied = copy.deepcopy(model).train()
    for name, param in copied.named_parameters():
        shift = normal(stream("disturbed", name).to(param.device), torch.tensor(place), param.shape)
        param.add_(shift.mul_(size).to(param.dtype))
    for layer in noise_layers(copied).values():
        layer.level.clamp_(min=0.5)
    return copied


def draw_much(model: nn.Module, x: Tensor, step: int = 0) -> Tensor:
    """Return a model's outputs where what it drops by functions has a probability of a half at least."""
    with passing(model, PassDraws(stream(0), torch.tensor(step), (step,), least_p=0.5)):
        outputs: Tensor = model(x)
    return outputs


@contextmanager
def evaluating(model: nn.Module, part: int = 0) -> Iterator[None]:
    """Put a model into evaluation mode for a while; every module's own mode is put back.

    What it draws nevertheless is the same in each evaluation of a part.
    """
    with in_mode(model, training=False), seeded(model, "evaluation", step=part):
        yield


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode for a while; every module's own mode is put back."""
    others = [module for module in model.modules() if module.training != training]
    model.train(training)
    try:
        yield
    finally:
        for module in others:
            module.training = not training


class Totals(NamedTuple):
    """Sums over rows: what is measured in parts, or on several machines, adds up.

    A row that brings a weight along (:func:`row_loss`) has it in its loss and score, and counts as one row.
    """

    loss: float
    score: float
    weight: float
    """Rows, each as :func:`row_weight` counts it."""


def means(task: Task, totals: Totals) -> dict[str, float]:
    """Return the scores of a record: ``{"loss": ..., "accuracy": ...}``, or ``"mse"`` for regression.

    Example:
        >>> means("regression", Totals(loss=3.0, score=6.0, weight=2))
        {'loss': 1.5, 'mse': 3.0}
    """
    weight = totals.weight or math.nan  # no token counts
    return {"loss": totals.loss / weight, SCORE_NAMES[task]: totals.score / weight}


@torch.no_grad()
def evaluated(model: nn.Module, batches: Iterable[Pair]) -> Iterator[Pair]:
    """Yield outputs (B, ...) and targets of rows, in evaluation mode; the model's mode is put back."""
    for part, (x, y) in enumerate(batches):
        with evaluating(model, part):
            outputs = model(x)
        yield outputs, y


def score_rows(model: nn.Module, batches: Iterable[Pair], task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, score and weight of each row, (n,) each, in evaluation mode; the model's mode is put back."""
    rows = (
        (row_loss(task, outputs, y), row_score(task, outputs, y), row_weight(task, y))
        for outputs, y in evaluated(model, batches)
    )
    losses, scores, weights = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return losses, scores, weights


def row_answers(task: Task, outputs: Tensor, y: Tensor) -> Tensor:
    """Return what a model says of each row, (B, C) or (B, M): probabilities of its classes, or its numbers.

    Of rows with several labels each, such as tokens, it is (B, 0).
    """
    if task == "regression":
        return outputs.reshape(len(outputs), -1)
    if has_one_logit(outputs, y):
        likely = outputs.reshape(-1, 1).sigmoid()
        return torch.cat([1 - likely, likely], dim=1)
    return outputs.softmax(-1) if outputs.ndim == 2 else outputs.new_empty(len(outputs), 0)


def add_up(losses: Tensor, scores: Tensor, weights: Tensor) -> Totals:
    """Return the sums of what :func:`score_rows` gave, in double precision."""
    return Totals(*(part.double().sum().item() for part in (losses, scores, weights)))


def evaluate(model: nn.Module, batches: Iterable[Pair], task: Task) -> dict[str, float]:
    """Return the mean data loss and the score of a model in evaluation mode; its mode is put back.

    Args:
        model: any module of one tensor argument.
        batches: (x, y) of some rows each, on the model's device.
        task: what ``y`` is.

    Returns:
        ``{"loss": ..., "accuracy": ...}``, or ``{"loss": ..., "mse": ...}`` for regression.
    """
    return means(task, add_up(*score_rows(model, batches, task)))


def eval_parts(rows: Rows, x: Tensor, shape: torch.Size) -> list[Rows]:
    """Cut rows into parts of one forward pass in evaluation each, of :func:`eval_rows`."""
    size = eval_rows(x, shape)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def eval_rows(x: Tensor, shape: torch.Size) -> int:
    """Return how many rows one forward pass in evaluation takes, 1 or more.

    Args:
        x: some of them, (1 or more, ...).
        shape: of a row's outputs, see :func:`output_shape`.

    Example:
        >>> eval_rows(torch.zeros(2, 10), torch.Size([3])), eval_rows(torch.zeros(2, 1024), torch.Size([1024, 50_000]))
        (4096, 1)
    """
    row_bytes = max(x[0].numel() * x.element_size(), 4 * shape.numel())
    return max(1, min(EVAL_ROWS // max(1, shape[:-1].numel()), EVAL_BYTES // max(1, row_bytes)))


def on_device(tensor: Tensor, model: nn.Module) -> Tensor:
    """Return a tensor on the model's device, a floating one in the model's precision."""
    like = next(model.parameters(), torch.empty(0))
    dtype = like.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(like.device, dtype, non_blocking=tensor.is_pinned())


def has_one_logit(outputs: Tensor, y: Tensor) -> bool:
    """Say whether outputs are the logit of class 1 of two, (B,) or (B, 1)."""
    return outputs.numel() == y.numel() and (outputs.ndim == 1 or outputs.shape[-1] == 1)
