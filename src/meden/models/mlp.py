"""A multilayer perceptron for tables and flat inputs."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from meden._checks import check_choice, check_count, check_number

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class MLP(nn.Sequential):
    """Linear layers with an activation between them; optional batch norm before it and dropout after it.

    Args:
        num_inputs: features of a row, D.
        num_outputs: classes or regression outputs, C.
        width: units of each hidden layer.
        depth: hidden layers; 0 is a linear model.
        dropout: drop probability after each activation, in [0, 1).
        batch_norm: normalise each hidden layer before its activation.
        activation: ``"relu"``, ``"gelu"``, ``"silu"`` or ``"tanh"``.

    Shapes: (B, ...) with D numbers a row -> (B, C).

    Example:
        >>> import torch
        >>> MLP(10, 3, width=16)(torch.zeros(5, 10)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        for name, value, low in (("num_inputs", num_inputs, 1), ("num_outputs", num_outputs, 1), ("width", width, 1)):
            check_count(name, value, low=low)
        check_count("depth", depth, low=0)
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        check_choice("activation", activation, ACTIVATIONS)
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise([num_inputs] + [width] * depth):
            layers.append(nn.Linear(fan_in, fan_out))
            layers += [nn.BatchNorm1d(fan_out)] if batch_norm else []
            layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(width if depth else num_inputs, num_outputs))
