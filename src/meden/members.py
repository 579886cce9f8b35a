"""Train members: one list in, one run each out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from meden._checks import InputError
from meden.data import Dataset, as_dataset
from meden.data.targets import NumberCodec
from meden.history import Record
from meden.member import Member, ModelMaker, Share, build_model, model_arguments, shares
from meden.objective import EVAL_ROWS, evaluating, row_loss, row_score
from meden.run import HeldOut, Run
from meden.trainer import fit


def fit_many(
    make_model: ModelMaker,
    members: Sequence[Member],
    data: Any,
    *,
    on_run: Callable[[int, Run], None] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> list[Run]:
    """Train one model for each member.

    Args:
        make_model: returns a fresh model; called with the member's ``model_args``, and with ``num_inputs`` and
            ``num_outputs`` if it takes them.
        members: recipe, fold and seed of each.
        data: a :class:`meden.data.Dataset` or whatever :func:`meden.data.as_dataset` reads, such as ``(X, y)``.
        on_run: called with the member's number and its run as each ends.
        on_epoch: called with each epoch's record of members that are trained one by one.

    Returns:
        One run for each member, in order. Diverged members are runs like any other.

    Raises:
        InputError: before any compute, if there are no members or data do not fit.
    """
    if not members:
        raise InputError("members must hold at least one meden.Member, got none")
    dataset = as_dataset(data)
    encoded = shares(dataset, [member.fold for member in members])
    runs = []
    for number, member in enumerate(members):
        run = fit_member(make_model, member, dataset, encoded[member.fold], on_epoch)
        runs.append(run)
        if on_run is not None:
            on_run(number, run)
    return runs


def fit_member(make_model: ModelMaker, member: Member, dataset: Dataset, share: Share, on_epoch: Callable[[Record], None] | None = None) -> Run:
    """Train one member alone."""
    model = build_model(make_model, share, dataset, member)
    fold = member.fold
    fitting = slice(None) if fold is None else fold.fit
    valid = None if fold is None or len(fold.stop) == 0 else (share.x[fold.stop], share.y[fold.stop])
    run = fit(
        model,
        (share.x[fitting], share.y[fitting]),
        valid,
        member.recipe,
        seed=member.run_seed,
        task=dataset.task,
        on_epoch=on_epoch,
    )
    held_out = None if fold is None else _score(run, share, fold.score, dataset)
    made_with = model_arguments(make_model, share, dataset, member)
    return dataclasses.replace(run, held_out=held_out, encoder=share.encoder, model_args=made_with)


def _score(run: Run, share: Share, rows: np.ndarray, dataset: Dataset) -> HeldOut:
    """Return the losses and scores of the scored rows; regression scores are in the user's units."""
    if run.status == "diverged":
        nothing = np.full(len(rows), np.nan, dtype=np.float32)
        return HeldOut(nothing, nothing)
    losses, scores = [], []
    with torch.no_grad(), evaluating(run.model):
        for part in torch.as_tensor(rows).split(EVAL_ROWS):
            outputs, y = run.model(share.x[part]), share.y[part]
            losses.append(row_loss(dataset.task, outputs, y))
            scores.append(row_score(dataset.task, outputs, y))
    scale = share.encoder.target.std**2 if isinstance(share.encoder.target, NumberCodec) else 1.0
    return HeldOut(torch.cat(losses).float().numpy(), (torch.cat(scores) * scale).float().numpy())
