"""Recipes with penalties of meden's and of a user's own, to files and back."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import meden
from meden import Activity, InputError, Recipe, Regularizer, StrengthSchedule
from meden.augment import Augmentation
from meden.models import MLP
from meden.penalties import L1, L2, ActivityPenalty, GroupLasso, Penalty, PullTo, Scaled, SparsePenalty, Sum
from tests.contracts import PENALTIES, OneSided
from tests.training.many.witness import blobs


@dataclass(frozen=True)
class Crowded(OneSided):
    """Fields whose names a regularizer has, too."""

    on: str = "rows"
    schedule: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Loudness(ActivityPenalty):
    strength: float
    on: int = 0

    def value(self, a: Tensor) -> Tensor:
        return self.strength * a.abs().max()


@dataclass(frozen=True)
class Wobble(Augmentation):
    std: float = 0.1

    def __call__(self, x: Tensor, y: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
        return x + self.std * draws.normal(len(x), *x.shape[1:]), y

    def check(self, x: Tensor, task: str) -> None:
        pass


@dataclass(frozen=True)
class Kind(OneSided):
    kind: str = "mine"


class Half(OneSided, abc.ABC):
    """A base that is not finished."""

    @abc.abstractmethod
    def more(self) -> None: ...


class Loose(Penalty):
    """No dataclass."""

    separable = convex = has_prox = metric = smooth = True
    is_constraint = False

    def value(self, w: Tensor) -> Tensor:
        return w.sum()

    def grad(self, w: Tensor) -> Tensor:
        return w

    def prox(self, w: Tensor, step: Any) -> Tensor:
        return w / (1 + step)


OWN = {"OneSided": OneSided, "Crowded": Crowded, "Loudness": Loudness}


def saved(recipe: Recipe, folder: Path, **classes: Any) -> Recipe:
    recipe.save(folder / "recipe.yaml")
    return Recipe.load(folder / "recipe.yaml", **classes)


@pytest.mark.parametrize("case", [case for case in PENALTIES if case.name != "AtScale"], ids=str)  # made when bound
def test_every_penalty_survives_a_file(case: Any, tmp_path: Path) -> None:
    recipe = Recipe(regularizers=[Regularizer(case.make(0.25))])
    assert saved(recipe, tmp_path, penalties=OWN) == recipe


@pytest.mark.parametrize(
    "regularizer",
    [
        Regularizer(OneSided(0.1), on=["*.weight", "biases", 0], schedule=StrengthSchedule(end=10)),
        Regularizer(OneSided(np.float32(0.5)), on=-1),
        Regularizer(Crowded(0.1, on="columns"), on="all", coupling="loss", schedule=StrengthSchedule(kind="cosine")),
        Regularizer(Sum((OneSided(0.1), Scaled(PullTo(L2(1.0)), 0.5), GroupLasso(0.1, dim=1))), coupling="loss"),
        Regularizer(Scaled(Sum([Crowded(0.1), L1(0.3)]), 2.0)),
    ],
    ids=lambda r: r.label,
)
def test_a_penalty_of_ones_own_is_saved_by_its_name_and_named_at_loading(
    regularizer: Regularizer, tmp_path: Path
) -> None:
    recipe = Recipe(regularizers=[regularizer])
    assert saved(recipe, tmp_path, penalties=OWN) == recipe
    assert Recipe.from_dict(recipe.to_dict(), penalties=OWN) == recipe
    with pytest.raises(InputError, match=r"name|penalties=\{'(OneSided|Crowded)': (OneSided|Crowded)\}"):
        Recipe.load(tmp_path / "recipe.yaml")


def test_kinds_of_groups_are_saved_and_those_of_one_model_are_refused(tmp_path: Path) -> None:
    regularizers = [
        Regularizer(GroupLasso(0.1), groups="units"),
        Regularizer(Sum((GroupLasso(0.1), L2(0.2))), on="0.*", groups="inputs", schedule=StrengthSchedule(end=9)),
    ]
    recipe = Recipe(regularizers=regularizers)
    assert saved(recipe, tmp_path) == recipe
    assert recipe.to_dict()["regularizers"][0]["groups"] == "units"
    groups = meden.groups_of(MLP(4, 2), torch.zeros(2, 4))
    own = Recipe(regularizers=[Regularizer(GroupLasso(0.1), groups=groups)])
    with pytest.raises(InputError, match=r"groups of GroupLasso\(units\) must be a kind to be written to a file"):
        own.to_dict()
    x, y = blobs(d=4)
    with pytest.raises(InputError, match="must be a kind"):  # before an epoch is lost
        meden.fit(MLP(4, 3), (x, y), recipe=own, checkpoint=tmp_path / "checkpoint", on_epoch=pytest.fail)


def test_the_form_of_usual_regularizers_is_flat() -> None:
    recipe = Recipe(regularizers=[Regularizer(OneSided(0.1), coupling="loss")])
    expected = {"penalty": "OneSided", "strength": 0.1, "on": "weights", "coupling": "loss"}
    assert recipe.to_dict() == {"regularizers": [expected]}


def test_activities_and_augmentations_of_ones_own(tmp_path: Path) -> None:
    recipe = Recipe(activity=[Activity(Loudness(0.1, on=3), on="1")], augment=[Wobble(0.2)])
    assert saved(recipe, tmp_path, penalties=OWN, augmentations={"Wobble": Wobble}) == recipe
    for classes, message in (
        ({"penalties": OWN}, r"augment kind must be one of .*'Wobble'; .*augmentations=\{'Wobble': Wobble\}"),
        (
            {"augmentations": {"Wobble": Wobble}},
            r"activity penalty must be one of .*penalties=\{'Loudness': Loudness\}",
        ),
    ):
        with pytest.raises(InputError, match=message):
            Recipe.load(tmp_path / "recipe.yaml", **classes)


def test_a_run_with_a_penalty_of_ones_own_is_loaded(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, regularizers=[Regularizer(OneSided(0.1))], augment=[Wobble(0.1)])
    run = meden.fit_many(MLP, [meden.Member(recipe)], blobs())[0]
    run.save(tmp_path)
    with pytest.raises(InputError, match=r"penalties=\{'OneSided': OneSided\}"):
        meden.load_run(tmp_path, MLP)
    again = meden.load_run(tmp_path, MLP, penalties=OWN, augmentations={"Wobble": Wobble})
    assert again.recipe == recipe
    assert all(map(torch.equal, again.model.parameters(), run.model.parameters()))


def test_what_is_abstract_is_neither_offered_nor_made() -> None:
    for field, name in (
        ("regularizers", "Penalty"),
        ("regularizers", "SparsePenalty"),
        ("activity", "ActivityPenalty"),
    ):
        with pytest.raises(InputError) as caught:
            Recipe.from_dict({field: [{"penalty": name, "on": "all"}]})
        offered = str(caught.value).split(", got")[0]
        assert "Penalty" not in offered and str(caught.value).endswith(f"got '{name}'")
    with pytest.raises(InputError) as caught:
        Recipe.from_dict({"augment": [{"kind": "Augmentation"}]})
    assert "Augmentation" not in str(caught.value).split(", got")[0]


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Recipe.from_dict({}, penalties=[OneSided]), "penalties must be a mapping of names to classes, got"),
    (
        lambda: Recipe.from_dict({}, penalties={"x": OneSided(1.0)}),
        "penalties must be dataclasses with all methods of Pe",
    ),
    (lambda: Recipe.from_dict({}, penalties={"x": Half}), "must be dataclasses with all methods .* got 'x'"),
    (lambda: Recipe.from_dict({}, penalties={"x": SparsePenalty}), "must be dataclasses with all methods .* got 'x'"),
    (lambda: Recipe.from_dict({}, penalties={"x": Loose}), "must be dataclasses with all methods .* got 'x'"),
    (lambda: Recipe.from_dict({}, penalties={"x": Wobble}), "must be dataclasses with all methods .* got 'x'"),
    (lambda: Recipe.from_dict({}, augmentations={"x": OneSided}), "augmentations must be .* methods of Augmentation"),
    (lambda: Recipe.from_dict({}, penalties={"L1": OneSided}), "names that meden does not use, got 'L1'"),
    (lambda: Regularizer(Loose()), "penalty must be .* a frozen dataclass that is a Penalty"),
    (lambda: Recipe.from_dict({"regularizers": [{"penalty": ["L1"]}]}), r"penalty must be one of .* got \['L1'\]$"),
    (lambda: Recipe.from_dict({"regularizers": [{"strength": 1}]}), "penalty must be one of .* got None$"),
    (
        lambda: Recipe.from_dict({"regularizers": [{"penalty": "L1", "strength": 1, "schedule": 3}]}),
        "schedule must be .* got 3",
    ),
    (lambda: Recipe.from_dict({"regularizers": [{"penalty": "L1", "size": 3}]}), "penalty L1 cannot be made from"),
    (lambda: Recipe.from_dict({"regularizers": [{"penalty": "ElasticNett"}]}), "did you mean 'ElasticNet'"),
    (
        lambda: Recipe(regularizers=[Regularizer(L1(0.1), on=nn.Linear)]).to_dict(),
        r"L1\(Linear\) on must be a plain value",
    ),
    (lambda: Recipe(regularizers=[Regularizer(L1(0.1), on=["all", nn.Linear])]).to_dict(), "on must be a plain value"),
    (lambda: Recipe(regularizers=[Regularizer(L1(torch.ones(2)))]).to_dict(), "strength must be a plain value"),
    (lambda: Recipe(regularizers=[Regularizer(Kind(1.0))]).to_dict(), "must rename its field kind"),
    (
        lambda: Recipe.from_dict({"activity": [{"penalty": "ActivityL1", "strength": 1, "on": 3.5}]}),
        "on must be a role",
    ),
    (lambda: Recipe(activity=[Activity(Loudness(1.0), on=nn.ReLU)]).to_dict(), "on must be a plain value"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input_is_one_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_class_with_the_name_of_one_of_ours_is_not_taken_for_it() -> None:
    mine = type("L1", (OneSided,), {})
    with pytest.raises(InputError, match="must have a class with a name"):
        Recipe(regularizers=[Regularizer(mine(0.1))]).to_dict()
