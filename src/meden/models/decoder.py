"""A decoder as language models have them now: normalised by root mean squares, rotated, without biases.

Legend: ``B`` rows, ``T`` tokens, ``D`` width, ``H`` heads, ``P`` numbers of a head, ``V`` tokens known.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meden._checks import InputError, check_choice, check_count, check_number

Activation = Literal["relu2", "swiglu"]
ACTIVATIONS = ("relu2", "swiglu")
HIDDEN = 4
"""Units of a block's hidden layer, in widths, unless told; a gated one has two thirds, and so as many weights."""
BASE = 10_000.0
"""Of the rotations: the slowest turns by one radian in about so many tokens."""


class Decoder(nn.Module):
    """Predict each next token from those up to it.

    Blocks of causal attention and a hidden layer, each of which sees the normalised sum of the embedding and of what
    all before it added. Positions are rotations of queries and keys, both normalised, so that no logit of attention
    exceeds ``sqrt(P)``. What blocks add starts at zero, and so do the logits of a last layer of its own. A block of
    ``blocks`` is what is sharded, compiled or computed again as a whole.

    Args:
        num_inputs: tokens of the longest row, T.
        num_tokens: tokens known, V.
        width: numbers per token, D; ``num_heads`` times an even number.
        depth: blocks.
        num_heads: attention heads, H.
        activation: of the hidden layer: ``"relu2"``, relu(x)^2; or ``"swiglu"``, silu(x) y.
        hidden: units of a block's hidden layer; None is 4 D, or 8/3 D of ``"swiglu"``, which has as many weights.
        num_mixed: tokens before each one whose embeddings join its own, each times weights that start at zero: what
            pairs and triples of tokens say need not be found by attention.
        tied: whether the embedding is also the last layer, which saves V D weights.
        dropout: drop probability in [0, 1), of embeddings and of what each block adds.

    Shapes: int64 (B, T) -> (B, T, V), the logits at t being those of token t + 1.

    Raises:
        InputError: if an argument is out of its range; where it is called, if a row has more than ``num_inputs``.

    Example:
        >>> model = Decoder(num_inputs=6, num_tokens=50, width=8, num_heads=2)
        >>> logits = model(torch.ones(3, 6).long())
        >>> logits.shape, bool(logits.any())
        (torch.Size([3, 6, 50]), False)

    Reference:
        B. Zhang, R. Sennrich, Root mean square layer normalization, 2019; J. Su and others, RoFormer: enhanced
        transformer with rotary position embedding, 2021; A. Henry and others, Query-key normalization for transformers,
        2020; D. So and others, Primer (relu^2, short convolutions), 2021; N. Shazeer, GLU variants improve transformer,
        2020.
    """

    def __init__(
        self,
        num_inputs: int,
        num_tokens: int,
        *,
        width: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        activation: Activation = "relu2",
        hidden: int | None = None,
        num_mixed: int = 3,
        tied: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("num_inputs", num_inputs), ("num_tokens", num_tokens), ("width", width)):
            check_count(name, value)
        check_count("depth", depth, low=0, high=1000)
        check_count("num_heads", num_heads)
        if hidden is not None:
            check_count("hidden", hidden)
        check_count("num_mixed", num_mixed, low=0)
        check_choice("activation", activation, ACTIVATIONS)
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        if width % (2 * num_heads):
            raise InputError(f"width must be an even multiple of num_heads={num_heads}, got {width}")
        self.num_inputs, self.head_width = num_inputs, width // num_heads
        self.embed, self.dropout = nn.Embedding(num_tokens, width), nn.Dropout(dropout)
        self.mixed = Mixed(width, num_mixed) if num_mixed else nn.Identity()
        self.blocks = nn.ModuleList(DecoderBlock(width, num_heads, activation, hidden, dropout) for _ in range(depth))
        self.out = None if tied else nn.Linear(width, num_tokens, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding, and set the last layer to zero; where both are one, its logits start small."""
        nn.init.normal_(self.embed.weight, std=0.02 if self.out is None else 1.0)
        if self.out is not None:
            nn.init.zeros_(self.out.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (B, T, V)."""
        if tokens.shape[1] > self.num_inputs:
            raise InputError(f"rows must have at most num_inputs={self.num_inputs} tokens, got {tokens.shape[1]}")
        x = self.dropout(self.mixed(normalised(self.embed(tokens))))
        turns = rotations(tokens.shape[1], self.head_width, x)
        for block in self.blocks:
            x = block(x, turns)
        last = self.embed if self.out is None else self.out
        return F.linear(normalised(x), last.weight)


class Mixed(nn.Module):
    """Add to each token those before it, number by number: a short causal convolution of each channel by itself.

    Example:
        >>> mixed = Mixed(width=1, num_before=2)
        >>> _ = nn.init.constant_(mixed.weight, 0.5)
        >>> mixed(torch.tensor([[[1.0], [2.0], [4.0], [8.0]]])).flatten().tolist()
        [1.0, 2.5, 5.5, 11.0]
    """

    weight_axes: ClassVar = {"units": 1}

    def __init__(self, width: int, num_before: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_before, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to zero: nothing is added."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D)."""
        out = x
        for before, weight in enumerate(self.weight[: x.shape[1] - 1], start=1):
            out = out + weight * F.pad(x, (0, 0, before, -before))
        return out


class DecoderBlock(nn.Module):
    """Causal attention, then a hidden layer for each token; both see normalised inputs and are added to what they saw.

    Example:
        >>> x = torch.randn(3, 5, 8)
        >>> torch.equal(DecoderBlock(width=8, num_heads=2)(x, rotations(5, 4, x)), x)  # it adds nothing yet
        True
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        activation: Activation = "relu2",
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.activation = num_heads, activation
        if hidden is None:
            hidden = HIDDEN * width if activation == "relu2" else 2 * HIDDEN * width // 3
        self.qkv, self.mix = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden if activation == "relu2" else 2 * hidden, bias=False)
        self.down, self.dropout = nn.Linear(hidden, width, bias=False), nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw what reads, keeping sizes or halving them, and set what adds to zero."""
        for layer, gain in ((self.qkv, 1.0), (self.up, 0.5)):
            nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
        for layer in (self.mix, self.down):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """Return (B, T, D); ``turns`` are :func:`rotations`."""
        x = x + self.dropout(self.mix(self._attended(self.qkv(normalised(x)), turns)))
        out: Tensor = x + self.dropout(self.down(self._active(self.up(normalised(x)))))
        return out

    def _attended(self, qkv: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        heads = qkv.view(*qkv.shape[:-1], 3 * self.num_heads, -1)
        queries_and_keys, values = heads.split_with_sizes((2 * self.num_heads, self.num_heads), dim=-2)
        turned = rotated(normalised(queries_and_keys), turns).to(qkv.dtype).transpose(1, 2)
        queries, keys = turned.chunk(2, dim=1)
        attended = F.scaled_dot_product_attention(queries, keys, values.transpose(1, 2), is_causal=True)
        return attended.transpose(1, 2).flatten(2)

    def _active(self, hidden: Tensor) -> Tensor:
        if self.activation == "swiglu":
            gates, values = hidden.chunk(2, dim=-1)
            return F.silu(gates) * values
        positive = F.relu(hidden)
        return positive * positive  # twice as fast on a CPU as its square, forth and back


def normalised(x: Tensor) -> Tensor:
    """Return x over the root of its mean square along the last axis.

    Example:
        >>> normalised(torch.tensor([[3.0, 3.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 0.]])
    """
    return F.rms_norm(x, x.shape[-1:])


def rotations(num_tokens: int, head_width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and signed sines of the angles of each place, (T, 1, P) each, on the device of ``like``.

    Example:
        >>> cosines, sines = rotations(2, 2, torch.zeros(1))
        >>> cosines.flatten().tolist()[:2], [round(sine, 3) for sine in sines[1, 0].tolist()]
        ([1.0, 1.0], [0.841, -0.841])
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32  # a few bits cannot count tokens
    pairs = torch.arange(0, head_width, 2, device=like.device, dtype=dtype)
    places = torch.arange(num_tokens, device=like.device, dtype=dtype)
    angles = places[:, None, None] * BASE ** (-pairs / head_width)
    cosines, sines = angles.cos(), angles.sin()
    return torch.cat([cosines, cosines], dim=-1), torch.cat([sines, -sines], dim=-1)


def rotated(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Return x (B, T, H, P), number i of a head turned with number i + P/2, by the place of the token.

    Example:
        >>> x = torch.randn(1, 3, 1, 4)
        >>> turned = rotated(x, rotations(3, 4, x))
        >>> torch.equal(turned[:, 0], x[:, 0]), torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))
        (True, True)
    """
    cosines, sines = turns
    return torch.addcmul(x * cosines, x.roll(x.shape[-1] // 2, -1), sines)
