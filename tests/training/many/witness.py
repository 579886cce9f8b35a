"""The witness of a population: the same members, each trained by itself by `meden.fit`."""

import dataclasses

import numpy as np
import torch

import meden
from meden.checkpoint import model_tensors
from meden.data import as_dataset, make_folds
from meden.member import Member, build_model, encode_folds


def blobs(n=60, d=5, classes=3, seed=0):
    """Return rows of classes that overlap, (n, d) and (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(n, d)).astype(np.float32) + 2 * rng.normal(size=(classes, d))[y].astype(np.float32), y


def curve(n=60, d=5, seed=0):
    """Return a regression problem, (n, d) and (n,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x, (np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.normal(size=n)).astype(np.float32)


def folds_of(data, folds=3):
    return make_folds(as_dataset(data), folds, seed=0)


def crossed(recipes, data, *, model_args=None):
    """Return a member of each recipe, on folds in turn, and one more of a fold and a seed of its own."""
    folds = folds_of(data)
    members = [Member(recipe, folds[i % 2], 0, model_args or {}) for i, recipe in enumerate(recipes)]
    return [*members, Member(recipes[0], folds[2], 1, model_args or {})]


def alone(make_model, member, data):
    """Train one member by `meden.fit`, with the start and the rows that are its own."""
    dataset = as_dataset(data)
    share = encode_folds(dataset, [member.fold])[member.fold]
    rows = (member.fold.fit, member.fold.stop) if member.fold else (np.arange(dataset.num_rows), [])
    train, stop = ((share.x[part], share.y[part]) for part in rows)
    model = build_model(make_model, share, dataset, member)
    return meden.fit(
        model, train, stop if len(rows[1]) else None, member.recipe, seed=member.run_seed, task=dataset.task
    )


def assert_same_run(run, other, *, rtol=1e-4):
    """Check weights, buffers, history and ending."""
    for name in ("status", "reason", "best_step", "best_epoch", "recipe", "seed"):
        assert getattr(run, name) == getattr(other, name), name
    assert not run.model.training
    theirs = model_tensors(other.model)
    assert model_tensors(run.model).keys() == theirs.keys()
    for name, tensor in model_tensors(run.model).items():
        close(tensor, theirs[name], rtol, name)
    assert len(run.history) == len(other.history)
    for ours, record in zip(run.history, other.history, strict=True):
        assert_same_record(ours, record, rtol=10 * rtol)


def assert_same_record(record, other, *, rtol):
    for field in dataclasses.fields(record):
        ours, theirs = getattr(record, field.name), getattr(other, field.name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys(), field.name
            close([ours[name] for name in theirs], list(theirs.values()), rtol, field.name)
        elif field.name != "seconds":
            close(-1 if ours is None else ours, -1 if theirs is None else theirs, rtol, field.name)


def close(ours, theirs, rtol, name):
    """Check the distance of two tensors relative to their size; infinite and absent numbers must be in one place."""
    ours, theirs = (torch.as_tensor(part, dtype=torch.float64).detach().flatten().cpu() for part in (ours, theirs))
    finite = theirs.isfinite()
    assert torch.equal(ours.isfinite(), finite) and torch.equal(
        ours[~finite].nan_to_num(), theirs[~finite].nan_to_num()
    )
    distance, size = (ours - theirs)[finite].norm(), theirs[finite].norm()
    assert distance <= rtol * size + 1e-7, f"{name}: {distance:.2e} of {size:.2e}"
