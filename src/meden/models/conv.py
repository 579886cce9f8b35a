"""A small convolutional network for images and spectrograms."""

from __future__ import annotations

from itertools import chain, pairwise

from torch import nn

from meden._checks import check_count, check_number


class ConvNet(nn.Sequential):
    """Stages of a 3 x 3 convolution, batch norm, ReLU and a pooling that halves the sides; then the mean over places.

    Dropout stands where no batch norm follows it: before the last layer.

    Args:
        num_outputs: classes or regression outputs, C.
        num_channels: channels of the input: 1 for grey images and spectrograms, 3 for colour.
        width: channels of the first stage; each stage has twice as many as the one before.
        depth: stages.
        dropout: drop probability before the last layer, in [0, 1).
        batch_norm: normalise after each convolution; without it the convolutions have a bias.

    Shapes: (B, num_channels, H, W) for any H and W -> (B, C).

    Example:
        >>> import torch
        >>> ConvNet(10, width=4)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        num_outputs: int,
        *,
        num_channels: int = 1,
        width: int = 16,
        depth: int = 3,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        for name, value in (("num_outputs", num_outputs), ("num_channels", num_channels), ("width", width)):
            check_count(name, value)
        check_count("depth", depth, high=30)
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        widths = chain([num_channels], (width * 2**stage for stage in range(depth)))
        stages = [layer for sizes in pairwise(widths) for layer in _stage(*sizes, batch_norm)]
        out = nn.Linear(width * 2 ** (depth - 1), num_outputs)
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), out]
        super().__init__(*stages, *head)


def _stage(fan_in: int, fan_out: int, batch_norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=not batch_norm)
    norms = [nn.BatchNorm2d(fan_out)] if batch_norm else []
    return [convolution, *norms, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]  # a side of 1 stays 1
