"""Where a path came from: what makes its models, and what is trained once a support is chosen."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.history import History
from meden.member import EncodedData, Member, ModelMaker, as_taken, build_model, constant_loss, encode_folds
from meden.noise import derive
from meden.objective import evaluating, on_device
from meden.optim import Regularizer
from meden.penalties import SparsePenalty
from meden.recipe import Recipe
from meden.run import Run
from meden.search.path_groups import held, names_of, penalised
from meden.search.path_walk import DENSE
from meden.structure import Kind, ModelGroups, groups_of
from meden.study.final_states import FinalStates, run_of
from meden.study.ledger import Key, Row
from meden.training.fit_many import fit_many

Params = Mapping[str, Any]


class Diverged(InputError):
    """The recipe of a path does not train."""


@dataclass(eq=False)
class PathSource:
    """Model, data and recipe of a path, and where its runs ended."""

    make_model: ModelMaker
    dataset: Dataset
    folds: Sequence[Fold]
    penalty: SparsePenalty
    """At strength 1."""
    kind: Kind
    recipe: Recipe
    """Without the penalty; what starts from fresh weights is trained for its epochs."""
    epochs: int
    """Of what starts from where another strength ended."""
    num_seeds: int
    seed: int
    ends: FinalStates
    rows: Mapping[Key, Row] = field(default_factory=dict)
    """Of the ledger."""

    def __post_init__(self) -> None:
        self.dataset = as_taken(self.make_model, self.dataset, Member(self.recipe, self.folds[0]))
        self._found: dict[tuple[str, ...], ModelGroups] = {}
        self.shares: dict[Fold | None, EncodedData] = encode_folds(self.dataset, self.folds)

    def keys(self, configuration: int) -> list[Key]:
        """Return the keys of a configuration's runs, by fold, then seed."""
        return [Key(configuration, fold, seed) for fold in range(len(self.folds)) for seed in range(self.num_seeds)]

    @functools.cached_property
    def groups(self) -> tuple[ModelGroups, ...]:
        """Of each fold's models, whose inputs its fitting rows decide."""
        return tuple(self.groups_of(self.shares[fold], fold) for fold in self.folds)

    def groups_of(self, share: EncodedData, fold: Fold | None) -> ModelGroups:
        """Return the groups of the models of some rows."""
        columns = share.encoder.input_columns
        if columns not in self._found:
            model = build_model(self.make_model, share, self.dataset, Member(self.recipe, fold))
            named = columns if self.kind == "inputs" else None
            self._found[columns] = groups_of(model, on_device(share.x[:2], model), self.kind, columns=named)
        return self._found[columns]

    @functools.cached_property
    def varies(self) -> tuple[Tensor, ...]:
        """Say of each fold's inputs whether they vary in its fitting rows, (F,) of (...)."""
        each = ((self.shares[fold].x, fold.fit) for fold in self.folds)
        return tuple((x[rows] != x[rows[:1]]).any(dim=0) for x, rows in each)

    def varying(self, fold: int) -> frozenset[str]:
        """Return the names of a fold's groups without those of inputs that are constant, which say nothing."""
        names, varies = names_of([self.groups[fold]]), self.varies[fold]
        columns = self.shares[self.folds[fold]].encoder.input_columns
        if self.kind != "inputs" or varies.shape != (len(columns),):
            return frozenset(names)
        some = {name for name, own in zip(columns, varies.tolist(), strict=True) if own}
        return frozenset(names) - (set(columns) - some)

    def penalised(self, strength: float, fold: int) -> tuple[Regularizer, ...]:
        """Return what puts the penalty on the groups of a fold's models, one for each set."""
        return penalised(self.penalty.replace({"strength": strength}), self.groups[fold], self.dataset.num_outputs)

    def member(self, key: Key, params: Params) -> Member:
        """Return what is trained: from weights of its own, or from where another configuration ended."""
        strength, before = params["strength"], params["from"]
        constant = held(self.groups[key.fold], self.varying(key.fold))
        regularizers = (*self.penalised(strength, key.fold), *constant)
        changes: dict[str, Any] = {"regularizers": (*self.recipe.regularizers, *regularizers)}
        if before is not None:
            changes["epochs"] = self.epochs
        start = None
        if before is not None:
            end = self.ends[key._replace(configuration=before)]
            start = end.weights if math.isfinite(objective(end.history)) else None
        seed = derive(self.seed, "seed", key.seed)
        return Member(self.recipe.replace(**changes), self.folds[key.fold], seed, start=start)

    def objective(self, key: Key) -> float:
        """Return training loss plus penalties where a run ended; infinite where it diverged."""
        return objective(self.ends[key].history)

    def norms(self, key: Key) -> dict[str, float]:
        """Return the norm of each group where a run ended; NaN where a number is not finite."""
        weights, groups = self.ends[key].weights, self.groups[key.fold]
        parts = ((own.names, torch.linalg.vector_norm(own.take(weights).double(), dim=1)) for own in groups.sets)
        return {name: value for names, norms in parts for name, value in zip(names, norms.tolist(), strict=True)}

    def is_empty(self, configuration: int) -> bool:
        """Say whether no run of a configuration has a group left; those that diverged have no say."""
        sound = [key for key in self.keys(configuration) if math.isfinite(self.objective(key))]
        return not any(norm for key in sound for norm in self.norms(key).values())

    def strength_max(self) -> float:
        """Return the smallest strength at which zeros are a solution for all dense models, as they are otherwise.

        Where zeros are one at any strength (of all units none has a gradient), it is the one at which the dense model
        is worth no more than its penalty costs.

        Raises:
            Diverged: if every dense model has.
            InputError: if there is none.
        """
        runs = zip(self.keys(DENSE), self.runs_of(DENSE), strict=True)
        each = [self._strength_max(run, key.fold) for key, run in runs if run.failure == ""]
        if not each:
            raise Diverged("recipe must train without the penalty, got only runs that diverged: lower its lr")
        largest = max(each)
        if not (math.isfinite(largest) and largest > 0):
            raise InputError("strengths must be given, since the inputs are uncorrelated with the target")
        return largest

    def _strength_max(self, run: Run, fold: int) -> float:
        share, rows, groups = self.shares[self.folds[fold]], self.folds[fold].fit, self.groups[fold]
        y = self.dataset.targets(share.encoder, rows)
        residuals = _residuals(y, len(self.dataset.classes))
        gradients = gradient_at_zero(run.model, groups, share.x[rows], residuals)
        each = [regularizer.penalty for regularizer in self.penalised(1.0, fold)]
        found = [
            float(own.strength_max(gradient))
            for own, gradient in zip(each, gradients, strict=True)
            if isinstance(own, SparsePenalty)
        ]
        if largest := max(found):
            return largest
        weights = {name: param.detach() for name, param in run.model.named_parameters()}
        cost = sum(float(own.value(part.take(weights))) for own, part in zip(each, groups.sets, strict=True))
        return max(constant_loss(self.dataset) - run.history[-1].train["loss"], 0.0) / cost if cost else 0.0

    def runs_of(self, *configurations: int) -> tuple[Run, ...]:
        """Return runs as they were where they ended: all of one configuration, or one of each for each run."""
        each = configurations if len(configurations) > 1 else configurations * len(self.keys(0))
        return tuple(self._run(key._replace(configuration=c)) for key, c in zip(self.keys(0), each, strict=True))

    def _run(self, key: Key) -> Run:
        row = self.rows[key]
        member = self.member(key, {**row.params, "from": None})
        return run_of(self.make_model, self.dataset, self.shares[member.fold], member, self.ends[key], row)

    def refit(self, kept: Sequence[str], seed: int | None) -> Run:
        """Train on all rows with only some groups."""
        member = Member(self.recipe, None, self.seed if seed is None else seed)
        share = encode_folds(self.dataset, [None])[None]
        regularizers = (*self.recipe.regularizers, *held(self.groups_of(share, None), kept))
        zeroed = replace(member, recipe=self.recipe.replace(regularizers=regularizers))
        return fit_many(self.make_model, [zeroed], self.dataset)[0]


def objective(history: History) -> float:
    """Return training loss plus penalties at the end; infinite where it diverged."""
    last = history[-1]
    return last.train["loss"] + sum(last.penalties.values()) if last.is_finite() else math.inf


def _residuals(y: Tensor, num_classes: int) -> Tensor:
    """Return the gradient of each row's loss with respect to its outputs, (n, C), at the best constant model."""
    wide = one_hot(y, num_classes).double() if num_classes else y.reshape(len(y), -1).double()
    return (wide.mean(0) - wide).float()


def gradient_at_zero(model: nn.Module, groups: ModelGroups, x: Tensor, residuals: Tensor) -> list[Tensor]:
    """Return the gradient of the data loss with respect to each set of groups where all are zero, (G, S) each.

    The model then answers all rows alike; what else it has is taken to make that the best constant model.

    Args:
        model: whose other tensors stay as they are.
        groups: of the model.
        x: (n, ...) inputs.
        residuals: (n, C) gradient of each row's loss with respect to the outputs, at the best constant model.
    """
    params = dict(model.named_parameters())
    names = {piece.name for own in groups.sets for piece in own.pieces}
    before = {name: params[name].detach().clone() for name in names}
    wanted = [params[name] for name in names]
    with torch.no_grad():
        for own in groups.sets:
            own.put(torch.zeros_like(own.take(params)), params)
    try:
        with evaluating(model), torch.enable_grad():
            outputs = model(on_device(x, model)).reshape(len(x), -1)
            found = torch.autograd.grad(outputs, wanted, on_device(residuals, model).to(outputs) / len(x))
    finally:
        with torch.no_grad():
            for name, tensor in before.items():
                params[name].copy_(tensor)
    gradients = dict(zip(names, found, strict=True))
    return [own.take(gradients) for own in groups.sets]
