"""A linear model of flat inputs."""

from __future__ import annotations

from torch import nn

from meden._checks import check_count


class Linear(nn.Sequential):
    """One linear layer: logistic regression, or linear regression, once it is trained.

    Args:
        num_inputs: features of a row, D.
        num_outputs: classes or regression outputs, C.

    Shapes: (B, ...) with D numbers a row -> (B, C).

    Example:
        >>> import torch
        >>> Linear(10, 3)(torch.zeros(5, 10)).shape
        torch.Size([5, 3])
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        for name, value in (("num_inputs", num_inputs), ("num_outputs", num_outputs)):
            check_count(name, value)
        super().__init__(nn.Flatten(), nn.Linear(num_inputs, num_outputs))
