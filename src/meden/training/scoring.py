"""The scores of the rows that score."""

from __future__ import annotations

import numpy as np

from meden.data import Encoder, Source
from meden.data.targets import NumberCodec, Task
from meden.noise import derive
from meden.objective import eval_parts, output_shape, score_rows
from meden.progress import LOST
from meden.run import HeldOut, Run
from meden.training.reading import classes_of, first_rows, read


def score(run: Run, rows: Source, task: Task, *, scale: float = 1.0) -> HeldOut | None:
    """Return the losses of the scored rows, and their scores times ``scale``; None if there are no such rows.

    Those of a model that diverged or was dropped from a race are NaN.
    """
    if len(rows) == 0:
        return None
    if run.status in LOST:
        nothing = np.full(len(rows), np.nan)
        return HeldOut(nothing.astype(np.float32), nothing)
    x, _ = first_rows(rows, run.model)
    num_classes = classes_of(task, output_shape(run.model, x))
    parts = eval_parts(range(len(rows)), x)
    read_parts = read("score", rows, parts, derive(run.seed, "rows"), run.model, num_classes)
    losses, scores = score_rows(run.model, read_parts, task)
    return HeldOut(losses.float().cpu().numpy(), scores.cpu().double().numpy() * scale)


def score_scale(encoder: Encoder) -> float:
    """Return the factor from a squared error of encoded numbers to one in the user's units."""
    return encoder.target.std**2 if isinstance(encoder.target, NumberCodec) else 1.0
