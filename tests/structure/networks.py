"""Networks of many forms, each with an example: tables of cases for what is found in them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Case = Callable[[], tuple[nn.Module, Any]]


class Residual(nn.Module):
    """Filters tied by a sum, a depthwise convolution and a group norm; a concatenation before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.pointwise = nn.Conv2d(4, 6, 1)
        self.back = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.groups = nn.GroupNorm(2, 4)
        self.last = nn.Linear(4 * 4 + 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.stem(x)))
        h = self.groups(h + self.back(torch.relu(self.pointwise(self.depthwise(h)))))
        return self.last(torch.cat([F.max_pool2d(h, 2).flatten(1), h.mean((2, 3))], 1))


class Recurrent(nn.Module):
    """A recurrent layer of which the last state is read."""

    def __init__(self, kind: type[nn.RNNBase], **kwargs: Any) -> None:
        super().__init__()
        self.layer = kind(3, 5, batch_first=True, **kwargs)
        self.last = nn.Linear(5 * (2 if self.layer.bidirectional else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x)[0][:, -1])


class Gated(nn.Module):
    """A gated feed-forward layer in one matrix, between norms, with a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(6, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.down(F.glu(self.up(self.norm(x)), -1)))


class Twice(nn.Module):
    """One layer used twice in a row: its units are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.again(torch.relu(self.again(torch.relu(self.first(x)))))))


class Attention(nn.Module):
    """Attention written by hand with einsum, and weights for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.qkv = nn.Parameter(torch.randn(3, 4, 2, 5))
        self.mix = nn.Parameter(torch.randn(2, 5, 4))
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.embed(x))
        q, k, v = (torch.einsum("btc,chd->bthd", h, w) for w in self.qkv)
        scores = torch.einsum("bthd,bshd->bhts", q, k).softmax(-1)
        return self.last(torch.einsum("bthd,hdc->btc", torch.einsum("bhts,bshd->bthd", scores, v), self.mix).mean(1))


class Pruned(nn.Module):
    """A weight that is a parameter times a mask, and one that is made of two."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.register_buffer("mask", (torch.rand(5, 3) < 0.7).float())
        self.low, self.high = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 5))
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(F.linear(x, self.first.weight * self.mask, self.first.bias))
        return self.last(torch.relu(F.linear(h, self.low @ self.high)))


def perceptron() -> nn.Sequential:
    layers = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.PReLU(5), nn.Dropout(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    return nn.Sequential(*layers)


def upwards() -> nn.Sequential:
    down = nn.Conv1d(2, 6, 3, bias=False), nn.InstanceNorm1d(6, affine=True), nn.GELU()
    up = nn.ConvTranspose1d(6, 4, 2), nn.SiLU(), nn.Conv1d(4, 4, 1, groups=2)
    return nn.Sequential(*down, *up, nn.AvgPool1d(2), nn.Flatten(), nn.Linear(16, 2))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Linear(3, 8), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False))


NETWORKS: dict[str, Case] = {
    "perceptron": lambda: (perceptron(), torch.randn(3, 6)),
    "residual": lambda: (Residual(), torch.randn(2, 1, 4, 4)),
    "transposed": lambda: (upwards(), torch.randn(2, 2, 9)),
    "gru": lambda: (Recurrent(nn.GRU, bidirectional=True), torch.randn(2, 4, 3)),
    "lstm": lambda: (Recurrent(nn.LSTM, num_layers=2), torch.randn(2, 4, 3)),
    "rnn": lambda: (Recurrent(nn.RNN, bias=False), torch.randn(2, 4, 3)),
    "gated": lambda: (Gated(), torch.randn(3, 4)),
    "twice": lambda: (Twice(), torch.randn(3, 3)),
    "attention": lambda: (Attention(), torch.randn(2, 3, 3)),
    "encoder": lambda: (encoder(), torch.randn(2, 3, 3)),
    "pruned": lambda: (Pruned(), torch.randn(3, 3)),
}
