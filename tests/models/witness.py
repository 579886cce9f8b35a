"""What every reference model must do: fit twenty rows, and be the same alone and in a population."""

import torch

import meden
from tests.training.many.witness import alone, assert_same_run, crossed


def assert_fits(model, x, y, **fields):
    """Check that a model learns twenty rows by heart."""
    recipe = meden.Recipe(**{"optimizer": "adam", "lr": 0.01, "epochs": 60, "batch_size": "full"} | fields)
    run = meden.fit(model, (x, y), recipe=recipe)
    assert run.history[-1].train["accuracy"] == 1.0 and run.history[-1].train["loss"] < 0.1


def assert_stacks(make_model, data):
    """Check three members of a population against the same members alone."""
    recipes = [meden.Recipe(optimizer="sgd", lr=lr, momentum=0.9, epochs=2, batch_size=16) for lr in (0.01, 0.1)]
    members = crossed(recipes, data)
    for run, member in zip(meden.fit_many(make_model, members, data), members, strict=True):
        assert_same_run(run, alone(make_model, member, data))


def random(*shape, seed=0):
    """Return normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
