"""Planted mistakes are reported, each by its own warning, on models of different shape; clean set-ups give none."""

import json
import math
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from meden import InputError
from meden.audits import audit
from meden.optim import Regularizer, StrengthSchedule, regularize
from meden.params import select
from meden.penalties import L1, L2, ElasticNet, GroupLasso, MaxNorm, PullTo, Scaled, SparseGroupLasso, Sum


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config)


MODELS = {"mlp": mlp, "conv net": conv_net, "gpt2": gpt2}


def split(model: nn.Module, decay: float) -> list[dict]:
    """Return the two parameter groups that people write by hand: weights decayed, the rest not."""
    chosen = {id(p) for p in select(model, "weights").values()}
    parts = ([p for p in model.parameters() if (id(p) in chosen) is wanted] for wanted in (True, False))
    return [{"params": params, "weight_decay": d} for params, d in zip(parts, (decay, 0.0), strict=True)]


def codes(*arguments) -> dict[str, tuple[str, ...]]:
    return {w.code: w.tensors for w in audit(*arguments).warnings}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
class TestThreeModels:
    def test_clean_groups_give_no_warning(self, make) -> None:
        model = make()
        assert codes(model, AdamW(split(model, 0.1), lr=1e-3)) == {}

    def test_clean_handles_give_no_warning(self, make) -> None:
        model = make()
        optimizer = Adam(model.parameters(), lr=1e-3)
        handle = regularize(optimizer, model, [Regularizer(L1(1e-4)), Regularizer(L2(1e-2)), Regularizer(MaxNorm(3.0))])
        assert codes(model, optimizer, [handle]) == {}
        assert "no warnings" in str(audit(model, optimizer, [handle]))

    def test_what_is_attached_counts_without_being_named(self, make) -> None:
        model = make()
        optimizer = SGD(model.parameters(), lr=1e-3)
        handles = [regularize(optimizer, model, [Regularizer(p)]) for p in (L1(1e-4), L2(1e-2), MaxNorm(3.0))]
        assert str(audit(model, optimizer)) == str(audit(model, optimizer, handles))
        assert str(audit(model, optimizer)) != str(audit(model, optimizer, ()))
        handles[0].remove()
        assert str(audit(model, optimizer)) == str(audit(model, optimizer, handles[1:]))

    def test_decay_on_everything(self, make) -> None:
        model = make()
        found = codes(model, AdamW(model.parameters(), lr=1e-3))
        assert set(found) == {"bias", "norm"} | ({"embedding", "tied"} if make is gpt2 else set())
        assert all(name.endswith("bias") for name in found["bias"])
        assert len(found["bias"]) == sum(name.endswith("bias") for name, _ in model.named_parameters())

    def test_decay_twice_by_optimizer_and_handle(self, make) -> None:
        model = make()
        optimizer = AdamW(split(model, 0.1), lr=1e-3)
        with pytest.warns(UserWarning, match="both shrink"):
            handle = regularize(optimizer, model, [Regularizer(L2(0.1))])
        report = audit(model, optimizer, [handle])
        assert [w.code for w in report.warnings] == ["twice"]
        assert "by weight_decay and L2(weights): keep only one" in report.warnings[0].message

    def test_decay_twice_by_two_handles(self, make) -> None:
        model = make()
        optimizer = SGD(model.parameters(), lr=1e-3)
        handles = [regularize(optimizer, model, [Regularizer(p)]) for p in (L2(0.1), ElasticNet(0.1))]
        assert set(codes(model, optimizer, handles)) == {"twice"}

    def test_an_untouched_large_tensor(self, make) -> None:
        model = make()
        name, param = max(select(model, "weights").items(), key=lambda item: item[1].numel())
        groups = split(model, 0.1)
        groups[0]["params"] = [p for p in groups[0]["params"] if p is not param]
        groups[1]["params"].append(param)
        assert codes(model, SGD(groups, lr=0.1)) == {"untouched": (name,)}

    def test_tensors_forgotten_and_frozen(self, make) -> None:
        model = make()
        first, *rest = split(model, 0.1)[0]["params"]
        name = next(name for name, p in model.named_parameters() if p is rest[0])
        rest[0].requires_grad_(False)
        found = codes(model, SGD(rest, lr=0.1))
        assert found["frozen"] == (name,)
        forgotten = [n for n, p in model.named_parameters() if p.requires_grad and not any(p is r for r in rest)]
        assert found["missing"] == tuple(forgotten)
        assert any(p is first for n, p in model.named_parameters() if n in found["missing"])


def test_idle_tensors() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4),
        nn.BatchNorm1d(4),
        nn.Linear(4, 4),
        nn.ReLU(),
        nn.Linear(4, 4),
        nn.LayerNorm(4),
        nn.Linear(4, 1),
    )
    optimizer = Adam(model.parameters(), lr=1e-3)
    assert codes(model, optimizer) == {"idle": ("0.bias",)}
    assert "(0.bias) have no effect" in str(audit(model, optimizer))
    model[:3](torch.randn(5, 4)).sum().backward()
    assert codes(model, optimizer)["no_gradient"] == ("4.weight", "4.bias", "5.weight", "5.bias", "6.weight", "6.bias")
    assert codes(model.eval(), optimizer).keys() == {"no_gradient"}  # running statistics do not follow a bias


class Adapted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(8, 8).requires_grad_(False)
        self.lora_A = nn.Linear(8, 2, bias=False)
        self.lora_B = nn.Linear(2, 8, bias=False)


def test_low_rank_factors() -> None:
    model = Adapted()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert codes(model, AdamW(trained, lr=1e-3)) == {"adapter": ("lora_A.weight", "lora_B.weight")}
    assert codes(model, Adam(trained, lr=1e-3)) == {}


def test_tied_linear_layers_are_named_by_both_names() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    report = audit(model, SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    assert [(w.code, w.tensors) for w in report.warnings] == [("tied", ("0.weight",))]
    assert "0.weight = 1.weight" in report.warnings[0].message


@pytest.mark.parametrize(
    ("optimizer", "coupling", "l2", "constant"),
    [
        (lambda p: SGD(p, lr=0.1, weight_decay=0.02), "gradient", 0.02, None),
        (lambda p: Adam(p, lr=0.1, weight_decay=0.02), "gradient", 0.02, None),
        (lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.02), "gradient", 0.02, None),
        (lambda p: AdamW(p, lr=0.1, weight_decay=0.02), "decoupled", None, 500.0),
        (
            lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=0.02, decoupled_weight_decay=True),
            "decoupled",
            None,
            500.0,
        ),
        (lambda p: AdamW(p, lr=0.0, weight_decay=0.02), "decoupled", None, math.inf),
    ],
)
def test_the_optimizers_own_decay_in_canonical_units(optimizer, coupling, l2, constant) -> None:
    model = nn.Linear(3, 2, bias=False)
    report = audit(model, optimizer(model.parameters()))
    (tensor,) = report.tensors
    (shrinkage,) = tensor.shrinkage
    assert (shrinkage.coupling, tensor.l1, tensor.l2) == (coupling, 0.0, l2)
    assert shrinkage.time_constant == (None if constant is None else pytest.approx(constant))
    shown = {None: "weight_decay (gradient)", 500.0: "1/e in 500 steps", math.inf: "without effect while lr"}[constant]
    assert shown in str(report)


@pytest.mark.parametrize(
    ("penalty", "l1", "l2"),
    [
        (L1(0.3), 0.3, 0.0),
        (L2(0.3), 0.0, 0.3),
        (ElasticNet(0.4, l1_ratio=0.25), 0.1, 0.3),
        (Sum((L1(0.1), L2(0.2), L2(0.3))), 0.1, 0.5),
        (Scaled(ElasticNet(0.4, l1_ratio=0.25), 2.0), 0.2, 0.6),
        (SparseGroupLasso(0.4, l1_ratio=0.25), 0.1, 0.0),
        (GroupLasso(0.4), 0.0, 0.0),
        (PullTo(L2(0.4)), 0.0, 0.0),
        (L1(torch.full((2, 3), 0.1)), None, 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_strengths_of_a_penalty_in_canonical_units(penalty, l1, l2) -> None:
    model = nn.Linear(3, 2, bias=False)
    optimizer = SGD(model.parameters(), lr=0.1)
    handle = regularize(optimizer, model, [Regularizer(penalty)])
    (tensor,) = audit(model, optimizer, [handle]).tensors
    assert tensor.l1 == (None if l1 is None else pytest.approx(l1))
    assert tensor.l2 == pytest.approx(l2)
    assert tensor.is_penalised


def test_a_strength_is_that_of_the_step_reached() -> None:
    model = nn.Linear(3, 2, bias=False)
    optimizer = SGD(model.parameters(), lr=0.1)
    handle = regularize(optimizer, model, [Regularizer(L1(0.4), schedule=StrengthSchedule(end=4))])
    handle.num_steps = 1
    assert audit(model, optimizer, [handle]).tensors[0].l1 == pytest.approx(0.1)


def test_the_table_and_the_record_hold_every_tensor() -> None:
    model = conv_net()
    report = audit(model, AdamW(model.parameters(), lr=1e-3))
    names = [name for name, _ in model.named_parameters()]
    assert [line.split()[0] for line in str(report).splitlines()[2 : 2 + len(names)]] == names
    assert [t["name"] for t in json.loads(json.dumps(report.to_dict()))["tensors"]] == names


def test_wrong_arguments_are_refused() -> None:
    model, other = mlp(), mlp()
    optimizer, strange = SGD(model.parameters(), lr=0.1), SGD(other.parameters(), lr=0.1)
    handle = regularize(strange, other, [Regularizer(L1(0.1))])
    for arguments, message in (
        (("model", optimizer), "model must be a torch.nn.Module, got str"),
        ((model, model), "optimizer must be a torch.optim.Optimizer, got Sequential"),
        ((model, optimizer, handle), "handles must be a list .*got Handle"),
        ((model, optimizer, [L1(0.1)]), "handles must hold only .*got L1"),
        ((model, optimizer, [handle]), "handles must belong to the audited optimizer"),
    ):
        with pytest.raises(InputError, match=message), warnings.catch_warnings():
            audit(*arguments)


def test_what_is_frozen_is_not_said_to_be_shrunk():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    report = audit(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1))
    by_code = {w.code: w.tensors for w in report.warnings}
    assert by_code["bias"] == ("1.bias",) and by_code["frozen"] == ("0.weight", "0.bias")
    assert not report.tensors[0].shrinkage and report.tensors[2].shrinkage
    model[0].bias.grad = torch.zeros(4)  # of the time before it was frozen: the optimizer steps it
    report = audit(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1))
    assert {w.code: w.tensors for w in report.warnings}["bias"] == ("0.bias", "1.bias")
