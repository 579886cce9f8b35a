"""Decay that changes in time, averages and a pull to the start, of a language model whose table is tied: by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

import meden
from meden import Averaging, Recipe, Regularizer, StrengthSchedule
from meden.data import batches
from meden.models import CausalTransformer
from meden.penalties import L2, PullTo

LR, EPOCHS, SIZE = 0.02, 5, 8
TABLES = ["embed.tokens.weight", "embed.places"]


def tokens(n=20):
    rows = torch.randint(1, 9, (n, 7), generator=torch.Generator().manual_seed(0))
    return rows[:, :-1], rows[:, 1:]


def tied():
    torch.manual_seed(0)
    model = CausalTransformer(num_inputs=6, num_tokens=9, width=8, depth=1, num_heads=2).double()
    model.out.weight = model.embed.tokens.weight
    return model


def by_hand(model, decay, *, after=lambda _: None, pull=0.0):
    """Train by AdamW; ``decay`` says the weight decay of a step for each name, ``pull`` is that to the start."""
    x, y = tokens()
    params, start = dict(model.named_parameters()), copy.deepcopy(model)
    optimizer = torch.optim.AdamW([{"params": [p], "name": name} for name, p in params.items()], LR)
    step = 0
    for epoch in range(EPOCHS):
        for chosen in batches(len(y), SIZE, seed=0, epoch=epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(x[chosen]).flatten(0, 1), y[chosen].flatten()).backward()
            for group in optimizer.param_groups:
                group["weight_decay"] = decay(group["name"], step)
            with torch.no_grad():
                for (name, param), first in zip(params.items(), start.parameters(), strict=True):
                    if name in TABLES:
                        param.sub_(LR * pull * (param - first))
            optimizer.step()
            after(step)
            step += 1
    return model


def assert_same(model, other, *, rtol=1e-9):
    theirs = dict(other.named_parameters())
    for name, param in model.named_parameters():
        torch.testing.assert_close(param, theirs[name], rtol=rtol, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


def recipe(*regularizers, **fields):
    return Recipe(lr=LR, epochs=EPOCHS, batch_size=SIZE, regularizers=regularizers, **fields)


@pytest.mark.parametrize("kind", ["linear", "cosine", "jump"])
def test_decay_follows_its_schedule_step_by_step_and_takes_a_tied_table_once(kind):
    schedule = StrengthSchedule(kind=kind, start=3, end=9, first=2.0, last=0.25)
    ours = recipe(Regularizer(L2(0.5), on=["weights", "out.weight"], coupling="decoupled", schedule=schedule))
    run = meden.fit(tied(), tokens(), recipe=ours)

    def decay(name, step):
        share = min(max((step - 3) / 6, 0.0), 1.0)
        shape = {"linear": share, "cosine": 0.5 - 0.5 * math.cos(math.pi * share), "jump": float(step >= 3)}[kind]
        decays = name == "embed.tokens.weight" or (name.startswith("blocks") and ("qkv.w" in name or "mix.w" in name))
        decays |= name in ("blocks.0.perceptron.1.weight", "blocks.0.perceptron.3.weight")
        return 0.5 * (2.0 - 1.75 * shape) if decays else 0.0

    assert_same(run.model, by_hand(tied(), decay))
    assert run.model.out.weight is run.model.embed.tokens.weight


def test_averages_are_those_of_all_weights_and_keep_the_tie():
    held_out = tokens(9)
    run = meden.fit(tied(), tokens(), held_out, recipe=recipe(averaging=Averaging(decay=0.8)))

    model = tied()
    average = {name: torch.zeros_like(param) for name, param in model.named_parameters()}

    def follow(step):
        kept = 0.0 if step == 0 else min(0.8, (1 + step) / (10 + step))
        for name, param in model.named_parameters():
            average[name] = kept * average[name] + (1 - kept) * param.detach()

    last = copy.deepcopy(by_hand(model, lambda *_: 0.0, after=follow))
    with torch.no_grad():
        for name, param in model.named_parameters():
            param.copy_(average[name])
    assert_same(run.model, model)
    assert run.model.out.weight is run.model.embed.tokens.weight
    x, y = held_out
    losses = [F.cross_entropy(net(x).flatten(0, 1), y.flatten()).item() for net in (model, last)]
    assert run.history[-1].valid["loss"] == pytest.approx(losses[0], rel=1e-9)
    assert abs(losses[0] - losses[1]) > 1e-4


def test_a_pull_holds_tables_at_their_start_and_goes_on_after_a_kill(tmp_path):
    ours = recipe(Regularizer(PullTo(L2(3.0)), on=TABLES, coupling="decoupled"))
    run = meden.fit(tied(), tokens(), recipe=ours)
    assert_same(run.model, by_hand(tied(), lambda *_: 0.0, pull=3.0))
    apart = (run.model.embed.tokens.weight - tied().embed.tokens.weight).norm()
    free = meden.fit(tied(), tokens(), recipe=recipe()).model.embed.tokens.weight
    assert apart < 0.9 * (free - tied().embed.tokens.weight).norm()

    def kill(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        meden.fit(tied(), tokens(), recipe=ours, checkpoint=path, on_epoch=kill)
    assert_same(meden.fit(tied(), tokens(), recipe=ours, checkpoint=path).model, run.model, rtol=0)
