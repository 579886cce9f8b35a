"""Trainings that are the same on any number of processes: models, rows and recipes, and what is compared of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

import meden
from meden import Recipe, Regularizer, Run, Sharding
from meden.augment import Mixup
from meden.models import Decoder
from meden.optim import Activity
from meden.penalties import L1, L2, ActivityL2, GroupLasso, MaxNorm, PullTo

WIDTH, ROWS = 9, 38  # odd, so that shards are uneven


class Net(nn.Module):
    """Residual blocks of alike modules, with dropout."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(5, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.2)) for _ in range(2)
        )
        self.norm = nn.BatchNorm1d(WIDTH) if norm else nn.Identity()
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)  # type: ignore[no-any-return]


class Tied(nn.Module):
    """A tensor that is used in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, WIDTH)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.out = nn.Linear(5, WIDTH, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x).tanh()
        for block in self.blocks:
            x = x + block(x).tanh()
        return F.linear(x, self.out.weight.T)[:, :3]


def net() -> nn.Module:
    return Net().double()


def plain() -> nn.Module:
    return Net()


def normed() -> nn.Module:
    return Net(norm=True).double()


def tied() -> nn.Module:
    return Tied().double()


def frozen() -> nn.Module:
    model = Net().double()
    model.first.requires_grad_(False)
    model.blocks[0][0].bias.requires_grad_(False)
    return model


def decoder() -> nn.Module:
    return Decoder(6, 7, width=8, depth=2, num_heads=2, dropout=0.1).double()


Pair = tuple[Any, Any]


def rows() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + 11, 5, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])


class Items(Dataset[Any]):
    """The rows one by one."""

    def __init__(self, pair: Pair) -> None:
        self.x, self.y = pair

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> Any:
        return self.x[row], self.y[row]


def items() -> tuple[Any, Any]:
    fit, stop = rows()
    return Items(fit), Items(stop)


def tokens() -> tuple[Any, Any]:
    """Return windows of which one has tokens that do not count, and one none that does."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(7, (ROWS, 6), generator=generator)
    y = (x * 3 + 1) % 7
    y[4, 1:] = -100
    y[9] = -100
    return (x[:30], y[:30]), (x[30:], y[30:])


class Case(NamedTuple):
    """A training: what it changes of the usual recipe, how it is spread, and what it is of."""

    recipe: Mapping[str, Any] = {}
    sharding: Mapping[str, Any] = {}
    make: Callable[[], nn.Module] = net
    data: Callable[[], tuple[Any, Any]] = rows


USUAL: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 0.02,
    "epochs": 2,
    "batch_size": 13,  # and a last batch of 12
    "dropout": 0.2,
    "regularizers": [Regularizer(L1(2e-3)), Regularizer(L2(0.01), on="biases", coupling="gradient")],
}
IN_LOSS = [Regularizer(L2(0.05), coupling="loss"), Regularizer(L1(0.01), on="last.*", coupling="loss")]
STOPPING = {"early_stopping": {"patience": 3}, "lr": 0.1, "epochs": 12}
WORDS = {"batch_size": 4, "regularizers": [Regularizer(L1(2e-3))]}
CASES: dict[str, Case] = {
    "AdamW": Case(),
    "SGD momentum": Case({"optimizer": "sgd", "momentum": 0.9, "lr": 0.1}),
    "micro batches": Case(sharding={"micro_batch_size": 2}),
    "micro batches of none": Case({"batch_size": 3}, {"micro_batch_size": 1}),  # of 3 rows, one process has 1
    "clip": Case({"clip_norm": 0.1}),
    "checkpointed": Case({}, {"activation_checkpointing": True, "micro_batch_size": 3}),
    "mixup": Case({"augment": [Mixup(0.5)]}, {"micro_batch_size": 3}),
    "SAM": Case({"sharpness": {}}, {"micro_batch_size": 3}),
    "EMA": Case({"averaging": "ema"}),
    "R-Drop": Case({"rdrop": 1.0}, {"micro_batch_size": 3}),
    "lr_factors": Case({"lr_factors": {"last.*": 0.1, "biases": 0.5}}),
    "loss-coupled": Case({"regularizers": IN_LOSS}, {"micro_batch_size": 3}),
    "activity": Case({"activity": [Activity(ActivityL2(0.1), on="last")]}, {"micro_batch_size": 3}),
    "activity, checkpointed": Case(
        {"activity": [Activity(ActivityL2(0.1), on="blocks.*.0")]}, {"activation_checkpointing": True}
    ),
    "early stopping": Case(STOPPING),
    "steps_per_epoch": Case({"steps_per_epoch": 2, "epochs": 4}),
    "plateau": Case({"schedule": {"kind": "plateau", "every": 1}, "lr": 0.3, "epochs": 6}),
    "tokens": Case(WORDS, {"micro_batch_size": 1}, decoder, tokens),
    "tokens, R-Drop": Case({**WORDS, "rdrop": 0.5}, {}, decoder, tokens),
    "tied": Case({"regularizers": IN_LOSS[:1]}, {"micro_batch_size": 3}, tied),
    "frozen": Case({}, {"micro_batch_size": 3}, frozen),
    "groups": Case({"regularizers": [Regularizer(GroupLasso(0.02)), Regularizer(MaxNorm(0.5))]}),
    "groups across tensors": Case(
        {
            "regularizers": [
                Regularizer(GroupLasso(0.05), groups="units"),
                Regularizer(PullTo(GroupLasso(0.01)), groups="inputs"),
                Regularizer(L1(1e-3)),
            ]
        },
        {"micro_batch_size": 3},
    ),
    "groups across tensors, in the loss and by decay": Case(
        {
            "regularizers": [
                Regularizer(GroupLasso(0.05), groups="units", coupling="loss"),
                Regularizer(GroupLasso(0.05), groups="units", coupling="decoupled"),
                Regularizer(GroupLasso(0.05), groups="inputs", coupling="gradient"),
                Regularizer(L2(0.01), on="biases", coupling="loss"),
            ]
        }
    ),
    "PullTo": Case({"regularizers": [Regularizer(PullTo(L1(0.02)))]}),
    "Dataset": Case({}, {"micro_batch_size": 3}, net, items),
    "some watched": Case({"eval_rows": 7}),
    "no blocks": Case({}, {"blocks": "first"}),
}
HALF = Case(
    {"epochs": 17, "lr": 5e-3, "regularizers": [Regularizer(L1(0.02))]}, {"precision": "bfloat16"}, plain
)  # 51 steps
COMPILED = Case({"epochs": 1}, {"compile": True, "activation_checkpointing": True, "micro_batch_size": 4})


def trained(case: Case, *, spread: bool, seed: int | None = None, **given: Any) -> Run:
    """Train from the same weights, or from others of a seed, which only the first process's should matter."""
    torch.manual_seed(seed or 0)
    model = case.make()
    fit, stop = case.data()
    sharding = Sharding(**{**case.sharding, **given.pop("how", {})}) if spread else None
    recipe = Recipe(**{**USUAL, **case.recipe})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its future
        return meden.fit(model, fit, stop, recipe, seed=3, sharding=sharding, **given)


class Found(NamedTuple):
    """What comes of a training."""

    weights: dict[str, Tensor]
    history: list[dict[str, Any]]
    ending: list[Any]

    @classmethod
    def of(cls, run: Run) -> Found:
        weights = {name: param.detach().clone() for name, param in run.model.named_parameters()}
        history = [{k: v for k, v in record.items() if k != "seconds"} for record in run.history.to_list()]
        return cls(weights, history, [run.status, run.reason, run.best_step, run.best_epoch, run.model.training])

    def save(self, path: Path) -> None:
        torch.save(tuple(self), path)

    @classmethod
    def load(cls, path: Path) -> Found:
        return cls(*torch.load(path, weights_only=True))


def numbers(value: Any) -> list[float]:
    """Return all numbers in plain values."""
    if isinstance(value, Mapping):
        return [number for each in value.values() for number in numbers(each)]
    if isinstance(value, (list, tuple)):
        return [number for each in value for number in numbers(each)]
    return [float(value)] if isinstance(value, (int, float)) else []
