"""Rows of members: encodings behind each other in one tensor, and the scores of the rows that score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from meden.data import Encoder, Fold, Source
from meden.data.targets import NumberCodec, Task
from meden.member import EncodedData
from meden.noise import derive
from meden.objective import eval_parts, output_shape, score_rows
from meden.progress import LOST
from meden.run import HeldOut, Run
from meden.training.reading import classes_of, first_rows, read


class Rows:
    """Encodings of the data of one width behind each other, and where those of each fold begin."""

    def __init__(self, encoded: Mapping[Fold | None, EncodedData]) -> None:
        distinct = list({id(share.x): share for share in encoded.values()}.values())
        self.x: Tensor = torch.cat([share.x for share in distinct]) if len(distinct) > 1 else distinct[0].x
        self.y: Tensor = torch.cat([share.y for share in distinct]) if len(distinct) > 1 else distinct[0].y
        places = {id(share.x): number * len(share.x) for number, share in enumerate(distinct)}
        self.first = {fold: places[id(share.x)] for fold, share in encoded.items()}


def rows_of(encoded: Mapping[Fold | None, EncodedData]) -> dict[Fold | None, Rows]:
    """Return for each fold the tensor that its encoding lies in, with all others of its width."""
    alike: dict[torch.Size, dict[Fold | None, EncodedData]] = {}
    for fold, share in encoded.items():
        alike.setdefault(share.x.shape[1:], {})[fold] = share
    return {fold: rows for shares in alike.values() for rows in [Rows(shares)] for fold in shares}


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
