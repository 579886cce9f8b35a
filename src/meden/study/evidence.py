"""What a diagnosis goes by, of a search: the fits of one configuration."""

from __future__ import annotations

import inspect
import math

from torch import nn

from meden._randomness import own_randomness
from meden.diagnosis import Curve, Evidence
from meden.member import ModelMaker
from meden.noise import derive
from meden.recipe import prepare_noise
from meden.run import HeldOut
from meden.study.ledger import Row
from meden.study.results import Results, Trial


def evidence_of(results: Results, make_model: ModelMaker | None = None) -> Evidence:
    """Return the curves of the choice, ``one_se``, in all folds; of a diverged configuration if there is no choice.

    Args:
        results: of one complete configuration or more.
        make_model: its layers are looked at too; None looks at the curves alone.

    Raises:
        InputError: if no configuration is complete.
    """
    diverged = [trial for trial in results.trials if trial.status == "diverged"]
    trial = diverged[0] if diverged and not results.usable else results.one_se
    curves = tuple(curve_of(row) for row in trial.rows if row.status != "dropped")
    model = None if make_model is None else untrained(make_model, results, trial)
    return Evidence(curves, results.data.constant_loss, model)


def curve_of(row: Row) -> Curve:
    """Return the curves of a fit that was not dropped, and its loss on the rows that did nothing but score."""
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


def untrained(make_model: ModelMaker, results: Results, trial: Trial) -> nn.Module:
    """Return a configuration's model with its noise, before its first step; no rows are needed for it."""
    recipe, model_args = results.recipe_of(trial)
    given = {"num_inputs": results.data.num_inputs, "num_outputs": results.data.num_outputs}
    wanted = inspect.signature(make_model).parameters
    with own_randomness(derive(results.seed, "weights")):
        model = make_model(**{name: value for name, value in given.items() if name in wanted} | model_args)
    prepare_noise(model, recipe, results.seed)
    return model
