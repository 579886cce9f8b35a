"""Augmentation, averaging and sharpness inside `fit`: fitting rows only, plain losses reported, resumable."""

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden.augment import Augmentation, CutMix, Cutout, Jitter, LabelSmoothing, Mixup
from meden.models import MLP
from meden.optim import Averager, Averaging, Sharpness
from tests.training.many.witness import assert_same_run, blobs, curve


def halves(data=None):
    x, y = data or blobs()
    return (x[::2], y[::2]), (x[1::2], y[1::2])


class Spy(Augmentation):
    """Keeps what it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, y, draws):  # noqa: ARG002
        self.seen.append((x.clone(), y.clone()))
        return x + 100, y

    def check(self, x, task):  # noqa: ARG002
        self.seen.append((x.clone(), None))


def test_held_out_rows_never_meet_an_augmentation():
    train, valid = halves()
    spy = Spy()
    run = meden.fit(MLP(5, 3), train, valid, meden.Recipe(epochs=3, augment=[spy]))
    held_out = {tuple(row) for row in valid[0].tolist()}
    seen = {tuple(row) for x, _ in spy.seen for row in x.tolist()}
    assert seen == {tuple(row) for row in train[0].tolist()} and not seen & held_out
    with torch.no_grad():
        loss = nn.functional.cross_entropy(run.model(torch.from_numpy(valid[0])), torch.from_numpy(valid[1]))
    assert run.history[-1].valid["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_labels_are_smoothed_in_training_and_hard_in_the_record():
    train, valid = halves()
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, epochs=4, batch_size="full", augment=[LabelSmoothing(0.3)])
    run = meden.fit(MLP(5, 3, depth=0), train, valid, recipe, seed=1)
    torch.manual_seed(0)
    model = MLP(5, 3, depth=0)
    run = meden.fit(model, train, valid, recipe)
    torch.manual_seed(0)
    witness = MLP(5, 3, depth=0)
    optimizer = torch.optim.SGD(witness.parameters(), lr=0.1)
    x, y = (torch.from_numpy(part) for part in train)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(witness(x), y, label_smoothing=0.3).backward()
        optimizer.step()
    for ours, theirs in zip(run.model.parameters(), witness.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    with torch.no_grad():
        assert run.history[-1].train["loss"] == pytest.approx(
            nn.functional.cross_entropy(witness(x), y).item(), rel=1e-5
        )


def test_the_average_is_evaluated_and_kept_and_its_batch_norm_measured_anew():
    train, valid = halves()
    recipe = meden.Recipe(lr=0.05, epochs=5, batch_size=10, averaging=Averaging(decay=0.9))
    run = meden.fit(MLP(5, 3, batch_norm=True), train, valid, recipe)
    plain = meden.fit(MLP(5, 3, batch_norm=True), train, valid, recipe.replace(averaging=None))
    assert run.history[-1].valid != plain.history[-1].valid
    with torch.no_grad():
        loss = nn.functional.cross_entropy(run.model(torch.from_numpy(valid[0])), torch.from_numpy(valid[1]))
    assert run.history[-1].valid["loss"] == pytest.approx(loss.item(), rel=1e-5)
    hidden = run.model[1](torch.from_numpy(train[0]))
    assert torch.allclose(run.model[2].running_mean, hidden.mean(0), atol=1e-5)


def test_the_average_is_that_of_a_loop_of_ones_own():
    train, _ = halves()
    torch.manual_seed(0)
    recipe = meden.Recipe(
        optimizer="sgd", lr=0.1, epochs=6, batch_size="full", averaging=Averaging(kind="swa", start=0.5)
    )
    run = meden.fit(MLP(5, 3, depth=0), train, recipe=recipe)
    torch.manual_seed(0)
    model = MLP(5, 3, depth=0)
    optimizer, kept = torch.optim.SGD(model.parameters(), lr=0.1), []
    x, y = (torch.from_numpy(part) for part in train)
    for _ in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        kept.append(model[1].weight.detach().clone())
    assert torch.allclose(run.model[1].weight, torch.stack(kept[3:]).mean(0), atol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_resumed_run_with_everything_equals_the_uninterrupted_one(tmp_path, batch_norm):
    train, valid = halves()
    recipe = meden.Recipe(
        epochs=6,
        batch_size=8,
        dropout=0.2,
        augment=[Jitter(0.1), Mixup(0.4)],
        averaging="ema",
        sharpness=Sharpness(rho=0.1),
    )

    def start():
        torch.manual_seed(0)
        return MLP(5, 3, batch_norm=batch_norm)

    def kill(record):
        if record.epoch == 3:
            raise KeyboardInterrupt

    whole = meden.fit(start(), train, valid, recipe)
    with pytest.raises(KeyboardInterrupt):
        meden.fit(start(), train, valid, recipe, checkpoint=tmp_path / "c", on_epoch=kill)
    assert_same_run(meden.fit(start(), train, valid, recipe, checkpoint=tmp_path / "c"), whole, rtol=0)


def test_sharpness_is_the_gradient_of_the_highest_point_nearby():
    train, _ = halves(curve())
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, epochs=1, batch_size="full", sharpness=Sharpness(rho=0.2))
    torch.manual_seed(0)
    model = nn.Linear(5, 1).double()
    before = [param.detach().clone() for param in model.parameters()]
    x, y = (torch.from_numpy(part).double() for part in train)

    def gradient(weight, bias):
        parts = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        return torch.autograd.grad(((x @ parts[0].T + parts[1])[:, 0] - y).square().mean() / 2, parts)

    here = gradient(*before)
    norm = torch.cat([part.flatten() for part in here]).norm()
    there = gradient(*(b + 0.2 * g / norm for b, g in zip(before, here, strict=True)))
    meden.fit(model, train, recipe=recipe)
    for param, start, slope in zip(model.parameters(), before, there, strict=True):
        assert torch.allclose(param, start - 0.1 * slope, atol=1e-12)


@pytest.mark.parametrize("field", [{"sharpness": Sharpness()}, {"averaging": "ema", "model": {"batch_norm": True}}])
def test_members_that_need_a_model_of_their_own_are_trained_alone_and_it_is_said(field):
    model_args = field.pop("model", {})
    folds = meden.data.make_folds(meden.as_dataset(blobs()), 3, seed=0)
    members = [meden.Member(meden.Recipe(epochs=2, **field), fold, model_args=model_args) for fold in folds]
    with pytest.warns(UserWarning, match="one by one, since"):
        runs = meden.fit_many(MLP, members, blobs())
    assert [run.status for run in runs] == ["completed"] * 3


@pytest.mark.parametrize(
    ("augment", "data", "told"),
    [
        (CutMix(), blobs(), "CutMix"),
        (LabelSmoothing(), curve(), "classification"),
        (Cutout(9), (np.zeros((8, 1, 6, 6), np.float32), np.arange(8) % 2), "Cutout"),
    ],
)
def test_what_cannot_be_augmented_is_refused_at_the_door(augment, data, told):
    epochs = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(data[0][0].size, 3 if data[1].dtype.kind == "i" else 1))
    with pytest.raises(meden.InputError, match=told):
        meden.fit(model, data, recipe=meden.Recipe(augment=[augment]), on_epoch=epochs.append)
    assert not epochs


def test_an_average_before_its_first_update_is_refused():
    with (
        pytest.raises(meden.InputError, match="update"),
        Averager(nn.Linear(2, 1), Averaging(), epochs=1, steps_per_epoch=1).applied(),
    ):
        pass
