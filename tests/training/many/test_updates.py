"""Update rules on a stack against torch's optimizers on each member, over 100 steps."""

import pytest
import torch

from meden import Recipe
from meden.optim.metric import step_length
from meden.recipe import make_optimizer
from meden.training.many.updates import UPDATES

RULES = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    {"optimizer": "rmsprop"},
    {"optimizer": "rmsprop", "momentum": 0.7, "alpha": 0.9, "eps": 1e-3},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "betas": (0.5, 0.9), "eps": 1e-4},
    {"optimizer": "adam", "betas": (0.0, 0.999)},
]
RATES, NUM_STEPS = (1e-3, 1e-2, 0.1), 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fields", RULES, ids=str)
def test_equals_torch_for_each_member(fields, dtype):
    generator = torch.Generator().manual_seed(0)
    recipes = [Recipe(lr=lr, **fields) for lr in RATES]
    start = torch.randn(3, 7, generator=generator, dtype=dtype)
    gradients = torch.randn(NUM_STEPS, 3, 7, generator=generator, dtype=dtype)
    gradients[:, :, 0] = 0.0

    rule, w = UPDATES[recipes[0].optimizer](recipes[0]), start.clone()
    state = rule.start(w)
    lr, momentum = (torch.tensor([[n] for n in own], dtype=dtype) for own in (RATES, [r.momentum for r in recipes]))
    for g in gradients:
        rule.apply(w, g.clone(), state, lr, momentum)
    lengths = rule.length(state, lr, momentum).expand_as(w)

    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
    for row, recipe in enumerate(recipes):
        param = torch.nn.Parameter(start[row].clone())
        optimizer = make_optimizer(recipe, [param])
        for g in gradients:
            param.grad = g[row].clone()
            optimizer.step()
        torch.testing.assert_close(w[row], param.detach(), **tolerance)
        theirs = step_length(optimizer, optimizer.param_groups[0], param)
        torch.testing.assert_close(lengths[row], torch.as_tensor(theirs, dtype=dtype).expand(7), **tolerance)


@pytest.mark.parametrize("fields", RULES, ids=str)
def test_momentum_and_rate_are_each_members_own(fields):
    if fields["optimizer"] == "adam" or fields["optimizer"] == "adamw":
        pytest.skip("betas are shared")
    rule = UPDATES[fields["optimizer"]](Recipe(**fields))
    g, lr, momentum = torch.ones(2, 3), torch.tensor([[0.1], [0.2]]), torch.tensor([[0.0], [0.5]])
    both, single = torch.zeros(2, 3), torch.zeros(1, 3)
    state, alone = rule.start(both), rule.start(single)
    for _ in range(5):
        rule.apply(both, g.clone(), state, lr, momentum)
        rule.apply(single, g[1:].clone(), alone, lr[1:], momentum[1:])
    assert torch.equal(both[1:], single)
