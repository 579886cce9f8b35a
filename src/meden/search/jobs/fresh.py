"""Whether a training function starts from fresh weights: those that an earlier job trained have seen other folds' rows.

Every torch optimizer is looked at when it first steps in a job; who trains with another calls :func:`check_fresh`.
Weights are known by their values, so that copies and files of them are found as well, and weights that were put back to
another start in place, by ``load_state_dict`` or ``reset_parameters``, are fresh.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from meden.search.jobs.watch import Leak

Told = tuple[tuple[int, ...], float]
_left: dict[Told, None] = {}
"""Shapes and values of parameters as jobs of this process left them, the latest last."""
MOST = 100_000
"""So many are remembered."""
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
def fresh_weights(is_scoring: Callable[[], bool]) -> Iterator[None]:
    """Refuse a step on weights that are as an earlier job of this process left them, and any while rows are scored.

    Raises:
        Leak: when an optimizer does so.
    """
    starts: dict[int, tuple[weakref.ref[Tensor], Told | None]] = {}
    seen: set[int] = set()

    def look(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if is_scoring():
            raise Leak("train must not train inside job.scoring(), since it would train on the scored rows")
        if id(optimizer) not in seen:
            seen.add(id(optimizer))
            params = (param for group in optimizer.param_groups for param in group["params"])
            check(param for param in params if param.requires_grad and not is_lazy(param))  # a closure has no grads yet

    def check(params: Iterable[Tensor]) -> None:
        for param in params:
            if id(param) in starts:
                continue
            if (now := _told(param)) in _left:
                raise Leak(
                    "train must start from fresh weights in each job, got a model that an earlier job trained on "
                    f"rows that are scored now (a parameter of shape {tuple(param.shape)}): create the model "
                    "inside train"
                )
            starts[id(param)] = weakref.ref(param), now

    hook = register_optimizer_step_pre_hook(look)
    _checks.append(check)
    try:
        yield
    except Exception:
        _remember(starts)
        raise
    else:  # a job that was cut off is begun again, maybe by what it left
        _remember(starts)
    finally:
        hook.remove()
        _checks.remove(check)


def _remember(starts: Mapping[int, tuple[weakref.ref[Tensor], Told | None]]) -> None:
    for ref, start in starts.values():
        if (param := ref()) is not None and (end := _told(param)) not in (start, None):
            _left[end] = None
    while len(_left) > MOST:
        del _left[next(iter(_left))]


def _told(param: Tensor) -> Told | None:
    """Return what tells a parameter's values from others; None where all are one number, as many fresh ones are."""
    values = param.detach()
    values = values.to_local() if hasattr(values, "to_local") else values
    flat = values.double().flatten()
    if len(flat) == 0 or bool((flat == flat[0]).all()):
        return None
    return tuple(param.shape), float(flat @ torch.linspace(1.0, 2.0, len(flat), dtype=flat.dtype, device=flat.device))
