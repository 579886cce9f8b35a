"""Whether a training function starts from fresh weights: those that an earlier job trained have seen other folds' rows.

Every torch optimizer is looked at when it first steps in a job; who trains with another calls :func:`check_fresh`.
Weights that were put back to another start in place, by ``load_state_dict`` or ``reset_parameters``, are fresh.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from meden.search.jobs.watch import Leak

_trained: dict[int, tuple[weakref.ref[Tensor], float]] = {}
"""Parameters that a job of this process has changed, by identity, and what they were then."""
_checks: list[Callable[[Iterable[Tensor]], None]] = []
"""Of the jobs that are under way in this process."""


def check_fresh(params: Iterable[Tensor]) -> None:
    """Say that a job begins to train these weights; outside of a job nothing happens.

    Raises:
        Leak: if they are as an earlier job left them.
    """
    if _checks:
        _checks[-1](params)


@contextmanager
def fresh_weights() -> Iterator[None]:
    """Refuse a step on weights that are as an earlier job of this process left them.

    Raises:
        Leak: when an optimizer steps such.
    """
    starts: dict[int, tuple[weakref.ref[Tensor], float]] = {}
    seen: set[int] = set()

    def look(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            params = (param for group in optimizer.param_groups for param in group["params"])
            check(param for param in params if param.requires_grad and not is_lazy(param))  # a closure has no grads yet

    def check(params: Iterable[Tensor]) -> None:
        for param in params:
            if id(param) in starts:
                continue
            known, left = _trained.get(id(param), (None, math.nan))
            now = _told(param)
            if known is not None and known() is param and left == now:
                raise Leak(
                    "train must start from fresh weights in each job: it goes on training a model that an earlier job "
                    f"trained, on rows that are scored now (a parameter of shape {tuple(param.shape)}); make the model "
                    "inside train"
                )
            starts[id(param)] = weakref.ref(param), now

    hook = register_optimizer_step_pre_hook(look)
    _checks.append(check)
    try:
        yield
    finally:
        hook.remove()
        _checks.remove(check)
        for key in [key for key, (param, _) in _trained.items() if param() is None]:
            del _trained[key]
        for key, (param, start) in starts.items():
            if (trained := param()) is not None and (end := _told(trained)) != start:
                _trained[key] = param, end


def _told(param: Tensor) -> float:
    """Return a number that changes when a parameter does."""
    values = param.detach()
    values = values.to_local() if hasattr(values, "to_local") else values
    flat = values.double().flatten()
    return float(flat @ torch.linspace(1.0, 2.0, len(flat), dtype=flat.dtype, device=flat.device))
