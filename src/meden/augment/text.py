"""Augmentations of texts as token numbers (B, T): tokens and spans hidden, neighbours swapped.

Padding is never touched, wherever it stands; hidden tokens become the one that stands for unknown words.

Legend: ``B`` rows of a batch, ``T`` places of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import InputError, check_count, check_number
from meden.augment.base import Augmentation, Number, check_shape
from meden.data.text import PADDING, UNKNOWN
from meden.noise import Draws


def token_drop(x: Tensor, draws: Draws, *, p: Number) -> Tensor:
    """Hide each token with probability p: 1, the unknown token, takes its place.

    Args:
        x: (B, T), whole numbers.
        draws: where all randomness comes from.
        p: in [0, 1].

    Example:
        >>> from meden.noise import stream
        >>> token_drop(torch.tensor([[7, 8, 0]]), Draws(stream(0), torch.tensor(0)), p=1.0)
        tensor([[1, 1, 0]])

    Reference:
        M. Iyyer, V. Manjunatha, J. Boyd-Graber, H. Daume III, Deep unordered composition rivals syntactic
        methods, 2015.
    """
    return _hidden(x, draws.uniform(*x.shape) < p)


def span_mask(x: Tensor, draws: Draws, *, p: Number, span: int) -> Tensor:
    """Hide spans of ``span`` tokens, which may overlap or reach beyond the row, so that each token goes with chance p.

    Args:
        x: (B, T), whole numbers.
        draws: where all randomness comes from.
        p: in [0, 1], probability of a token to be hidden.
        span: length of a span.

    Example:
        >>> from meden.noise import stream
        >>> span_mask(torch.tensor([[7, 8, 0]]), Draws(stream(0), torch.tensor(0)), p=1.0, span=2)
        tensor([[1, 1, 0]])

    Reference:
        M. Joshi, D. Chen, Y. Liu, D. Weld, L. Zettlemoyer, O. Levy, SpanBERT, 2020.
    """
    p_start = 1 - (1 - p) ** (1 / span)
    starts = draws.uniform(x.shape[0], x.shape[1] + span - 1) < p_start
    return _hidden(x, torch.stack([starts[:, k : k + x.shape[1]] for k in range(span)]).any(0))


def token_swap(x: Tensor, draws: Draws, *, p: Number) -> Tensor:
    """Swap neighbours: each row is cut into pairs, from its first or second place, and each pair swaps with chance p.

    A pair with padding in it stays.

    Args:
        x: (B, T), whole numbers.
        draws: where all randomness comes from.
        p: in [0, 1].

    Example:
        >>> from meden.noise import stream
        >>> sorted(token_swap(torch.tensor([[7, 8, 9, 0]]), Draws(stream(0), torch.tensor(0)), p=1.0)[0].tolist())
        [0, 7, 8, 9]

    Reference:
        J. Wei and K. Zou, EDA: easy data augmentation techniques, 2019 (there of any two words).
    """
    num, length = x.shape
    place = torch.arange(length, device=x.device)
    offset = (draws.uniform(num, 1) < 0.5).long()
    left = place - (place + offset) % 2  # of the pair of each place: -1 where it begins before the row
    partner = (2 * left + 1 - place).clamp(0, length - 1)
    other = x.gather(1, partner)
    chosen = (draws.uniform(num, length) < p).gather(1, left.clamp(min=0)) & (left >= 0)
    return torch.where(chosen & (x != PADDING) & (other != PADDING), other, x)


@dataclass(frozen=True)
class TokenDrop(Augmentation):
    """Tokens hidden one by one, see :func:`token_drop`.

    Args:
        p: probability to hide a token, in [0, 1].
    """

    p: Number = 0.1

    def __post_init__(self) -> None:
        check_number("TokenDrop p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return token_drop(x, draws, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        _check_tokens("TokenDrop", x)


@dataclass(frozen=True)
class SpanMask(Augmentation):
    """Tokens hidden in spans, see :func:`span_mask`.

    Args:
        p: probability of a token to be hidden, in [0, 1].
        span: length of a span.
    """

    p: Number = 0.1
    span: int = 3

    def __post_init__(self) -> None:
        check_number("SpanMask p", self.p, low=0.0, high=1.0)
        check_count("SpanMask span", self.span)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return span_mask(x, draws, p=self.p, span=self.span), y

    def check(self, x: Tensor, task: str) -> None:
        _check_tokens("SpanMask", x)


@dataclass(frozen=True)
class TokenSwap(Augmentation):
    """Neighbours swapped, see :func:`token_swap`.

    Args:
        p: probability of a pair to swap, in [0, 1].
    """

    p: Number = 0.1

    def __post_init__(self) -> None:
        check_number("TokenSwap p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return token_swap(x, draws, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        _check_tokens("TokenSwap", x)


def _hidden(x: Tensor, chosen: Tensor) -> Tensor:
    return x.masked_fill(chosen & (x != PADDING), UNKNOWN)


def _check_tokens(name: str, x: Tensor) -> None:
    check_shape(name, x, {2: "(n, T)"})
    if x.is_floating_point() or x.dtype == torch.bool:
        raise InputError(f"x must hold token numbers (integers) for {name}, got {str(x.dtype).removeprefix('torch.')}")
