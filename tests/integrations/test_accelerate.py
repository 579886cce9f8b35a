"""Penalties in a loop written by hand with accelerate: prepare, accumulate, clip, save_state, load_state."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import meden
from meden.penalties import L1, L2, PullTo

pytest.importorskip("accelerate")
import accelerate

REGULARIZERS = [
    meden.Regularizer(L1(0.3), schedule=meden.StrengthSchedule(end=5)),
    meden.Regularizer(PullTo(L2(2.0)), on="biases", coupling="decoupled"),
]


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def loader():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(24, 5, generator=draws)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)


def epoch(accelerator, model, optimizer, batches):
    for x, y in batches:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()


def prepared(seed=0):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = net(seed)
    return accelerator, *accelerator.prepare(model, optimizer_of(model), loader())


def plain_loop(epochs):
    """Do the same without accelerate."""
    model = net()
    optimizer = optimizer_of(model)
    handle = meden.regularize(optimizer, model, REGULARIZERS)
    for _ in range(epochs):
        for number, (x, y) in enumerate(loader()):
            (nn.functional.cross_entropy(model(x), y) / 2).backward()
            if number % 2:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
    return model, handle


def assert_same(one, other):
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_loop_of_accelerate_is_the_plain_one_bit_for_bit():
    accelerator, model, optimizer, batches = prepared()
    handle = meden.regularize(optimizer, model, REGULARIZERS)
    for _ in range(3):
        epoch(accelerator, model, optimizer, batches)
    plain, own = plain_loop(3)
    assert_same(model, plain)
    assert handle.num_steps == own.num_steps == 9
    assert sum(int((p == 0).sum()) for p in plain.parameters()) > 5
    table = meden.audit(model, optimizer, [handle])
    assert table.to_dict() == meden.audit(plain, own.optimizer, [own]).to_dict()


@pytest.mark.parametrize("registers", [True, False])
def test_save_state_and_load_state_go_on_exactly(tmp_path, registers):
    """The count of steps is in the optimizer's state; starting weights need the handle to be registered."""
    regularizers = REGULARIZERS if registers else REGULARIZERS[:1]

    def start(seed=0):
        accelerator, model, optimizer, batches = prepared(seed)
        handle = meden.regularize(optimizer, model, regularizers)
        if registers:
            accelerator.register_for_checkpointing(handle)
        return accelerator, model, optimizer, batches

    whole = start()
    epoch(*whole)
    whole[0].save_state(str(tmp_path))
    epoch(*whole)
    resumed = start(seed=4)
    resumed[0].load_state(str(tmp_path))
    epoch(*resumed)
    assert_same(whole[1], resumed[1])
