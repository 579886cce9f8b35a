"""Small transformers: a classifier of token sequences, and a causal model that predicts each next token.

Blocks normalise first (pre-norm). Token 0 is padding.

Legend: ``B`` rows, ``T`` tokens, ``D`` width, ``H`` heads, ``V`` tokens known, ``C`` classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meden._checks import InputError, check_count, check_number

PADDING = 0
"""The token that fills short rows up."""
HIDDEN = 4
"""Units of a block's hidden layer, in widths."""


class Transformer(nn.Module):
    """Classify rows of tokens: embeddings and positions, blocks of attention, the mean over tokens, a linear layer.

    No token attends to padding, and the mean leaves it out, so that a row's outputs do not depend on how far it is
    filled up. The mean is normalised, not each token, so that a token may weigh more than another. With ``depth=0``
    it is a linear model of the normalised mean embedding.

    Args:
        num_inputs: tokens of the longest row, T.
        num_outputs: classes or regression outputs, C.
        num_tokens: tokens known, V, padding (0) included.
        width: numbers per token, D; a multiple of ``num_heads``.
        depth: blocks.
        num_heads: attention heads, H.
        dropout: drop probability in [0, 1), of embeddings, of what each block adds, and before the last layer.

    Shapes: int64 (B, T) -> (B, C).

    Example:
        >>> model = Transformer(num_inputs=6, num_outputs=2, num_tokens=50, width=8, num_heads=2).eval()
        >>> short, padded = torch.tensor([[5, 9, 3]]), torch.tensor([[5, 9, 3, 0, 0]])
        >>> model(short).shape, torch.allclose(model(short), model(padded), atol=1e-6)
        (torch.Size([1, 2]), True)

    Reference:
        A. Vaswani and others, Attention is all you need, 2017.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        num_tokens: int,
        width: int = 64,
        depth: int = 1,
        num_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_count("num_outputs", num_outputs)
        self.embed = Embedding(num_inputs, num_tokens, width, dropout)
        self.blocks = _blocks(width, depth, num_heads, dropout)
        self.norm, self.dropout, self.out = nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits or predictions, (B, C)."""
        x, present = self.embed(tokens), tokens != PADDING
        for block in self.blocks:
            x = block(x, present[:, None, None, :])
        weight = present.unsqueeze(-1).to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1)  # a row without tokens gives zeros
        out: Tensor = self.out(self.dropout(self.norm(mean)))
        return out


class CausalTransformer(nn.Module):
    """Predict each next token from those up to it.

    Args:
        num_inputs: tokens of the longest row, T.
        num_tokens: tokens known, V.
        width: numbers per token, D; a multiple of ``num_heads``.
        depth: blocks.
        num_heads: attention heads, H.
        dropout: drop probability in [0, 1), of embeddings and of what each block adds.

    Shapes: int64 (B, T) -> (B, T, V), the logits at t being those of token t + 1.

    Example:
        >>> CausalTransformer(num_inputs=6, num_tokens=50, width=8, num_heads=2)(torch.ones(3, 6).long()).shape
        torch.Size([3, 6, 50])

    Reference:
        A. Radford and others, Improving language understanding by generative pre-training, 2018.
    """

    def __init__(
        self,
        num_inputs: int,
        num_tokens: int,
        *,
        width: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = Embedding(num_inputs, num_tokens, width, dropout)
        self.blocks = _blocks(width, depth, num_heads, dropout)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, num_tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (B, T, V)."""
        x, size = self.embed(tokens), tokens.shape[1]
        past = torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril()
        for block in self.blocks:
            x = block(x, past)
        out: Tensor = self.out(self.norm(x))
        return out


class Embedding(nn.Module):
    """Embedded tokens plus learned positions, (B, T) -> (B, T, D) for any T up to ``num_inputs``.

    Example:
        >>> Embedding(num_inputs=6, num_tokens=50, width=8)(torch.ones(3, 4).long()).shape
        torch.Size([3, 4, 8])
    """

    def __init__(self, num_inputs: int, num_tokens: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in (("num_inputs", num_inputs), ("num_tokens", num_tokens), ("width", width)):
            check_count(name, value)
        check_number("dropout", dropout, low=0.0, high=1.0, high_open=True)
        self.tokens = nn.Embedding(num_tokens, width)
        self.places = nn.Parameter(torch.empty(num_inputs, width))
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both tables."""
        for table in (self.tokens.weight, self.places):
            nn.init.normal_(table, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return embedded tokens, (B, T, D)."""
        if tokens.shape[1] > len(self.places):
            raise InputError(f"rows must have at most num_inputs={len(self.places)} tokens, got {tokens.shape[1]}")
        x: Tensor = self.dropout(self.tokens(tokens) + self.places[: tokens.shape[1]])
        return x


class Block(nn.Module):
    """Attention, then a perceptron for each token; both see normalised inputs and are added to what they saw.

    Example:
        >>> Block(width=8, num_heads=2)(torch.zeros(3, 5, 8), torch.ones(5, 5, dtype=torch.bool)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm, self.qkv, self.mix = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        hidden = nn.Linear(width, HIDDEN * width), nn.GELU(), nn.Linear(HIDDEN * width, width)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), *hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return (B, T, D); ``seen``, True where a token looks at another, broadcasts to (B, H, T, T)."""
        queries, keys, values = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1)
        )
        # a large number, not infinity: a row that sees nothing must not become NaN
        bias = (~seen).to(x.dtype) * -1e4
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        x = x + self.dropout(self.mix(attended.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.perceptron(x))
        return out


def _blocks(width: int, depth: int, num_heads: int, dropout: float) -> nn.ModuleList:
    check_count("depth", depth, low=0, high=1000)
    check_count("num_heads", num_heads)
    if width % num_heads:
        raise InputError(f"width must be a multiple of num_heads={num_heads}, got {width}")
    return nn.ModuleList(Block(width, num_heads, dropout) for _ in range(depth))
