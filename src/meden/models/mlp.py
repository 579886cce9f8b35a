"""A multilayer perceptron for tables and flat inputs."""

from __future__ import annotations

from itertools import chain, pairwise, repeat

from torch import Tensor, nn

from meden._checks import check_choice, check_count, check_number

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class MLP(nn.Sequential):
    """Linear layers with an activation between them; optional batch norm before it, dropout after it, residuals.

    Args:
        num_inputs: features of a row, D.
        num_outputs: classes or regression outputs, C.
        width: units of each hidden layer.
        depth: hidden layers; 0 is a linear model.
        dropout: drop probability after each activation, in [0, 1).
        batch_norm: normalise each hidden layer before its activation.
        activation: ``"relu"``, ``"gelu"``, ``"silu"`` or ``"tanh"``.
        residual: add to each hidden layer but the first what goes into it.
        skip: add a linear function of the inputs to the outputs, by a layer called ``skip``, see :class:`Skip`.

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
        residual: bool = False,
        skip: bool = False,
    ) -> None:
        for name, value, low in (("num_inputs", num_inputs, 1), ("num_outputs", num_outputs, 1), ("width", width, 1)):
            check_count(name, value, low=low)
        check_count("depth", depth, low=0, high=1000)
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        check_choice("activation", activation, ACTIVATIONS)
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (fan_in, fan_out) in enumerate(pairwise(chain([num_inputs], repeat(width, depth)))):
            norm = [nn.BatchNorm1d(fan_out)] if batch_norm else []
            hidden = [nn.Linear(fan_in, fan_out), *norm, ACTIVATIONS[activation](), nn.Dropout(dropout)]
            layers += [Residual(*hidden)] if residual and number else hidden
        layers.append(nn.Linear(width if depth else num_inputs, num_outputs))
        if skip:
            layers[1:] = [Skip(nn.Linear(num_inputs, num_outputs, bias=False), *layers[1:])]
        super().__init__(*layers)


class Skip(nn.Module):
    """Layers, and beside them one that goes straight from their input to their output.

    Args:
        skip: the one beside.
        *layers: the others, in order.

    Example:
        >>> import torch
        >>> Skip(nn.Identity(), nn.ReLU(), nn.Identity())(torch.tensor([-1.0, 1.0]))
        tensor([-1.,  2.])

    Reference:
        I. Lemhadri, F. Ruan, L. Abraham and R. Tibshirani, LassoNet: a neural network with feature sparsity, 2021.
    """

    def __init__(self, skip: nn.Module, *layers: nn.Module) -> None:
        super().__init__()
        self.skip, self.layers = skip, nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways."""
        outputs: Tensor = self.skip(x) + self.layers(x)
        return outputs


class Residual(nn.Sequential):
    """Layers whose output is added to their input.

    Example:
        >>> import torch
        >>> Residual(nn.Identity())(torch.ones(2))
        tensor([2., 2.])

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, 2016.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the layers' output, of the same shape."""
        branch: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + branch
