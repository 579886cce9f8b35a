"""Rows of members: encodings behind each other in one tensor, and the scores of the rows that score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from meden.data import Dataset, Fold
from meden.data.targets import NumberCodec
from meden.member import EncodedData
from meden.objective import eval_parts, on_device, score_rows
from meden.run import HeldOut, Run


class Rows:
    """All encodings of the data behind each other, and where those of each fold begin."""

    def __init__(self, encoded: Mapping[Fold | None, EncodedData]) -> None:
        distinct = list({id(share): share for share in encoded.values()}.values())
        self.x: Tensor = torch.cat([share.x for share in distinct]) if len(distinct) > 1 else distinct[0].x
        self.y: Tensor = torch.cat([share.y for share in distinct]) if len(distinct) > 1 else distinct[0].y
        places = {id(share): number * len(share.x) for number, share in enumerate(distinct)}
        self.first = {fold: places[id(share)] for fold, share in encoded.items()}


def score(run: Run, share: EncodedData, rows: np.ndarray, dataset: Dataset) -> HeldOut:
    """Return the losses and scores of the scored rows; regression scores are in the user's units.

    A model that diverged or was dropped from a race has none.
    """
    if run.status in ("diverged", "dropped"):
        nothing = np.full(len(rows), np.nan, dtype=np.float32)
        return HeldOut(nothing, nothing)
    parts = [torch.as_tensor(part) for part in eval_parts(rows)]
    read = ((on_device(share.x[part], run.model), on_device(share.y[part], run.model)) for part in parts)
    losses, scores = score_rows(run.model, read, dataset.task)
    scale = share.encoder.target.std**2 if isinstance(share.encoder.target, NumberCodec) else 1.0
    return HeldOut(losses.float().cpu().numpy(), (scores * scale).float().cpu().numpy())
