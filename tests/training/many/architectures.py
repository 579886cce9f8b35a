"""Models of every kind of layer, small, with data that fit them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

import meden
from meden.augment import Affine, CutMix, Cutout, Flip, LabelSmoothing, Mixup, PadCrop
from meden.models import Decoder
from meden.penalties import L1, L2, GroupLasso, MaxNorm, Sum
from tests.contracts import Each, PopulationCase
from tests.training.many.witness import blobs, curve


@dataclass(frozen=True)
class Architecture:
    """A model, the data it takes, and recipes for three members."""

    name: str
    make: Callable[[], nn.Module]
    data: Callable[[], Any] = blobs
    fields: dict[str, Any] | None = None
    dtype: torch.dtype = torch.float64
    stacked: bool = True
    penalties: Callable[[float], list[meden.Regularizer]] = lambda s: [
        meden.Regularizer(L1(s)),
        meden.Regularizer(L2(s), on="all", coupling="gradient"),
    ]
    """Of a strength."""

    def __str__(self) -> str:
        return self.name

    def recipes(self):
        fields = {"optimizer": "adam"} | (self.fields or {})
        return PopulationCase(self.name, fields, self.penalties, strengths=(1e-5, 1e-4, 1e-3)).recipes()


def images(n=60):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    x = rng.normal(size=(n, 1, 6, 6)).astype(np.float32)
    x[np.arange(n), 0, 2 * y, :] += 2
    return x, y


def tokens(n=60, length=7, words=11):
    rng = np.random.default_rng(0)
    x = rng.integers(0, words, size=(n, length))
    return x, (x == 3).sum(1).clip(0, 2)


def following(n=60, length=7, words=11):
    """Return tokens and those that follow them, (n, T) both, of which some do not count."""
    starts = np.random.default_rng(0).integers(0, words, size=(n, 1))
    texts = (starts + 3 * np.arange(length + 1)) % words
    return texts[:, :-1], np.where((starts % 4 == 0) & (np.arange(length) > 2), -100, texts[:, 1:])


def series(n=60, length=7, channels=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, length, channels)).astype(np.float32)
    return x, x[:, :, 0].sum(1).argsort().argsort() % 3


def columns(n=60):
    x, y = curve(n)
    return x, np.stack([y, y**2], 1)


def two_classes():
    x, y = blobs(classes=2)
    return x, y


class Residual(nn.Module):
    """Two residual blocks with norms, of which the last layer starts at zero."""

    def __init__(self):
        super().__init__()
        self.into = nn.Linear(5, 6)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.Dropout(0.2), nn.Linear(6, 6))
            for _ in range(2)
        )
        self.out = nn.Linear(6, 3)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        x = self.into(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


class Tied(nn.Module):
    """One matrix used twice, and a layer called twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.out = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        x = torch.tanh(self.mix(torch.tanh(self.mix(self.embed(x)))))
        return self.out(x.mean(1))[:, :3]


class Attention(nn.Module):
    """One block of a transformer, with attention written by hand around torch's function."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.place = nn.Parameter(torch.randn(7, 8) / 8)
        self.qkv, self.norm, self.out = nn.Linear(8, 24), nn.LayerNorm(8), nn.Linear(8, 3)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        h = self.embed(x) + self.place
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(self.norm(h)).chunk(3, -1))
        h = h + self.scale * F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(h.mean(1))


class MultiHead(nn.Module):
    """Torch's own attention layer."""

    def __init__(self, dropout=0.0, need_weights=False):
        super().__init__()
        self.embed, self.norm, self.need_weights = nn.Embedding(11, 8), nn.LayerNorm(8), need_weights
        self.attention, self.out = nn.MultiheadAttention(8, 2, dropout, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x)
        h = h + self.attention(h, h, h, need_weights=self.need_weights)[0]
        return self.out(self.norm(h).mean(1))


class Between(nn.Module):
    """Two linear layers with a function between them."""

    def __init__(self, function):
        super().__init__()
        self.into, self.out, self.function = nn.Linear(5, 6), nn.Linear(6, 3), function

    def forward(self, x):
        return self.out(self.function(self, self.into(x)))


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on its last state."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.cell = kind(4, 5, batch_first=True, **settings)
        self.out = nn.Linear(10 if self.cell.bidirectional else 5, 3)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Features(nn.Module):
    """Random features kept in a plain attribute, which no state dictionary tells of."""

    def __init__(self):
        super().__init__()
        self.directions = torch.randn(5, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.cos(x @ self.directions.to(x)))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        nn.Dropout2d(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def frozen():
    model = nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    model[3].bias.requires_grad_(False)
    return model


def bag():
    return nn.Sequential(nn.Embedding(11, 6, padding_idx=0), nn.LayerNorm(6), nn.Flatten(), nn.Linear(42, 3))


def mixed():
    """Layers whose penalised tensors have one number, one column, no dimension."""
    return nn.Sequential(nn.Linear(5, 1), nn.PReLU(), nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 3))


def own_dropout():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Dropout(0.1), nn.Linear(8, 3))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.2, batch_first=True)
    return nn.Sequential(nn.Embedding(11, 8), layer, nn.Flatten(), nn.Linear(56, 3))


def normed(norm):
    return nn.Sequential(norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3))


def on_magnitudes(s):
    """Penalties that act on a weight of weight norm in steps."""
    return [
        meden.Regularizer(L1(s), on="2.weight"),
        meden.Regularizer(Sum((GroupLasso(s), L2(s)))),
        meden.Regularizer(L2(s), on="all", coupling="gradient"),
        meden.Regularizer(MaxNorm(1 + s), on="0.weight"),
    ]


def beside(s):
    return [meden.Regularizer(L1(s), on="2.weight"), meden.Regularizer(L2(s), on="biases", coupling="gradient")]


def in_loss(s):
    return [meden.Regularizer(L1(s), coupling="loss"), meden.Regularizer(L2(s), on="biases")]


DRAWING = [
    Architecture("functional dropout", lambda: Between(lambda net, h: F.dropout(h.tanh(), 0.3, net.training))),
    Architecture("multi-head attention, dropout", lambda: MultiHead(0.2), tokens),
    Architecture("multi-head attention, dropout, weights", lambda: MultiHead(0.2, need_weights=True), tokens),
    Architecture("transformer encoder layer", encoder, tokens),
    Architecture("LSTM of two layers, dropout", lambda: Recurrent(nn.LSTM, num_layers=2, dropout=0.3), series),
    Architecture(
        "GRU of two layers, two directions, dropout",
        lambda: Recurrent(nn.GRU, num_layers=2, dropout=0.3, bidirectional=True),
        series,
    ),
    Architecture(
        "alpha dropout", lambda: nn.Sequential(nn.Linear(5, 6), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(6, 3))
    ),
    Architecture("RReLU", lambda: nn.Sequential(nn.Linear(5, 6), nn.RReLU(), nn.Linear(6, 3))),
    Architecture("gumbel softmax", lambda: Between(lambda _, h: F.gumbel_softmax(h)), stacked=False),
    Architecture("normal noise", lambda: Between(lambda _, h: h + torch.randn_like(h)), stacked=False),
    Architecture("dropout in evaluation too", lambda: Between(lambda _, h: F.dropout(h, 0.3)), stacked=False),
]
"""Models that draw random numbers by torch's functions."""

NORMED = [
    Architecture(
        "batch norm after a bias",
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
        fields={"lr": Each((0.001, 0.002, 0.003))},
        dtype=torch.float32,  # in which rounding counts: by plain gradients the biases part by 2 %
    ),
    Architecture("weight norm", lambda: normed(weight_norm), penalties=on_magnitudes),
    Architecture(
        "weight norm of the whole, and of a convolution",
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 5)),
            weight_norm(nn.Conv1d(1, 3, 2), dim=1),
            nn.Tanh(),
            nn.Flatten(),
            weight_norm(nn.Linear(12, 3), dim=None),
        ),
        penalties=lambda s: [meden.Regularizer(L2(s)), meden.Regularizer(GroupLasso(s, dim=1), on="1.weight")],
    ),
    Architecture("spectral norm", lambda: normed(spectral_norm), stacked=False, penalties=beside),
]

ARCHITECTURES = [
    *DRAWING,
    *NORMED,
    Architecture("weight norm, L1 in the loss", lambda: normed(weight_norm), stacked=False, penalties=in_loss),
    Architecture("spectral norm, L1 in the loss", lambda: normed(spectral_norm), stacked=False, penalties=in_loss),
    Architecture("orthogonal, L1 in the loss", lambda: normed(orthogonal), stacked=False, penalties=in_loss),
    Architecture("convolutional, batch and group norm", convolutional, images),
    Architecture(
        "convolutional, augmented images",
        convolutional,
        images,
        {"augment": Each([(Flip(a), PadCrop(1), Affine(), Cutout(2), CutMix(a)) for a in (0.1, 0.5, 1.0)])},
    ),
    Architecture("embedding, layer norm", bag, tokens),
    Architecture("attention", Attention, tokens),
    Architecture("multi-head attention", MultiHead, tokens),
    Architecture(
        "next tokens", lambda: Decoder(7, 11, width=8, depth=1, num_heads=2, dropout=0.2), following, {"rdrop": 0.5}
    ),
    Architecture("LSTM", lambda: Recurrent(nn.LSTM), series),
    Architecture("GRU", lambda: Recurrent(nn.GRU), series),
    Architecture("dropout of its own", own_dropout, dtype=torch.float32),
    Architecture("frozen parameters", frozen),
    Architecture("tied weights", Tied, tokens),
    Architecture("residual blocks, the last layer zero", Residual),
    Architecture("random features", Features),
    Architecture("tensors of one number", mixed),
    Architecture("regression, (n,)", lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1)), curve),
    Architecture(
        "regression, two columns", lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2)), columns
    ),
    Architecture(
        "regression, flat outputs",
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0)),
        lambda: (curve()[0], curve()[1][:, None]),
        {"optimizer": "sgd", "momentum": 0.9, "dropout": Each((0.0, 0.1, 0.2))},
    ),
    Architecture("one logit", lambda: nn.Linear(5, 1), two_classes, {"optimizer": "sgd"}, torch.float32),
    Architecture(
        "one logit, mixtures of classes",
        lambda: nn.Linear(5, 1),
        two_classes,
        {"augment": Each([(Mixup(a), LabelSmoothing(a / 2)) for a in (0.1, 0.4, 0.8)]), "averaging": "ema"},
        torch.float32,
    ),
]
