"""What a diagnosis goes by, of a search: the trainings of one configuration."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import entropy
from torch import nn

from meden.data import Dataset
from meden.data.tables import Table
from meden.diagnosis import Curve
from meden.member import Member, ModelMaker, build_model, shares
from meden.recipe import prepare_noise
from meden.run import LOST, HeldOut
from meden.search.ledger import Row


def curve_of(row: Row) -> Curve:
    """Return the curves of a training, and its loss on the rows that did nothing but score."""
    if row.status in LOST:
        return Curve(train=row.train_loss, lost=row.reason)
    scored = HeldOut(row.losses, row.scores)
    return Curve(
        train=row.train_loss,
        held_out=row.stop_loss if all(map(math.isfinite, row.stop_loss)) else (),
        kept=row.best_epoch,
        scored=scored.loss,
        scored_error=scored.loss_error,
    )


def constant_loss(dataset: Dataset) -> float:
    """Return the loss of the best constant answer: the entropy of the classes, or half the variance of the numbers.

    Several answers of a row count as in the data loss: a mean over labels, a sum over numbers.

    Example:
        >>> from meden.data import as_dataset
        >>> round(constant_loss(as_dataset("iris")), 3)  # log(3)
        1.099
    """
    columns = dataset.labels.reshape(dataset.num_rows, -1).T
    if dataset.task == "classification":
        return float(np.mean([entropy(np.bincount(column, dataset.weights)) for column in columns]))
    if isinstance(dataset.inputs, Table):  # whose targets are standardised
        return len(columns) / 2
    means = np.average(columns, axis=1, weights=dataset.weights, keepdims=True)
    return float(np.average((columns - means) ** 2, axis=1, weights=dataset.weights).sum()) / 2


def untrained(make_model: ModelMaker, dataset: Dataset, member: Member) -> nn.Module:
    """Return a member's model with its noise, before its first step."""
    model = build_model(make_model, shares(dataset, [member.fold])[member.fold], dataset, member)
    prepare_noise(model, member.recipe, member.run_seed)
    return model
