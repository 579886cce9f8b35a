"""Tokens that do not count (-100): torch's cross-entropy is the witness, alone, in stacks and in evaluation."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import meden
from meden import InputError
from meden.data import DatasetSource, Fold, TensorSource
from meden.models import CausalTransformer
from meden.objective import EVAL_BYTES, IGNORED, check_classes, eval_parts, evaluate, mean_loss, soft_targets
from meden.training.many.step import Step
from meden.training.scoring import score_model


def rows(n=24, t=7, vocabulary=11, *, seed=0):
    """Return windows, (n, t) each, a third of whose labels do not count; and of the last row none."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, vocabulary, (n, t), generator=generator)
    y = torch.randint(0, vocabulary, (n, t), generator=generator)
    y[torch.rand(n, t, generator=generator) < 0.3] = IGNORED
    y[-1] = IGNORED
    return x, y


def net(seed=0):
    torch.manual_seed(seed)
    return CausalTransformer(7, 11, width=8, depth=1, num_heads=2).double()


def witness(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


@pytest.mark.parametrize("soft", [False, True])
def test_loss_and_gradient_are_those_of_torch(soft):
    (x, y), ours, theirs = rows(), net(), net()
    targets = soft_targets("classification", y, 11, torch.float64) if soft else y
    loss = mean_loss("classification", ours(x), targets)
    other = witness(theirs(x), y)
    loss.backward()
    other.backward()
    assert torch.allclose(loss, other, rtol=1e-12)
    for own, param in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(own.grad, param.grad, rtol=1e-9, atol=1e-14)


def test_rows_that_only_fill_up_do_not_count_either():
    (x, y), model = rows(), net()
    weights = torch.tensor([1.0, 1.0, 0.0]).double()
    assert torch.allclose(mean_loss("classification", model(x[:3]), y[:3], weights), witness(model(x[:2]), y[:2]))


def test_a_batch_in_which_nothing_counts_has_no_gradient():
    (x, y), model = rows(), net()
    loss = mean_loss("classification", model(x), torch.full_like(y, IGNORED))
    loss.backward()
    assert loss == 0 and all(not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("sizes", [[24], [1, 23], [5, 5, 5, 5, 4]])
def test_evaluation_in_parts_is_the_mean_over_tokens_that_count(sizes):
    (x, y), model = rows(), net().eval()
    found = evaluate(model, zip(x.split(sizes), y.split(sizes), strict=True), "classification")
    with torch.no_grad():
        assert found["loss"] == pytest.approx(float(witness(model(x), y)), rel=1e-6)
        right = (model(x).argmax(-1) == y)[y != IGNORED].double().mean()
    assert found["accuracy"] == pytest.approx(float(right), rel=1e-6)


def test_scored_rows_average_to_the_mean_over_tokens():
    (x, y), model = rows(), net().eval()
    scored = score_model(model, TensorSource(x, y), "classification", seed=0)
    with torch.no_grad():
        assert scored.losses.mean() == pytest.approx(float(witness(model(x), y)), rel=1e-5)


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_fit_is_a_hand_written_loop(form):
    (x, y), ours, theirs = rows(), net(), net()
    data = (x, y) if form == "tensors" else DatasetSource(list(zip(x, y, strict=True)))
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, epochs=3, batch_size=5)
    run = meden.fit(ours, data, (x[:9], y[:9]), recipe, seed=2)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for epoch in range(3):
        for chosen in meden.data.batches(24, 5, seed=2, epoch=epoch):
            optimizer.zero_grad()
            witness(theirs(x[chosen]), y[chosen]).backward()
            optimizer.step()
    for own, param in zip(run.model.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(own, param, atol=1e-10)
    with torch.no_grad():
        assert run.history[-1].train["loss"] == pytest.approx(float(witness(theirs(x), y)), rel=1e-6)
        assert run.history[-1].valid["loss"] == pytest.approx(float(witness(theirs(x[:9]), y[:9])), rel=1e-6)


class Labels(nn.Module):
    """A model of rows of tokens whose targets are several classes each."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(11, 6), nn.Linear(6, 11)

    def forward(self, x):
        return self.out(self.embed(x).tanh())


def test_a_stack_is_its_members_alone(monkeypatch):
    x, y = rows()
    seen = []
    step = Step._loss
    monkeypatch.setattr(Step, "_loss", lambda self, *given: (seen.append(given[3].shape), step(self, *given))[1])
    data = token_dataset(x, y)
    folds = [Fold(np.arange(n), np.arange(18, 24), np.arange(0)) for n in (17, 14)]
    recipe = meden.Recipe(optimizer="sgd", lr=0.1, epochs=3, batch_size=5)
    members = [meden.Member(recipe.replace(lr=lr), fold) for lr in (0.1, 0.3) for fold in folds]

    def make():
        return Labels().double()

    for together, alone in zip(
        meden.fit_many(make, members, data), meden.fit_many(make, members, data, chunk=1), strict=True
    ):
        for own, param in zip(together.model.parameters(), alone.model.parameters(), strict=True):
            assert torch.allclose(own, param, rtol=1e-8)
        for name in ("train", "valid"):
            assert getattr(together.history[-1], name) == pytest.approx(getattr(alone.history[-1], name), rel=1e-6)
    assert seen, "nothing was stacked"


def token_dataset(x, y):
    """Return what fit_many takes, with targets (n, T)."""
    data = meden.data.as_dataset((x.numpy(), np.arange(len(x)) % 2))
    return dataclasses.replace(data, y=dataclasses.replace(data.y, classes=tuple(range(11)), labels=y.numpy()))


def test_a_forward_pass_of_evaluation_is_bounded_by_what_comes_out():
    parts = eval_parts(range(4096), torch.zeros(2, 1024, dtype=torch.int64), torch.Size([1024, 50_000]))
    assert max(map(len, parts)) == 1
    for shape in ((1024, 65), (64, 65), (10,), (), (50_000,)):
        parts = eval_parts(range(10_000), torch.zeros(2, 64, dtype=torch.int64), torch.Size(shape))
        assert [row for part in parts for row in part] == list(range(10_000))
        assert all(len(part) * torch.Size(shape).numel() * 4 <= EVAL_BYTES for part in parts)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([[0, -100], [2, 3]]), r"classes 0 to 2, or -100 where a token does not count, got 0 to 3"),
        (torch.tensor([[0, -100], [2, -1]]), r"classes 0 to 2, or -100 .*, got -1 to 2"),
        (torch.tensor([[0, -101], [2, -100]]), r"classes 0 to 2, or -100 .*, got -101 to 2"),
        (torch.tensor([0, -100, 1]), r"classes 0 to 2, got -100 to 1"),
    ],
)
def test_classes_without_a_logit(y, message):
    with pytest.raises(InputError, match=message):
        check_classes("train", y, 3)


def test_one_logit_leaves_no_label_out():
    x, y = torch.zeros(4, 3), torch.tensor([[0], [1], [IGNORED], [1]])
    with pytest.raises(InputError, match="classes 0 to 1, got -100 to 1"):
        meden.fit(nn.Linear(3, 1), (x, y), task="classification")
