"""The default network for tables.

Every setting that other libraries give to the optimizer per tensor is a constant in the forward pass here: under Adam,
a tensor multiplied by c in the forward pass moves as if its learning rate were multiplied by c. One learning rate then
serves all tensors, and models of one structure can be trained as one stack.

Legend: ``B`` rows, ``D`` inputs, ``N`` of them scaled numbers, ``H`` units, ``C`` outputs.
"""

from __future__ import annotations

import math
from itertools import chain, pairwise, repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meden._checks import InputError, check_count, check_number

SLOW, FAST = 0.1, 6.0
"""Factors of the learning rate: of biases, embeddings and slopes; and of the scales of the inputs."""
NUM_WAVES = 16
"""Cosines of a number."""
NUM_FEATURES = 3
"""Inputs that are mixed of the cosines of a number, besides the number itself."""


class TabularNet(nn.Module):
    """A multilayer perceptron with embedded numbers, learned input scales, and activations of learned strength.

    Each number x joins ``NUM_FEATURES`` mixtures of cosines of x, so that a narrow network can bend its answer along x;
    each input is scaled by a learned factor, a soft selection of features; hidden layers are linear in the neural
    tangent parametrisation with a parametric activation and dropout; the last layer starts at zero. Levels of text
    columns are zeros and ones, and the first layer's weights their embedding.

    Args:
        num_inputs: inputs of a row, D.
        num_outputs: classes or regression outputs, C.
        num_numbers: leading inputs that are scaled numbers, N: those are embedded. Encoders put them first.
        num_targets: labels of a row if it has several of C classes each; None for one answer a row.
        width: units of each hidden layer, H.
        depth: hidden layers.
        dropout: drop probability after each activation, in [0, 1).
        frequency: standard deviation of the cosines' frequencies at first, in cycles per unit of a scaled number: the
            larger, the more the answer can bend.

    Shapes: (B, D) -> (B, C), or (B, num_targets, C).

    Example:
        >>> TabularNet(10, 3, num_numbers=4, width=16)(torch.zeros(5, 10)).shape
        torch.Size([5, 3])

    Reference:
        D. Holzmüller, L. Grinsztajn and I. Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on
        tabular data, 2024; Y. Gorishniy, I. Rubachev and A. Babenko, On embeddings for numerical features in tabular
        deep learning, 2022.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        num_numbers: int = 0,
        num_targets: int | None = None,
        width: int = 128,
        depth: int = 3,
        dropout: float = 0.15,
        frequency: float = 0.3,
    ) -> None:
        super().__init__()
        for name, value in (("num_inputs", num_inputs), ("num_outputs", num_outputs), ("width", width)):
            check_count(name, value)
        check_count("num_numbers", num_numbers, low=0)
        check_count("depth", depth, low=0, high=1000)
        if num_numbers > num_inputs:
            raise InputError(f"num_numbers must be at most num_inputs ({num_inputs}), got {num_numbers}")
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        check_number("frequency", frequency, low=0.0, low_open=True)
        self.num_numbers, self.num_targets = num_numbers, num_targets
        self.numbers = PeriodicEmbedding(num_numbers, frequency)
        num_features = num_inputs + NUM_FEATURES * num_numbers
        layers: list[nn.Module] = [InputScale(num_features)]
        for fan_in, fan_out in pairwise(chain([num_features], repeat(width, depth))):
            layers += [TangentLinear(fan_in, fan_out), ParametricActivation(fan_out), nn.Dropout(dropout)]
        last = TangentLinear(width if depth else num_features, num_outputs * (num_targets or 1))
        self.layers = nn.Sequential(*layers, last)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Have the network answer zero at first; its layers reset what is theirs."""
        for param in self.layers[-1].parameters():
            nn.init.zeros_(param)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits or predictions."""
        outputs: Tensor = self.layers(torch.cat([x, self.numbers(x[:, : self.num_numbers])], 1))
        return outputs if self.num_targets is None else outputs.view(len(x), self.num_targets, -1)


class PeriodicEmbedding(nn.Module):
    """Mixtures of cosines of each number: (B, N) -> (B, N * NUM_FEATURES)."""

    def __init__(self, num_numbers: int, frequency: float) -> None:
        super().__init__()
        self._frequency = frequency  # underscored: networks that differ in it alone are of one structure
        self.embedding_frequency = nn.Parameter(torch.empty(num_numbers, NUM_WAVES))
        self.embedding_phase = nn.Parameter(torch.empty(num_numbers, NUM_WAVES))
        self.embedding_mix = nn.Parameter(torch.empty(num_numbers, NUM_WAVES, NUM_FEATURES))
        self.embedding_bias = nn.Parameter(torch.empty(num_numbers, NUM_FEATURES))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw frequencies, phases and mixtures."""
        frequency, bound = self.embedding_frequency, 1 / math.sqrt(NUM_WAVES)
        frequency.copy_(2 * math.pi * self._frequency / SLOW * torch.randn_like(frequency))
        for param, size in (
            (self.embedding_phase, math.pi),
            (self.embedding_mix, bound),
            (self.embedding_bias, bound),
        ):
            param.copy_(size / SLOW * (2 * torch.rand_like(param) - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixtures of one number behind those of the other."""
        waves = torch.cos(SLOW * (x.unsqueeze(-1) * self.embedding_frequency + self.embedding_phase))
        mixed = torch.einsum("bnw,nwf->bnf", waves, self.embedding_mix) + self.embedding_bias
        return SLOW * mixed.flatten(1)


class InputScale(nn.Module):
    """A learned factor of each input, 1 at first."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.move = nn.Parameter(torch.empty(num_inputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale nothing."""
        nn.init.zeros_(self.move)

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        return x * (1 + FAST * self.move)


class TangentLinear(nn.Module):
    """x W' / sqrt(fan_in) + b, with standard normal W and b.

    Penalties act on W / sqrt(fan_in), which the declared scales say.
    """

    weight_axes = {"units": 0, "inputs": 1}  # noqa: RUF012 - read alone

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight_scale, self.bias_scale = 1 / math.sqrt(fan_in), SLOW
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))
        self.bias = nn.Parameter(torch.empty(fan_out))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights and biases."""
        self.weight.copy_(torch.randn_like(self.weight))
        self.bias.copy_(torch.randn_like(self.bias) / SLOW)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.weight * self.weight_scale, self.bias * self.bias_scale)


class ParametricActivation(nn.Module):
    """x + a (selu(x) - x) with a learned strength a for each unit, 1 at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.move = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Bend fully."""
        nn.init.zeros_(self.move)

    def forward(self, x: Tensor) -> Tensor:
        """Bend."""
        return x + (1 + SLOW * self.move) * (F.selu(x) - x)
