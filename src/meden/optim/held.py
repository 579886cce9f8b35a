"""What an optimizer holds, and whether that is still what our names stand for."""

from __future__ import annotations

import operator
from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import InputError
from meden.optim.bound import Bound, Place, Steps
from meden.optim.metric import Group
from meden.penalties.sharding import whole

Held = tuple[list[nn.Parameter], list[bool]]
"""The parameters of an optimizer, and which are not frozen."""


def held_by(optimizer: Optimizer) -> Held:
    """Return what an optimizer holds now."""
    held = [param for group in optimizer.param_groups for param in group["params"]]
    return held, [param.requires_grad for param in held]


def are_same(held: Held, before: Held) -> bool:
    """Say whether both are the same parameters, and the same of them are frozen."""
    return held[1] == before[1] and len(held[0]) == len(before[0]) and all(map(operator.is_, held[0], before[0]))


def steps_of(optimizer: Optimizer) -> Steps:
    """Return what says of a parameter whether an optimizer steps it: it holds it, and it is not frozen."""
    return {p for group in optimizer.param_groups for p in group["params"] if p.requires_grad}.__contains__


def groups_of(optimizer: Optimizer) -> dict[nn.Parameter, Group]:
    """Return the group of each parameter."""
    return {param: group for group in optimizer.param_groups for param in group["params"]}


def check_held(bound: Iterable[Bound], now: Held, before: Held) -> None:
    """Check that parameters that an optimizer holds since now are not those of our names, instead of ours.

    Raises:
        InputError: naming one that is.
    """
    held, was_held = set(now[0]), set(before[0])
    for b in bound:
        for name, target in b.chosen.items():
            for place in target.places:
                is_lost = name in b.targets and place.param in was_held and place.param not in held
                if is_lost or (place.present is not place.param and place.present in held):
                    raise InputError(_replaced(b.label, place))


def check_present(bound: Iterable[Bound]) -> None:
    """Check that parameters without a gradient are still those of the model.

    Raises:
        InputError: naming one that was replaced there.
    """
    for b in bound:
        for place in b.places:
            if place.param.grad is None and place.was_replaced:
                raise InputError(_replaced(b.label, place))


def _replaced(label: str, place: Place) -> str:
    return (
        f"{place.name} of {label} must be the parameter that the optimizer steps, but was replaced since "
        "meden.regularize (by sharding, tying or moving to a device): give the optimizer the model's present "
        "parameters, then call handle.rebind(model)"
    )


def is_blank(optimizer: Optimizer) -> bool:
    """Say whether a step has neither a rate nor a gradient: torch.distributed.checkpoint makes such to get a state."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    if not all((not isinstance(rate, Tensor) or rate.device.type == "cpu") and rate == 0 for rate in rates):
        return False
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return bool(grads) and not any(bool(whole(grad.any())) for grad in grads)


def scaler_leaves(optimizer: Optimizer, name: str) -> Tensor | None:
    """Return what GradScaler leaves on a fused optimizer for the length of one step."""
    value: Tensor | None = getattr(optimizer, name, None)
    return value
