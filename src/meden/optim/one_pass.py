"""Torch's own updates part by part, so that what follows an update finds its part in the processor's cache.

An update leaves weights in memory, whence a proximal step would have to fetch them again. Here torch's functions of
SGD, Adam and AdamW are called on one part of a tensor after the other, and penalties act on each at once. They work
coordinate by coordinate, hence to the same bits, and so does the fused kernel of SGD in the place of its three
operations. What is not exactly theirs, or not on a processor, is left to the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import TracingContext
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from meden.optim.metric import Group, full_rate, is_adaptive, step_length
from meden.optim.parts import Cut, cuts, is_large, on_parts
from meden.optim.shards import Act
from meden.penalties import Penalty

Update = Callable[[Tensor, Cut], None]
"""Is called with a part of a parameter, and what cuts the same part out of what belongs to it."""

_OURS = "_init_group"
"""Torch's optimizers call it for the tensors of a group, between all hooks before a step and all those after it."""


class OnePass:
    """Takes parameters over for the length of one step: each part is updated, and acted on by penalties at once.

    Args:
        optimizer: whose step it is.
        penalties: those on each parameter.
        act: is called with penalties, the part of the parameter that they act on, its proximal step and its full rate.
    """

    def __init__(self, optimizer: Optimizer, penalties: Mapping[nn.Parameter, Sequence[Penalty]], act: Act) -> None:
        self._optimizer, self._penalties, self._act = optimizer, penalties, act
        self._done: set[nn.Parameter] = set()
        self._collect: Callable[..., Any] = getattr(optimizer, _OURS)
        setattr(optimizer, _OURS, self._update_group)

    def end(self) -> set[nn.Parameter]:
        """Leave the optimizer as it was, and return the parameters that were taken over."""
        vars(self._optimizer).pop(_OURS, None)
        return self._done

    def _update_group(self, group: Group, *columns: list[Any]) -> Any:
        """Collect the tensors of a group, a list for each kind, and keep those back that are taken over."""
        said = self._collect(group, *columns)
        if TracingContext.try_get() is not None:  # a compiler looks on, and would see none of this
            return said
        filled = [column for column in columns if column]
        try:
            rows = [row for row in zip(*filled, strict=True) if not self._takes(group, row)]
        except BaseException:
            self.end()  # the step is broken off: whoever calls the optimizer next finds it as it was
            raise
        for number, column in enumerate(filled):
            column[:] = [row[number] for row in rows]
        return said

    def _takes(self, group: Group, row: tuple[Any, ...]) -> bool:
        """Update a parameter and let its penalties act, if that is possible."""
        param = row[0]
        if param not in self._penalties or not all(_is_plain(x, param) for x in row):
            return False
        if group["fused"] and not are_laid_out_alike(row):
            return False
        penalties = self._penalties[param]
        on_part, update = on_parts(penalties), _UPDATES[type(self._optimizer)](group, *row)
        rate, own = full_rate(self._optimizer, group), is_adaptive(self._optimizer)
        length = step_length(self._optimizer, group, param) if not own else 0.0
        for cut in cuts(param, penalties):
            part = cut(param)
            update(part, cut)
            step = step_length(self._optimizer, group, param, cut) if own else length
            self._act(on_part(cut), part, step, rate)
        self._done.add(param)
        return True


def can_take_over(optimizer: Optimizer) -> bool:
    """Say whether a step is that of an optimizer whose parts can be taken over."""
    is_ordinary = not any(
        group.get(setting)
        for group in optimizer.param_groups
        for setting in ("foreach", "capturable", "differentiable")
    )
    is_scaled = any(getattr(optimizer, name, None) is not None for name in ("grad_scale", "found_inf"))
    is_known = type(optimizer) in _UPDATES and hasattr(optimizer, _OURS) and _OURS not in vars(optimizer)
    return is_known and is_ordinary and not is_scaled


def is_worth_it(param: nn.Parameter) -> bool:
    """Say whether a parameter is large enough to be updated part by part."""
    return type(param) is nn.Parameter and param.dtype in (torch.float32, torch.float64) and is_large(param)


def are_laid_out_alike(row: tuple[Any, ...]) -> bool:
    """Say whether all tensors lie in memory as the first does, without gaps: torch's fused kernels see no strides."""
    first, *others = (x for x in row if isinstance(x, Tensor) and x.ndim)
    dense = torch.ops.aten.is_non_overlapping_and_dense(first)
    return dense and all(x.stride() == first.stride() for x in others)


def _is_plain(x: Any, param: nn.Parameter) -> bool:
    """Say whether ``x`` is the count of steps, or a tensor to be cut like ``param``; the first step has not all."""
    return isinstance(x, Tensor) and x.layout is torch.strided and (x.shape == param.shape or not x.ndim)


def _sgd(group: Group, param: Tensor, grad: Tensor, *momentum: Tensor) -> Update:
    settings = {name: group[name] for name in ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")}
    is_free = group["fused"] is None and not isinstance(group["lr"], Tensor)
    is_fused = group["fused"] or (is_free and are_laid_out_alike((param, grad, *momentum)))

    def update(part: Tensor, cut: Cut) -> None:
        sgd([part], [cut(grad)], [cut(x) for x in momentum], foreach=False, fused=is_fused, **settings)

    return update


def _adam(
    group: Group, _param: Tensor, grad: Tensor, first: Tensor, second: Tensor, *others: Tensor, is_adamw: bool = False
) -> Update:
    *largest, steps = others
    settings = {name: group[name] for name in ("amsgrad", "lr", "weight_decay", "eps", "maximize", "foreach", "fused")}
    beta1, beta2 = group["betas"]
    function = adamw if group.get("decoupled_weight_decay", is_adamw) else adam
    before = steps.clone()
    steps += 1

    def update(part: Tensor, cut: Cut) -> None:
        moments = [cut(first)], [cut(second)], [cut(x) for x in largest]
        function([part], [cut(grad)], *moments, [before.clone()], beta1=beta1, beta2=beta2, **settings)

    return update


_UPDATES: Mapping[type[Optimizer], Callable[..., Update]] = {
    SGD: _sgd,
    Adam: _adam,
    AdamW: partial(_adam, is_adamw=True),
}
