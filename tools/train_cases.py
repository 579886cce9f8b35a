"""Train fixed cases with whatever meden is on the path, and print all their numbers; `same_bits.py` compares them.

    PYTHONPATH=src:. python tools/train_cases.py GLOB

The recipes are those of `tests/contracts.py` beside that meden: a checkout's table always fits its own names. All else
goes through public names, so that checkouts whose modules have other names can be trained alike. Results are read in
`numbers_of_run` and `numbers_of_study`, and nowhere else.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from tests.contracts import POPULATIONS, PopulationCase

import meden
import meden.data

Numbers = dict[str, list[Any]]
"""What a case gave, by quantity."""
ModelMaker = Callable[..., torch.nn.Module]
NUM_CLASSES, NUM_INPUTS, NUM_ROWS = 3, 5, 60


def train(only: str = "*") -> dict[str, Numbers]:
    """Train the cases whose names match a glob; a case that raised has the one quantity ``error``."""
    return {name: _attempt(case) for name, case in cases().items() if fnmatchcase(name, only)}


def cases() -> dict[str, Callable[[], Numbers]]:
    """Return what is to be trained, by name: entry point, colon, case."""
    entries = {"fit": fit, "fit_many": fit_many, "tune": tune}
    table = {
        f"{name}: {case}": partial(entry, maker_of(case), case.recipes())
        for name, entry in entries.items()
        for case in POPULATIONS
    }
    return table | OTHERS


def _attempt(case: Callable[[], Numbers]) -> Numbers:
    try:
        return case()
    except Exception as error:  # the other cases are still worth comparing
        return {"error": [f"{type(error).__name__}: {' '.join(str(error).split())}"]}


# --- Reading results ------------------------------------------------------------------------------------------------


def numbers_of_run(run: Any) -> Numbers:
    """Return a run's weights, curves and ending."""
    weights = {f"weights {name}": listed(tensor) for name, tensor in run.model.state_dict().items()}
    columns = ("train.loss", "valid.loss", "lr", "num_zeros", "weight_norm")
    ending = {"best epoch and step": [run.best_epoch, run.best_step]}
    return {name: run.history.column(name) for name in columns} | ending | weights


def numbers_of_study(study: Any) -> Numbers:
    """Return a search's configurations, the losses of their rows, and what was chosen."""
    found: Numbers = {}
    for trial in study.trials:
        found[f"configuration {trial.number}"] = [[name, value] for name, value in sorted(trial.params.items())]
        for row in trial.rows:
            name = f"configuration {trial.number} fold {row.fold} seed {row.seed}"
            found[f"{name} train.loss"] = list(row.train_loss)
            found[f"{name} held-out losses"] = listed(row.losses)
    chosen = [study.best.number, study.one_se.number]
    return found | {"best and one_se": chosen, "score": [study.score.estimate, study.score.low, study.score.high]}


def listed(values: Any) -> list[Any]:
    """Return type, shape and numbers, exactly: a Python float holds every float32."""
    tensor = torch.as_tensor(values)
    return [str(tensor.dtype), *tensor.shape, *tensor.flatten().tolist()]


def _together(parts: Mapping[str, Numbers]) -> Numbers:
    return {f"{part}: {name}": values for part, numbers in parts.items() for name, values in numbers.items()}


# --- The contract table through each entry point --------------------------------------------------------------------


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return rows of classes that overlap, (n, D) and (n,)."""
    rng = np.random.default_rng(0)
    y = np.arange(NUM_ROWS) % NUM_CLASSES
    centres = 2 * rng.normal(size=(NUM_CLASSES, NUM_INPUTS))
    return (rng.normal(size=(NUM_ROWS, NUM_INPUTS)) + centres[y]).astype(np.float32), y


def maker_of(case: PopulationCase) -> ModelMaker:
    """Return the function that makes the networks of a line of the table."""

    def make_model(num_inputs: int, num_outputs: int) -> torch.nn.Module:
        shape = {"width": 6, "batch_norm": case.batch_norm, "activation": "tanh"}
        model = meden.models.MLP(num_inputs, num_outputs, **shape)
        return model.to(torch.float64 if case.double else torch.float32)

    return make_model


def fit(make_model: ModelMaker, recipes: list[meden.Recipe]) -> Numbers:
    """Train each recipe by itself, with held-out rows."""
    x, y = blobs()
    train_rows, valid_rows = (x[:40], y[:40]), (x[40:], y[40:])
    found = {}
    for seed, recipe in enumerate(recipes):
        torch.manual_seed(seed)
        model = make_model(NUM_INPUTS, NUM_CLASSES)
        found[f"recipe {seed}"] = numbers_of_run(meden.fit(model, train_rows, valid_rows, recipe, seed=seed))
    return _together(found)


def fit_many(make_model: ModelMaker, recipes: list[meden.Recipe]) -> Numbers:
    """Train the recipes in one stack, on folds in turn, and one more of a fold and a seed of its own."""
    folds = meden.data.make_folds(meden.as_dataset(blobs()), 3, seed=0)
    members = [meden.Member(recipe, folds[number % 2]) for number, recipe in enumerate(recipes)]
    return many(make_model, [*members, meden.Member(recipes[0], folds[2], 1)], blobs())


def many(make_model: ModelMaker, members: list[meden.Member], data: Any) -> Numbers:
    """Train members, and return the numbers of each run and the losses of its scored rows."""
    runs = meden.fit_many(make_model, members, data)
    found = {f"member {n}": numbers_of_run(run) for n, run in enumerate(runs)}
    losses = {f"member {n}": {"held-out losses": listed(run.held_out.losses)} for n, run in enumerate(runs)}
    return _together(found) | _together(losses)


def tune(make_model: ModelMaker, recipes: list[meden.Recipe]) -> Numbers:
    """Search the learning rate of the first recipe, and refit on all rows, which leaves none for a plateau."""
    recipe = recipes[0]
    if recipe.schedule.kind == "plateau":
        recipe = recipe.replace(schedule=meden.Schedule())
    return search(make_model, blobs(), {"lr": meden.LogUniform(1e-3, 0.1)}, folds=2, budget=3, recipe=recipe)


def search(make_model: ModelMaker, data: Any, space: Any, **settings: Any) -> Numbers:
    """Search, refit what was chosen, and return the numbers of both."""
    study = meden.tune(make_model, data, space, seed=0, **settings)
    return numbers_of_study(study) | _together({"refit": numbers_of_run(study.refit("best"))})


# --- What the table does not reach ----------------------------------------------------------------------------------


def fit_activity() -> Numbers:
    """Train with a penalty on activations, sharpness-aware steps and batches of a single row."""
    activity = [meden.Activity(meden.penalties.ActivityL1(0.01), on="1")]
    recipe = meden.Recipe(epochs=4, batch_size=1, activity=activity, sharpness=meden.Sharpness(), averaging="ema")
    return fit(small, [recipe])


def fit_many_tabular() -> Numbers:
    """Train the network for tables on a table, in stacks."""
    dataset = meden.as_dataset("wine")
    folds = meden.data.make_folds(dataset, 3, seed=0)
    shape = {"num_numbers": 13, "width": 8, "depth": 2}
    stopping = meden.EarlyStopping(patience=3)
    made = [meden.Recipe(lr=lr, epochs=8, dropout=0.2, early_stopping=stopping) for lr in (0.003, 0.03)]
    members = [meden.Member(recipe, fold, model_args=shape) for recipe in made for fold in folds]
    return many(meden.models.TabularNet, members, dataset)


def tune_tpe() -> Numbers:
    """Search a table with proposals that learn, conditional and data-bound strengths among them."""
    space = {
        "lr": meden.LogUniform(1e-3, 0.1),
        "width": meden.Choice(8, 16),
        "dropout": meden.Uniform(0.0, 0.5),
        "l1": meden.FromData(),
        "l2": meden.Maybe(meden.LogUniform(1e-4, 1.0)),
    }
    return search(meden.models.MLP, "wine", space, folds=2, budget=24, recipe=short(12))


def tune_race() -> Numbers:
    """Search a table of numbers by a race."""
    space = {"lr": meden.LogUniform(1e-4, 0.3), "l2": meden.LogUniform(1e-3, 1.0)}
    settings = {"folds": 4, "budget": 20, "racing": True, "strategy": "random"}
    return search(small, "diabetes", space, recipe=short(16), **settings)


def tune_seeds() -> Numbers:
    """Search a table by a grid, with two seeds."""
    space = {"l1": meden.LogUniform(1e-4, 0.1), "optimizer": meden.Choice("sgd", "adamw")}
    settings = {"folds": 3, "budget": 6, "seeds": 2, "strategy": "grid", "metric": "accuracy"}
    return search(small, "iris", space, recipe=short(6), **settings)


def compare() -> Numbers:
    """Compare three ways to train."""
    ways = {"none": {}, "L2": {"l2": 0.1}, "dropout": {"dropout": 0.3}}
    table = meden.compare(small, "wine", ways, folds=3, recipe=short(8), seed=0).table()
    return {str(name): column.tolist() for name, column in table.select_dtypes("number").items()}


def short(epochs: int) -> meden.Recipe:
    """Return a recipe that stops early."""
    return meden.Recipe(lr=0.01, epochs=epochs, early_stopping=meden.EarlyStopping(patience=4))


def small(num_inputs: int, num_outputs: int) -> torch.nn.Module:
    """Return a small network."""
    return meden.models.MLP(num_inputs, num_outputs, width=8)


OTHERS: dict[str, Callable[[], Numbers]] = {
    "fit: activity, sharpness, moving average, single rows": fit_activity,
    "fit_many: the network for tables, early stopping": fit_many_tabular,
    "tune: tpe, conditional and data-bound strengths": tune_tpe,
    "tune: racing": tune_race,
    "tune: grid, two seeds, accuracy": tune_seeds,
    "compare: none, L2, dropout": compare,
}


def main() -> None:
    """Print the numbers of the cases as JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # which cases are not stacked is no news here
    print(json.dumps(train(sys.argv[1])))


if __name__ == "__main__":
    main()
