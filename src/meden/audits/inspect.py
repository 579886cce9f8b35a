"""Read a model, its optimizer and the attached penalties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Adafactor, AdamW, Optimizer

from meden._checks import InputError
from meden.audits.dropout import input_dropout
from meden.audits.idle import shifted_away, unreached
from meden.audits.record import Audit, Idle, Shrinkage, TensorAudit, total
from meden.audits.rules import warnings_about
from meden.optim import Handle, inner_optimizer
from meden.optim.handle import handles_of
from meden.params import Site, check_module, forward_scale, role, tensors
from meden.penalties import L1, L2, ElasticNet, Penalty, Scaled, SparseGroupLasso, Sum


def audit(model: nn.Module, optimizer: Optimizer, handles: Sequence[Handle] | None = None) -> Audit:
    """Show for each tensor of a model what penalises it, and warn about likely mistakes.

    Args:
        model: any module.
        optimizer: any torch optimizer of its parameters, also inside of accelerate's or Lightning's wrapper.
        handles: which penalties of :func:`meden.regularize` count; None is all that are attached to the optimizer.

    Returns:
        A frozen record; ``print`` shows a table, ``to_dict`` is for JSON.

    Raises:
        InputError: if an argument has the wrong type, or a handle is of another optimizer.

    Example:
        >>> import torch
        >>> from meden.audits import audit
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
        >>> print(audit(model, optimizer))
        SGD
        tensor  role    shape  group  lr   L1  L2    what acts on it
        weight  weight  2x3    0      0.1  0   0.01  weight_decay (gradient)
        bias    bias    2      0      0.1  0   0.01  weight_decay (gradient)
        warning (bias): biases (bias) are shrunk by weight_decay: put them into a parameter group with
        weight_decay=0, or regularize on="weights"
    """
    check_module(model)
    optimizer = inner_optimizer(optimizer)
    handles = handles_of(optimizer) if handles is None else handles
    _check_handles(optimizer, handles)
    groups = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    idle: dict[int, Idle] = {
        **dict.fromkeys(unreached(model), "no gradient"),
        **dict.fromkeys(shifted_away(model), "norm"),
    }
    dropped = input_dropout(model)
    audits = tuple(_tensor(sites, groups, optimizer, handles, idle, dropped) for sites in tensors(model))
    return Audit(type(optimizer).__name__, audits, warnings_about(audits))


def _check_handles(optimizer: Optimizer, handles: Sequence[Handle]) -> None:
    if not isinstance(handles, Sequence):
        raise InputError(f"handles must be a list of handles from meden.regularize, got {type(handles).__name__}")
    for handle in handles:
        if not isinstance(handle, Handle):
            raise InputError(f"handles must hold only handles from meden.regularize, got {type(handle).__name__}")
        if handle.optimizer is not optimizer:
            raise InputError("handles must belong to the audited optimizer, got one of another optimizer")


def _tensor(
    sites: Sequence[Site],
    groups: Mapping[int, int],
    optimizer: Optimizer,
    handles: Sequence[Handle],
    idle: Mapping[int, Idle],
    dropped: Mapping[int, float],
) -> TensorAudit:
    (first, *others), site = (s.name for s in sites), sites[0]
    held = [p for p in site.sources if id(p) in groups]
    group = groups[id(held[0])] if held else None
    settings = {} if group is None else optimizer.param_groups[group]
    reasons = [idle.get(id(p)) for p in site.sources]
    stepped = [p for p in held if p.requires_grad or p.grad is not None]
    own = {s: None for p in stepped for s in _own(optimizer, optimizer.param_groups[groups[id(p)]], sites)}
    return TensorAudit(
        name=first,
        aliases=tuple(others),
        role=role(sites),
        shape=tuple(site.param.shape),
        trainable=any(p.requires_grad for p in site.sources),
        group=group,
        lr=None if group is None else _rate(settings),
        shrinkage=(*own, *_attached(first, stepped, settings, handles)),
        idle=reasons[0] if len(set(reasons)) == 1 else None,
        made_by=None if site.made is None else site.made.kind,
        dropout=next((dropped[id(p)] for p in site.sources if id(p) in dropped), None),
    )


def _own(optimizer: Optimizer, group: Mapping[str, Any], sites: Sequence[Site]) -> Iterator[Shrinkage]:
    """Yield the optimizer's own decay, as a strength on the weights that the forward pass sees.

    What it does to weights that are made from the tensors it shrinks, no number says.
    """
    decay = float(group.get("weight_decay") or 0.0)
    if decay and sites[0].made is not None:
        yield Shrinkage("weight_decay", _own_coupling(optimizer, group), None, None)
    elif decay:
        coupling = _own_coupling(optimizer, group)
        strength = decay if coupling == "decoupled" else decay / forward_scale(sites) ** 2
        yield _shrinkage("weight_decay", coupling, 0.0, strength, _rate(group))


def _own_coupling(optimizer: Optimizer, group: Mapping[str, Any]) -> str:
    """Return how the optimizer's decay meets its update; of a stranger's nothing is known."""
    if group.get("decoupled_weight_decay") or isinstance(optimizer, AdamW | Adafactor):
        return "decoupled"
    if type(optimizer).__name__ == "Muon":  # torch has it since 2.9
        return "decoupled"
    return "gradient" if type(optimizer).__module__.startswith("torch.optim") else "unknown"


def _attached(
    name: str, sources: Sequence[nn.Parameter], group: Mapping[str, Any], handles: Sequence[Handle]
) -> Iterator[Shrinkage]:
    for handle in handles:
        for bound in handle.bound:
            if name in bound.targets and any(own is p for own in bound.params.values() for p in sources):
                penalty = bound.scheduled(bound.regularizer.penalty, handle.num_steps)
                l1, l2 = strengths(penalty)
                kind = {"is_constraint": penalty.is_constraint, "spans": bool(bound.sets)}
                yield _shrinkage(bound.label, bound.coupling, l1, l2, _rate(group), **kind)


def _shrinkage(source: str, coupling: str, l1: float | None, l2: float | None, lr: float, **kind: bool) -> Shrinkage:
    if coupling == "unknown":
        return Shrinkage(source, coupling, None, None)
    if coupling != "decoupled":
        return Shrinkage(source, coupling, l1, l2, None, **kind)
    constant = 1 / (lr * l2) if lr and l2 else math.inf
    return Shrinkage(source, coupling, None if l1 else l1, None if l2 else l2, constant if l2 else None, **kind)


def _rate(group: Mapping[str, Any]) -> float:
    """Return the learning rate; some strangers have none."""
    return float(group.get("lr", math.nan))


def strengths(penalty: Penalty) -> tuple[float | None, float | None]:
    """Return the L1 and L2 strengths that are in a penalty; None for settings that are not one number."""
    if isinstance(penalty, L1):
        return _number(penalty.strength), 0.0
    if isinstance(penalty, L2):
        return 0.0, _number(penalty.strength)
    if isinstance(penalty, Scaled):
        l1, l2 = strengths(penalty.penalty)
        scale = _number(penalty.scale)
        return (None, None) if scale is None else (l1 and l1 * scale, l2 and l2 * scale)
    if isinstance(penalty, ElasticNet | SparseGroupLasso | Sum):
        parts = [strengths(part) for part in penalty.parts]
        return total(l1 for l1, _ in parts), total(l2 for _, l2 in parts)
    return 0.0, 0.0


def _number(setting: float | Tensor) -> float | None:
    return float(setting) if not isinstance(setting, Tensor) or setting.numel() == 1 else None
