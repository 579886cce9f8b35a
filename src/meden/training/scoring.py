"""The scores of the rows that score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meden.data import Encoder, Part, Source
from meden.data.targets import NumberCodec, TargetCodec, Task
from meden.noise import derive
from meden.objective import eval_parts, evaluated, output_shape, row_answers, row_loss, row_score, row_weight
from meden.progress import LOST
from meden.run import HeldOut, Run, SeenLosses
from meden.training.reading import classes_of, first_rows, read


def score(run: Run, rows: Source, task: Task, codec: TargetCodec | None = None) -> HeldOut | None:
    """Return what a model makes of the scored rows; None if there are no such rows.

    Losses and scores of a model that diverged or was dropped from a race are NaN.

    Args:
        run: of the model.
        rows: that score.
        task: what their targets are.
        codec: of the targets, into whose units outputs and squared errors return; None leaves them as they are.
    """
    if len(rows) == 0:
        return None
    if run.status in LOST:
        nothing = np.full(len(rows), np.nan)
        return HeldOut(nothing.astype(np.float32), nothing, np.empty((len(rows), 0)))
    return score_model(run.model, rows, task, run.seed, codec)


def seen_losses(run: Run, source: Source, parts: Sequence[NDArray[np.int64]], task: Task) -> SeenLosses | None:
    """Return the loss of each row that a model was made by; None if it diverged or was dropped from a race.

    Args:
        run: of the model.
        source: all rows.
        parts: numbers of those that trained, and of those that decided when to stop.
        task: what their targets are.
    """
    if run.status in LOST:
        return None
    nothing = np.empty(0, dtype=np.float32)
    fit, stop = (
        score_model(run.model, Part(source, rows), task, run.seed).losses if len(rows) else nothing for rows in parts
    )
    return SeenLosses(fit, stop)


def score_model(model: nn.Module, rows: Source, task: Task, seed: int, codec: TargetCodec | None = None) -> HeldOut:
    """Return what a model makes of rows, 1 or more; ``seed`` is that of its run, for rows that are read as needed."""
    x, _ = first_rows(rows, model)
    shape = output_shape(model, x)
    num_classes = classes_of(task, shape)
    parts = eval_parts(range(len(rows)), x, shape)
    read_parts = read("score", rows, parts, derive(seed, "rows"), model, num_classes)
    found = [
        (row_loss(task, outputs, y), row_score(task, outputs, y), row_weight(task, y), row_answers(task, outputs, y))
        for outputs, y in evaluated(model, read_parts)
    ]
    losses, scores, weights, outputs = (torch.cat(own) for own in zip(*found, strict=True))
    losses, scores = _per_row(losses, weights), _per_row(scores, weights)
    scale = 1.0 if codec is None else squared_scale(codec)
    answers = outputs.float().cpu().numpy()
    if task == "regression":
        answers = (
            outputs.cpu().double().numpy() if codec is None else codec.decode(outputs).values.reshape(len(rows), -1)
        )
    return HeldOut(losses.float().cpu().numpy(), scores.cpu().double().numpy() * scale, answers)


def _per_row(values: Tensor, weights: Tensor) -> Tensor:
    """Return numbers (n,) whose mean is that of all the tokens that count, and whose spread is that of this mean.

    They are the mean plus what each row adds to a ratio of sums, linearised (W. Cochran, Sampling techniques, 1977): a
    row of few tokens is no outlier. Where all rows count alike they are the values themselves.
    """
    values, weights = values.double(), weights.double()
    if bool((weights == 1).all()):
        return values
    mean = values.sum() / weights.sum()
    return mean + (values - mean * weights) / weights.mean()


def score_scale(encoder: Encoder) -> float:
    """Return the factor from a squared error of encoded numbers to one in the user's units."""
    return squared_scale(encoder.target)


def squared_scale(codec: TargetCodec) -> float:
    """Return the factor from a squared error of a codec's numbers to one in the user's units."""
    return codec.std**2 if isinstance(codec, NumberCodec) else 1.0
