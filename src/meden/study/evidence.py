"""What a diagnosis goes by, of a search: the trainings of one configuration."""

from __future__ import annotations

import math

from torch import nn

from meden.data import Dataset
from meden.diagnosis import Curve
from meden.member import Member, ModelMaker, build_model, encode_folds
from meden.recipe import prepare_noise
from meden.run import HeldOut
from meden.study.ledger import Row


def curve_of(row: Row) -> Curve:
    """Return the curves of a training that was not dropped, and its loss on the rows that did nothing but score."""
    if row.status == "diverged":
        return Curve(train=row.train_loss, lost=row.reason, fold=row.fold)
    scored = HeldOut(row.losses, row.scores)
    return Curve(
        train=row.train_loss,
        held_out=row.stop_loss if all(map(math.isfinite, row.stop_loss)) else (),
        kept=row.best_epoch,
        scored=scored.loss,
        scored_error=scored.loss_error,
        fold=row.fold,
    )


def untrained(make_model: ModelMaker, dataset: Dataset, member: Member) -> nn.Module:
    """Return a member's model with its noise, before its first step."""
    model = build_model(make_model, encode_folds(dataset, [member.fold])[member.fold], dataset, member)
    prepare_noise(model, member.recipe, member.run_seed)
    return model
