"""Groups that span tensors in trainings: found by their kind, alone and in stacks, recorded, resumed, averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import meden
from meden import InputError, Member, Recipe, Regularizer
from meden.data import as_dataset, make_folds
from meden.member import build_model, encode_folds
from meden.models import MLP
from meden.optim import Averaging
from meden.penalties import L1, GroupLasso, GroupMCP, PullTo
from meden.training.fit import prepare
from tests.training.many.witness import alone, assert_same_run, blobs, crossed


def recipe(*regularizers: Regularizer, **fields: object) -> Recipe:
    usual = {"optimizer": "adam", "lr": 0.02, "epochs": 12, "batch_size": 16}
    return Recipe(regularizers=regularizers, **{**usual, **fields})


def double(num_inputs: int, num_outputs: int, width: int = 8) -> nn.Module:
    return MLP(num_inputs, num_outputs, width=width, depth=2, activation="tanh").double()


def zero_units(model: nn.Module) -> int:
    """Of layers of biases, those of which row and bias are zero; the last layer's are none that may leave."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][:-1]
    return sum(int(((layer.weight == 0).all(1) & (layer.bias == 0)).sum()) for layer in layers)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_units_leave_and_are_counted(optimizer: str) -> None:
    x, y = blobs()
    lr = 0.2 if optimizer == "sgd" else 0.02
    own = recipe(Regularizer(GroupLasso(0.03), groups="units"), optimizer=optimizer, lr=lr, epochs=40)
    model = double(5, 3)
    run = meden.fit(model, (x.astype(np.float64), y), recipe=own)
    counts = run.history.column("num_zero_groups.GroupLasso(units)")
    assert counts[0] == 0 and 0 < counts[-1] < 16
    assert zero_units(run.model) == counts[run.best_epoch - 1]
    assert run.history[-1].penalties.keys() == {"GroupLasso(units)"}
    assert run.recipe == own  # which names the kind, and no groups of one model
    assert meden.History.from_list(run.history.to_list()) == run.history


def table(num: int = 90) -> pd.DataFrame:
    """Two columns of levels, of which each has one rare level that only some folds' fitting rows have."""
    rng = np.random.default_rng(0)
    pets, towns = rng.choice(["cat", "dog"], num), rng.choice(["a", "b"], num)
    pets[rng.choice(num // 3, 5, replace=False)] = "owl"
    towns[num // 3 + rng.choice(num // 3, 5, replace=False)] = "c"
    y = (pets == "cat") + 0.3 * rng.normal(size=num)
    return pd.DataFrame({"pet": pets, "town": towns, "age": rng.normal(size=num), "y": y.astype(np.float32)})


def test_columns_of_a_table_leave_as_a_whole_also_where_folds_know_other_levels() -> None:
    dataset = as_dataset(table(), target="y")
    rows = np.arange(90)
    folds = make_folds(dataset, 3, seed=0)
    parts = [rows[rows // 30 == part] for part in range(3)]
    folds = [
        replace(f, fit=np.setdiff1d(rows, own), stop=own[:0], score=own) for f, own in zip(folds, parts, strict=True)
    ]
    members = [
        Member(recipe(Regularizer(GroupLasso(s), groups="inputs"), epochs=20), fold, 0, {"width": 4})
        for s in (0.02, 0.1)
        for fold in folds[:2]
    ]
    encoders = [dataset.fit_encoder(fold.fit) for fold in folds[:2]]
    assert encoders[0].num_inputs == encoders[1].num_inputs
    assert encoders[0].input_columns != encoders[1].input_columns
    runs = meden.fit_many(double32, members, dataset)
    for run, member in zip(runs, members, strict=True):
        share = encode_folds(dataset, [member.fold])[member.fold]
        model, rows = build_model(double32, share, dataset, member), member.fold.fit
        columns = share.encoder.input_columns
        training = prepare(
            model, (share.x[rows], share.y[rows]), None, member.recipe, seed=member.run_seed, columns=columns
        )
        assert_same_run(run, training.run(), rtol=1e-3)
        zeros = (first_weight(run.model) == 0).all(0).tolist()
        by_column = {name: {z for c, z in zip(columns, zeros, strict=True) if c == name} for name in columns}
        assert all(len(found) == 1 for found in by_column.values())
        assert run.history[-1].num_zero_groups == {
            "GroupLasso(inputs)": sum(found == {True} for found in by_column.values())
        }
    assert {run.history[-1].num_zero_groups["GroupLasso(inputs)"] for run in runs} > {2}


def double32(num_inputs: int, num_outputs: int, width: int = 4) -> nn.Module:
    return MLP(num_inputs, num_outputs, width=width, depth=1, activation="tanh")


def first_weight(model: nn.Module) -> Tensor:
    return next(layer.weight for layer in model.modules() if isinstance(layer, nn.Linear))


def test_strengths_and_widths_of_members_differ() -> None:
    data = blobs()
    recipes = [recipe(Regularizer(GroupLasso(s), groups="units"), epochs=25) for s in (1e-3, 0.05, 0.3)]
    members = [Member(r, None, i, {"width": w}) for i, (r, w) in enumerate(zip(recipes, (8, 8, 5), strict=True))]
    runs = meden.fit_many(double, members, data)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(double, member, data))
    few, some, all_ = (run.history[-1].num_zero_groups["GroupLasso(units)"] for run in runs)
    assert few == 0 < some < 16 and all_ == 10


def test_groups_of_one_model_serve_a_stack_of_its_like_and_no_other() -> None:
    data = blobs()
    groups = meden.groups_of(double(5, 3), torch.zeros(2, 5, dtype=torch.float64), outgoing=False)
    own = [recipe(Regularizer(GroupMCP(s), groups=groups)) for s in (0.01, 0.02, 0.1)]
    for run, member in zip(meden.fit_many(double, crossed(own, data), data), crossed(own, data), strict=True):
        assert_same_run(run, alone(double, member, data))
    with pytest.raises(
        InputError, match=r"groups of GroupMCP\(units\) must belong to this model, whose .* has shape \(5, "
    ):
        meden.fit_many(double, [Member(own[0], None, 0, {"width": 5})], data)


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    x, y = blobs()
    own = recipe(
        Regularizer(PullTo(GroupLasso(0.02)), groups="units"),
        Regularizer(GroupLasso(0.02), groups="inputs"),
        averaging=Averaging(decay=0.9),
    )

    def start() -> nn.Module:
        torch.manual_seed(0)
        return double(5, 3)

    data = (x.astype(np.float64), y)
    expected = meden.fit(start(), data, recipe=own)
    stop = RuntimeError("killed")

    def kill(record: meden.Record) -> None:
        if record.epoch == 5:
            raise stop

    with pytest.raises(RuntimeError, match="killed"):
        meden.fit(start(), data, recipe=own, checkpoint=tmp_path / "c", on_epoch=kill)
    found = meden.fit(start(), data, recipe=own, checkpoint=tmp_path / "c")
    assert_same_run(found, expected, rtol=0)


class Branching(nn.Module):
    def __init__(self, num_inputs: int = 5, num_outputs: int = 3) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(num_inputs, num_outputs), nn.Linear(num_inputs, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else self.b(x)  # type: ignore[no-any-return]


def test_what_cannot_be_found_is_refused_before_training() -> None:
    x, y = blobs()
    units = recipe(Regularizer(GroupLasso(0.1), groups="units"))
    for train in (
        lambda make, own: meden.fit(make(), (x, y), recipe=own, on_epoch=pytest.fail),
        lambda make, own: meden.fit_many(make, [Member(own, None)], (x, y)),
        lambda make, own: meden.compare(make, (x, y), {"a": own, "b": Recipe()}, folds=2),
    ):
        with pytest.raises(InputError, match=r"model must be traceable by torch.export"):
            train(Branching, units)
        with pytest.raises(InputError, match="heads"):
            train(lambda: MLP(5, 3), recipe(Regularizer(GroupLasso(0.1), groups="heads")))


def test_a_search_takes_a_recipe_with_groups(tmp_path: Path) -> None:
    own = recipe(Regularizer(GroupLasso(0.01), groups="units"), Regularizer(L1(1e-4)), epochs=2)
    study = meden.tune(
        MLP, blobs(), {"lr": meden.LogUniform(1e-3, 1e-1)}, recipe=own, folds=2, budget=2, study_dir=tmp_path / "study"
    )
    assert meden.load_study(tmp_path / "study").recipe.regularizers == own.regularizers
    run = study.refit()
    assert "num_zero_groups" in run.history.to_list()[-1]
    run.save(tmp_path / "run")
    assert meden.load_run(tmp_path / "run", MLP).recipe.regularizers == run.recipe.regularizers
