"""What a diagnosis goes by, of a search: the fits of one configuration."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from meden._checks import InputError
from meden._randomness import own_randomness
from meden.diagnosis import Curve, Evidence
from meden.diagnosis.memorisation import memorisation_of
from meden.member import ModelMaker
from meden.models.named import check_within, model_name
from meden.noise import derive
from meden.recipe import prepare_noise
from meden.run import HeldOut
from meden.space.names import SIMPLER_WHEN_LARGER
from meden.study.ledger import Row
from meden.study.results import Results, Trial
from meden.study.row_losses import are_kept, kept_losses
from meden.study.verdict import EDGE

MOST_TENSORS, MOST_NUMBERS = 10_000, 10**8
"""Parameters, as tensors and in all, of a model that is looked at."""


def evidence_of(results: Results, make_model: ModelMaker | None = None) -> Evidence:
    """Return the curves of the choice in all folds; of a diverged configuration if there is no choice.

    Args:
        results: of one complete configuration or more.
        make_model: its layers are looked at too; None looks at the curves alone.

    Raises:
        InputError: if no configuration is complete.
    """
    diverged = [trial for trial in results.trials if trial.status == "diverged"]
    trial = diverged[0] if diverged and not results.usable else results.choice
    curves = tuple(curve_of(row) for row in trial.rows if row.status != "dropped")
    model = None if make_model is None else untrained(make_model, results, trial)
    more = more_in_reach(results, trial)
    known = memorisation_of(kept_losses(results, trial)) if are_kept(results, trial) else None
    return Evidence(curves, results.data.constant_loss, model, searched=True, more_in_reach=more, memorisation=known)


def more_in_reach(results: Results, trial: Trial) -> bool:
    """Say whether a configuration could have had more of anything that regularises, within the ranges searched."""
    kinds = [name for name in SIMPLER_WHEN_LARGER if name in results.space]
    return any(results.space[name].position(trial.params[name]) < 1 - EDGE for name in kinds)


def curve_of(row: Row) -> Curve:
    """Return the curves of a fit that was not dropped, and its loss on the rows that did nothing but score."""
    if row.status == "diverged":
        return Curve(train=row.train_loss, lost=row.reason, fold=row.fold)
    scored = HeldOut(row.losses, row.scores, row.outputs)
    return Curve(
        train=row.train_loss,
        held_out=row.stop_loss if all(map(math.isfinite, row.stop_loss)) else (),
        kept=row.best_epoch,
        scored=scored.loss,
        scored_error=scored.loss_error,
        fold=row.fold,
    )


def untrained(make_model: ModelMaker, results: Results, trial: Trial) -> nn.Module | None:
    """Return a configuration's model with its noise, before its first step; no rows are needed for it.

    None is one of meden's own that is too large to be made for a look: a file of a few bytes can ask for any width.
    """
    recipe, model_args = results.recipe_of(trial)
    given = {"num_inputs": results.data.num_inputs, "num_outputs": results.data.num_outputs}
    wanted = inspect.signature(make_model).parameters
    arguments = {name: value for name, value in given.items() if name in wanted} | model_args
    if model_name(make_model) is not None and not _is_moderate(make_model, arguments):
        return None
    with own_randomness(derive(results.seed, "weights")):
        model = make_model(**arguments)
    prepare_noise(model, recipe, results.seed)
    return model


def _is_moderate(make_model: ModelMaker, arguments: Mapping[str, Any]) -> bool:
    try:
        check_within(make_model, arguments, MOST_TENSORS, MOST_NUMBERS, "model must be smaller")
    except InputError:
        return False
    return True
