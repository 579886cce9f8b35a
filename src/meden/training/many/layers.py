"""Layers for which vmap has no rule, in operations for which it has one: recurrent, attention, embeddings, weight norm.

Legend: ``T`` steps of a sequence, ``B`` rows, ``D`` inputs, ``H`` units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

State = tuple[Tensor, ...]
"""What a cell passes on from step to step, (B, H) each; its output first."""
Cell = Callable[[Tensor, State, Sequence[Tensor]], State]
"""(inputs (B, D), state, weights and biases) -> state."""


@contextmanager
def plain_layers(device: torch.device) -> Iterator[None]:
    """Make loops over cells of torch's recurrent layers for a while, and plain mathematics of attention.

    Args:
        device: of the tensors.

    Example:
        >>> layer, x = torch.nn.GRU(3, 2), torch.ones(4, 1, 3)
        >>> with plain_layers(x.device):
        ...     plain, _ = layer(x)
        >>> torch.allclose(plain, layer(x)[0], atol=1e-6)
        True
    """
    with sdpa_kernel(SDPBackend.MATH), _without_cudnn(device), _Plain():
        yield


@contextmanager
def _without_cudnn(device: torch.device) -> Iterator[None]:
    """Switch cuDNN off on a GPU, where one thread trains: recurrent layers would lay out their weights for it."""
    if device.type != "cuda":
        yield
        return
    was = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = was


class _Plain(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.embedding:
            return embedding(*args, **kwargs or {})
        if func is torch._weight_norm:
            return weight_norm(*args, **kwargs or {})
        is_sequence = len(args) > 3 and isinstance(args[3], bool)  # and not packed
        return recurrent(_CELLS[func], *args) if func in _CELLS and is_sequence else func(*args, **kwargs or {})


def embedding(
    numbers: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return what torch's function does; the row of ``padding_idx`` gets no gradient, which vmap's rule forgets."""
    if scale_grad_by_freq or sparse:
        raise ValueError("embeddings with scaled or sparse gradients cannot be stacked")
    rows = F.embedding(numbers, weight, None, max_norm, norm_type)
    if padding_idx is None:
        return rows
    return torch.where((numbers == padding_idx % len(weight))[..., None], rows.detach(), rows)


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return g v / norm(v), slice by slice along ``dim``; -1 is the tensor as a whole."""
    others = [axis for axis in range(v.ndim) if axis != dim]
    unit: Tensor = v / torch.linalg.vector_norm(v, dim=others, keepdim=dim != -1)
    return g * unit


def recurrent(
    cell: Cell,
    x: Tensor,
    start: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    _dropout: float,
    _training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Return what torch's recurrent functions do: outputs (T, B, H), and the last state, (layers, B, H) each.

    Dropout between layers is none of theirs: :class:`meden.noise.Seeded` calls them layer by layer.
    """
    states = [start] if isinstance(start, Tensor) else list(start)
    directions = 2 if bidirectional else 1
    size = 4 if has_biases else 2
    own = [params[i : i + size] for i in range(0, len(params), size)]
    if len(own) != num_layers * directions:
        raise ValueError("recurrent layers with projections cannot be stacked")
    steps, last = list(x.unbind(1 if batch_first else 0)), []
    for layer in range(num_layers):
        sides = []
        for direction in range(directions):
            place = layer * directions + direction
            state = tuple(part[place] for part in states)
            run = list(_run(cell, steps[:: -1 if direction else 1], state, own[place]))
            last.append(run[-1])
            sides.append([state[0] for state in run][:: -1 if direction else 1])
        steps = [torch.cat(both, -1) for both in zip(*sides, strict=True)]
    ends = (torch.stack(part) for part in zip(*last, strict=True))
    return torch.stack(steps, 1 if batch_first else 0), *ends


def _run(cell: Cell, steps: Sequence[Tensor], state: State, weights: Sequence[Tensor]) -> Iterator[State]:
    for x in steps:
        state = cell(x, state, weights)
        yield state


def _gates(x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    of_x, of_h, *biases = weights
    bias_x, bias_h = biases or (None, None)
    return F.linear(x, of_x, bias_x), F.linear(h, of_h, bias_h)


def _lstm(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    h, c = state
    of_x, of_h = _gates(x, h, weights)
    into, forget, new, out = (of_x + of_h).chunk(4, -1)
    c = forget.sigmoid() * c + into.sigmoid() * new.tanh()
    return out.sigmoid() * c.tanh(), c


def _gru(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    (h,) = state
    of_x, of_h = (part.chunk(3, -1) for part in _gates(x, h, weights))
    reset, update = ((a + b).sigmoid() for a, b in zip(of_x[:2], of_h[:2], strict=True))
    new = (of_x[2] + reset * of_h[2]).tanh()
    return (new + update * (h - new),)


def _simple(activation: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, weights: Sequence[Tensor]) -> State:
        of_x, of_h = _gates(x, state[0], weights)
        return (activation(of_x + of_h),)

    return cell


_CELLS: dict[Any, Cell] = {
    torch._VF.lstm: _lstm,
    torch._VF.gru: _gru,
    torch._VF.rnn_tanh: _simple(torch.tanh),
    torch._VF.rnn_relu: _simple(torch.relu),
}
