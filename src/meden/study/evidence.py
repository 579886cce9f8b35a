"""What a diagnosis goes by, of a search: the fits of one configuration."""

from __future__ import annotations

import dataclasses
import inspect
import math
import shlex
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from torch import nn

from meden._checks import InputError
from meden._randomness import own_randomness
from meden.data import BUNDLED
from meden.diagnosis import Answers, Curve, Evidence, Lead, Plan, SearchEvidence, source_of
from meden.diagnosis.memory.memorisation import memorisation_of
from meden.member import ModelMaker
from meden.models.named import check_within, model_name
from meden.noise import derive
from meden.recipe import prepare_noise
from meden.report.numbers import number
from meden.run import HeldOut, answers_of, plan_of
from meden.space.names import SIMPLER_WHEN_LARGER
from meden.study.edges import EDGE, edges_of, written
from meden.study.flat_region import flat_region
from meden.study.ledger import Row
from meden.study.metrics import spoken
from meden.study.results import Results, Trial
from meden.study.row_losses import are_kept, kept_losses
from meden.study.verdict import gain_text

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
    kept = are_kept(results, trial)
    source, classes = _source(results), results.data.task == "classification"
    return Evidence(
        curves,
        results.data.constant_loss,
        model,
        searched=True,
        memorisation=memorisation_of(kept_losses(results, trial)) if kept else None,
        losses_kept=kept,
        more_in_reach=more,
        plan=_plan(results, trial),
        search=search_of(results) if results.usable else None,
        answers=_answers(trial, source) if classes else None,
        of_classes=classes,
        source=source,
    )


def search_of(results: Results) -> SearchEvidence:
    """Return the numbers of a search that has something to choose.

    Edges are those at which both the best and the choice lie: the simplest within one standard error is often at the
    end of a range since all its neighbours are as good.
    """
    region = flat_region(results)
    of_best = {(edge.name, edge.end) for edge in edges_of(results, results.best)}
    return SearchEvidence(
        num_tried=len(results.trials),
        num_finished=region.num_configurations,
        num_names=sum(len({repr(end) for end in dimension.edges()}) > 1 for dimension in results.space.values()),
        num_alike=len(region.numbers) if region.status == "ok" else None,
        flat=region.status == "ok" and region.flat,
        alike=region.sentence.removesuffix("."),
        edges=tuple(edge for edge in edges_of(results, results.choice) if (edge.name, edge.end) in of_best),
        leads=tuple(_leads(results)),
        source=_source(results),
        ranges={name: shlex.quote(written(dimension)) for name, dimension in results.space.items()},
    )


def _leads(results: Results) -> Iterator[Lead]:
    """Return by how much the best leads the second best, and the choice the plain network."""
    differences, errors = results.differences_from_best()
    ranked = [place for place in np.argsort(differences, kind="stable") if math.isfinite(differences[place])]
    num_folds = results.num_folds_told
    if len(ranked) > 1 and num_folds > 1:
        lead, margin = float(differences[ranked[1]]), student(num_folds - 1) * float(errors[ranked[1]])
        text = f"{spoken(results.chosen_by)} {number(lead)} ({number(lead - margin)} to {number(lead + margin)})"
        yield Lead(over="the second best", estimate=lead, interval=(lead - margin, lead + margin), text=text)
    if any(trial.baseline == "plain" and trial.status == "ok" for trial in results.baselines):
        gain = results.gain_over("plain")
        wider = NormalDist().inv_cdf(0.975) / NormalDist().inv_cdf((1 + gain.confidence) / 2)
        low, high = (gain.estimate + wider * (end - gain.estimate) for end in (gain.low, gain.high))
        gain = dataclasses.replace(gain, low=low, high=high, confidence=0.95)
        yield Lead(
            over="the same network without regularisation",
            estimate=gain.estimate,
            interval=(low, high),
            text=gain_text(gain),
        )


def student(degrees: int) -> float:
    """Return the standard errors to either side of a mean of few numbers within which it lies in 95 % of the cases."""
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))


def _plan(results: Results, trial: Trial) -> Plan:
    if results.model.trains:
        return Plan()
    return plan_of(results.recipe_of(trial)[0], min((len(fold.fit) for fold in results.folds), default=None))


def _answers(trial: Trial, source: str) -> Answers | None:
    """Return the answers for all scored rows, each once: those of the first seed."""
    first = min(row.seed for row in trial.rows)
    return answers_of((HeldOut(row.losses, row.scores, row.outputs) for row in trial.rows if row.seed == first), source)


def _source(results: Results) -> str:
    """Return how a command line names the data and the network; empty where it cannot train it."""
    origin = results.data.origin or {}
    place = origin.get("data")
    target = None if place in BUNDLED else results.data.target
    return source_of(results.model.name, place, target, origin)


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
