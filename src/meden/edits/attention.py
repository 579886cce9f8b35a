"""Attention with fewer heads than its width has room for, which ``nn.MultiheadAttention`` cannot express.

Legend: N rows, H heads of D numbers, L queries, S keys, E the width of what comes in and goes out; H D may be less.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meden._checks import InputError


class FewerHeads(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` that has lost heads: the same arguments, tensors and names.

    A layer becomes one by having its class set, with everything else that it holds. Its tensors count ``num_heads``
    heads of ``head_dim`` numbers; ``heads`` says which of the former ones they are, so that masks by row and head fit.
    Weights that are averaged over heads are averaged over those that are left. What torch calls the fast path of an
    encoder layer, which knows ``embed_dim / num_heads`` numbers a head alone, passes it by.
    """

    heads: tuple[int, ...]
    former_heads: int

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; arguments and results are those of ``nn.MultiheadAttention``."""
        if is_causal and attn_mask is None:
            raise InputError("attn_mask must be given with is_causal=True, as nn.MultiheadAttention requires, got None")
        is_batched = query.ndim == 3
        batch_axis = 0 if self.batch_first else 1
        if not is_batched:
            query, key, value = (x.unsqueeze(batch_axis) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._projected(query, key, value)  # N, H, L or S, D
        mask = self._mask(attn_mask, key_padding_mask, q)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), p)
            y = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        y = self.out_proj(y.transpose(1, 2).flatten(2))
        y = y if self.batch_first else y.transpose(0, 1)
        if is_batched:
            return y, weights
        return y.squeeze(batch_axis), None if weights is None else weights.squeeze(0)

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        matrices = apart if self.in_proj_weight is None else self.in_proj_weight.chunk(3)
        biases: Any = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), matrices, biases, strict=True))
        return [x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v)]

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Return the sum of both masks, each (N or 1, H or 1, L or 1, S)."""
        masks = []
        if attn_mask is not None:
            mask = attn_mask if attn_mask.ndim == 3 else attn_mask[None]
            if attn_mask.ndim == 3 and len(mask) == len(q) * self.former_heads:
                mask = mask.reshape(len(q), self.former_heads, *mask.shape[1:])[:, list(self.heads)]
            elif attn_mask.ndim == 3:
                mask = mask.reshape(len(q), self.num_heads, *mask.shape[1:])
            else:
                mask = mask[None]
            masks.append(mask)
        if padding is not None:
            masks.append(padding[:, None, None])
        added = [_added(mask, q) for mask in masks]
        return sum(added[1:], start=added[0]) if added else None


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as what is added to scores: True is minus infinity."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -torch.inf)
