"""What single zeros would give: they make a tensor smaller in some formats, and its products seldom faster."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from meden.params import check_module, select

INDEX_BYTES = 8
"""Of an index in ``torch.sparse``."""


@dataclass(frozen=True)
class Sparsity:
    """The single zeros of a model's weights."""

    num_weights: int
    num_zeros: int
    dense_bytes: int
    csr_bytes: int
    """Bytes of the same weights in ``torch.sparse`` CSR format, with 8 bytes per index."""
    num_matrices: int
    num_two_four: int
    """Matrices with 2:4 sparsity: at most two nonzero numbers in every group of four neighbours in a row."""

    def __str__(self) -> str:
        if not self.num_zeros:
            return f"single zeros: none of {self.num_weights:,} weights"
        return (
            f"single zeros: {self.num_zeros / self.num_weights:.1%} of {self.num_weights:,} weights; "
            f"{self.dense_bytes:,} bytes dense, {self.csr_bytes:,} as torch.sparse CSR, which makes a layer faster "
            f"on a CPU only above about 95 % zeros; {self.num_two_four} of {self.num_matrices} matrices fit 2:4 "
            "sparsity, which some GPUs multiply faster"
        )


def sparsity(model: nn.Module) -> Sparsity:
    """Count the single zeros of a model's weights, and report the size of sparse formats.

    Args:
        model: any; its weights are those of the role ``"weights"``, seen as matrices of as many rows as units.

    Returns:
        counts and bytes; print it for a sentence.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(4, 2)
        >>> with torch.no_grad():
        ...     _ = layer.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0]]))
        >>> found = sparsity(layer)
        >>> found.num_zeros, found.num_two_four, found.dense_bytes, found.csr_bytes
        (5, 1, 32, 60)
    """
    check_module(model)
    matrices = [w.detach().flatten(1) for w in select(model, "weights").values() if w.ndim > 1]
    return Sparsity(
        num_weights=sum(w.numel() for w in matrices),
        num_zeros=sum(int((w == 0).sum()) for w in matrices),
        dense_bytes=sum(w.numel() * w.element_size() for w in matrices),
        csr_bytes=sum(map(_csr_bytes, matrices)),
        num_matrices=len(matrices),
        num_two_four=sum(map(_fits_two_four, matrices)),
    )


def _csr_bytes(w: Tensor) -> int:
    found = int((w != 0).sum())
    return found * (w.element_size() + INDEX_BYTES) + (len(w) + 1) * INDEX_BYTES


def _fits_two_four(w: Tensor) -> bool:
    if w.shape[1] % 4:
        return False
    return bool((w.reshape(len(w), -1, 4) != 0).sum(-1).le(2).all())
