"""A regularizer on the tensors of one model: which they are, and what acts on each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from meden._checks import InputError
from meden._shown import ShownFields
from meden.axes import Axes, axes, owners
from meden.optim.groups import chosen_sets
from meden.optim.magnitudes import on_magnitudes
from meden.optim.operand import Joint, Operand, Single, itself
from meden.optim.regularizer import Coupling, Regularizer, labels, nested
from meden.parametrised import Parametrised, snapshot
from meden.params import Site, forward_scale, select_sites, selector_name
from meden.penalties import L2, ElasticNet, Penalty, PullTo, Scaled, Sum
from meden.penalties.compose import at_scale
from meden.penalties.groups import along
from meden.penalties.sharding import local, spread_as, whole
from meden.structure import GroupSet

Steps = Callable[[nn.Parameter], bool]
"""Says of a parameter whether it is trained."""


class Place(NamedTuple):
    """Where a parameter stands in a model, and the layer that it is for."""

    name: str
    module: nn.Module
    leaf: str
    param: nn.Parameter

    @property
    def present(self) -> nn.Parameter | None:
        """What stands there now."""
        return self.module._parameters.get(self.leaf)

    @property
    def was_replaced(self) -> bool:
        """Whether the module has another parameter instead; not the whole one of a shard that it holds for a while."""
        present = self.present
        if present is self.param:
            return False
        if present is None:  # torch's pruning keeps it under another name
            return all(param is not self.param for param in self.module.parameters())
        return hasattr(present, "full_tensor") or not hasattr(self.param, "full_tensor")


class Target(NamedTuple):
    """A weight as the forward pass uses it: what it comes from, and what it is multiplied by."""

    source: nn.Parameter | Parametrised
    scale: float
    axes: Axes
    """Which axes count units and inputs."""
    kinds: str
    """The types of its layers, for messages."""
    places: tuple[Place, ...]
    """Where the parameters stand that it comes from."""

    def start(self) -> Tensor:
        """Return a copy of what it is now, before it is multiplied."""
        return self.source.detach().clone() if isinstance(self.source, nn.Parameter) else snapshot(self.source)

    def is_trained(self, steps: Steps) -> bool:
        """Say whether one of the parameters that it comes from is."""
        return any(steps(place.param) for place in self.places)


@dataclass(frozen=True, repr=False)
class Bound(ShownFields):
    """A regularizer whose tensors are chosen and whose coupling is decided; made by :func:`bind`."""

    label: str
    regularizer: Regularizer
    coupling: Coupling
    chosen: dict[str, Target]
    """The weights that are meant, by name."""
    targets: dict[str, Target]
    """Those of them that are trained: the others count for nothing."""
    starts: dict[str, Tensor]
    """The starting weights by name, empty unless the penalty pulls to them; also of what is no longer trained."""
    sets: tuple[GroupSet, ...]
    """The groups that are meant, if it acts on groups that span tensors."""
    operands: dict[str, Operand]
    """What a penalty on those weights is a penalty on: parameters, which are the weights themselves or their
    magnitudes; or groups of their numbers."""
    scales: dict[str, float | Tensor]
    """What they are multiplied by; a number for each column of groups where that differs."""
    penalties: dict[str, Penalty]
    """The penalty on each of them: the regularizer's on the weights as the forward pass sees them, that is times the
    scale that their layer declares; it may pull to the tensor's own start."""
    updates: dict[str, Penalty]
    """What acts in updates: the same, but for a decoupled penalty of scaled weights."""
    made: dict[str, tuple[Parametrised, Penalty]]
    """Weights that a parametrisation makes and that are penalised as they come out, in the loss."""

    @functools.cached_property
    def params(self) -> dict[str, nn.Parameter]:
        """The parameters that the penalties are on, by name."""
        return {name: param for operand in self.operands.values() for name, param in operand.params.items()}

    @functools.cached_property
    def places(self) -> tuple[Place, ...]:
        """Where the parameters stand that the trained weights come from."""
        return tuple(place for target in self.targets.values() for place in target.places)

    def penalty(self, name: str, step: int = 0) -> Penalty:
        """Return the penalty on the tensor ``name`` as it is at optimizer step ``step``, from 0."""
        return self.scheduled(self.penalties[name], step)

    def update(self, name: str, step: int = 0) -> Penalty:
        """Return what acts on the tensor ``name`` in the update of optimizer step ``step``, from 0."""
        return self.scheduled(self.updates[name], step)

    def scheduled(self, penalty: Penalty, step: int) -> Penalty:
        """Return a penalty times the schedule's factor at an optimizer step."""
        schedule = self.regularizer.schedule
        return penalty if schedule is None else Scaled(penalty, schedule.factor(step))

    def value(self, step: int = 0) -> Tensor:
        """Return the penalty's value summed over its tensors (and over all shards of them), 0-d, differentiable."""
        values = [self.penalty(name, step).value(operand.take(itself)) for name, operand in self.operands.items()]
        values += [self.scheduled(penalty, step).value(made.weight()) for made, penalty in self.made.values()]
        total: Tensor = local(whole(sum(values[1:], start=values[0]))) if values else torch.zeros(())
        return total

    def num_zero_groups(self) -> int | None:
        """Return how many groups that span tensors are exactly zero; None if it does not act on such."""
        if self.regularizer.groups is None:
            return None
        return sum(int((operand.take(itself) == 0).all(dim=1).sum()) for operand in self.operands.values())

    def restart(self, starts: Mapping[str, Tensor]) -> Bound:
        """Return the same with other starting weights.

        Raises:
            InputError: if they are not those of the same tensors.
        """
        if not self.starts.keys() <= starts.keys() <= self.chosen.keys():
            raise InputError(f"starts of {self.label} must be of {sorted(self.starts)}, got {sorted(starts)}")
        like = {name: self.starts[name] if name in self.starts else self.chosen[name].start() for name in starts}
        own = {name: spread_as(starts[name].detach(), like[name]) for name in like}
        return _bound(self.label, self.regularizer, self.coupling, self.chosen, self.sets, self.targets, own)

    def among(self, steps: Steps) -> Bound:
        """Return the same where other parameters are trained; what is new pulls to what it is now."""
        targets = {name: target for name, target in self.chosen.items() if target.is_trained(steps)}
        pulls = any(isinstance(p, PullTo) and p.target is None for p in nested(self.regularizer.penalty))
        new = {name: target.start() for name, target in targets.items() if pulls and name not in self.starts}
        starts = {**self.starts, **new}
        return _bound(self.label, self.regularizer, self.coupling, self.chosen, self.sets, targets, starts)


def bind(
    model: nn.Module, regularizers: Sequence[Regularizer], *, adaptive: bool, steps: Steps = lambda _: True
) -> tuple[Bound, ...]:
    """Choose the tensors and couplings of each regularizer; labels are made distinct.

    Args:
        model: its present weights are the starting weights of penalties that pull to them.
        regularizers: which penalties, where and how.
        adaptive: whether the optimizer is, which decides ``auto``.
        steps: which parameters are trained: penalties are of nothing else.

    Raises:
        InputError: if ``regularizers`` holds something else, one selects nothing, a penalty cannot act in its coupling
            on a weight that a parametrisation makes, or it is not known along which axis of a layer the units are.
    """
    if not isinstance(regularizers, Sequence):
        raise InputError(f"regularizers must be a list of meden.Regularizer, got {regularizers!r}")
    for regularizer in regularizers:
        if not isinstance(regularizer, Regularizer):
            raise InputError(f"regularizers must be a list of meden.Regularizer, got the item {regularizer!r}")
    bound: list[Bound] = []
    owned = owners(model)
    for regularizer, label in zip(regularizers, labels(regularizers), strict=True):
        sets: tuple[GroupSet, ...] = ()
        if regularizer.groups is None:
            sites = select_sites(model, regularizer.on)
        else:
            sites, sets = chosen_sets(model, label, regularizer.groups, regularizer.on)
        chosen = {name: _target(of_one, owned) for name, of_one in sites.items()}
        coupling = regularizer.resolve(adaptive=adaptive)
        bound.append(_bound(label, regularizer, coupling, chosen, sets, {}, {}).among(steps))
    return tuple(bound)


def _target(sites: tuple[Site, ...], owned: Mapping[int, nn.Module]) -> Target:
    kinds = " and ".join(dict.fromkeys(type(owned.get(id(s.param), s.module)).__name__ for s in sites))
    places = tuple(place for site in sites for place in _places(site))
    return Target(sites[0].made or sites[0].sources[0], forward_scale(sites), axes(sites, owned), kinds, places)


def _places(site: Site) -> list[Place]:
    names = [site.name.rpartition(".")[2]] if site.made is None else list(site.made.originals)
    split = [name.rpartition(".") for name in names] if site.made else [("", "", name) for name in names]
    holders = [site.module.get_submodule(path) for path, _, _ in split]
    return [
        Place(site.name, holder, leaf, param)
        for holder, (_, _, leaf), param in zip(holders, split, site.sources, strict=True)
    ]


def _bound(
    label: str,
    regularizer: Regularizer,
    coupling: Coupling,
    chosen: dict[str, Target],
    sets: tuple[GroupSet, ...],
    targets: dict[str, Target],
    starts: dict[str, Tensor],
) -> Bound:
    bound = Bound(label, regularizer, coupling, chosen, targets, starts, sets, {}, {}, {}, {}, {})
    for groups in sets:
        _bind_groups(bound, groups)
    for name, target in targets.items() if not sets else ():
        source, scale = target.source, target.scale
        plain = along(regularizer.penalty, functools.partial(_axis, label, name, target))
        penalty, update = _on_weights(bound, plain, scale, starts.get(name))
        if isinstance(source, nn.Parameter):
            acting: tuple[str, nn.Parameter, Penalty, Penalty] | None = name, source, penalty, update
        else:
            acting = _on_magnitudes(name, source, penalty, update)
        if acting is not None:
            place, param, penalty, update = acting
            bound.operands[place], bound.scales[place] = Single(place, param), scale
            bound.penalties[place], bound.updates[place] = penalty, update
        elif isinstance(source, Parametrised) and coupling == "loss":
            bound.made[name] = source, penalty
        else:
            assert isinstance(source, Parametrised)
            raise InputError(_refusal(label, regularizer, coupling, name, source))
    return bound


def _bind_groups(bound: Bound, groups: GroupSet) -> None:
    """Put in what acts on the rows of a matrix of groups, as far as their numbers are trained."""
    sources = {piece.name: bound.chosen[piece.name].source for piece in groups.pieces}
    params = {name: source for name, source in sources.items() if isinstance(source, nn.Parameter)}
    names = {id(param): name for name, param in params.items()}
    joint = Joint(groups, params).among(lambda param: param.requires_grad and names[id(param)] in bound.targets)
    if joint is None:
        return
    scale = joint.take(lambda param: bound.targets[names[id(param)]].scale)
    scale = scale[0] if isinstance(scale, Tensor) else scale  # alike in all rows
    start = joint.take(lambda param: bound.starts[names[id(param)]]) if bound.starts else None
    plain = along(bound.regularizer.penalty, {"units": 0}.__getitem__)
    bound.operands[groups.label], bound.scales[groups.label] = joint, scale
    bound.penalties[groups.label], bound.updates[groups.label] = _on_weights(bound, plain, scale, start)


def _on_weights(bound: Bound, plain: Penalty, scale: float | Tensor, start: Tensor | None) -> tuple[Penalty, Penalty]:
    """Return a penalty on weights that are multiplied in the forward pass, and what acts in updates."""
    plain = plain if start is None else plain.bind(scale * start)
    penalty = at_scale(plain, scale)
    return penalty, _decoupled(plain, scale) if bound.coupling == "decoupled" else penalty


def _axis(label: str, name: str, target: Target, word: str) -> int:
    """Return the axis of a weight that a word means.

    Raises:
        InputError: if it is not known.
    """
    if word in target.axes:
        return target.axes[word]
    names = " = ".join(dict.fromkeys((name, *(place.name for place in target.places))))
    raise InputError(
        f"dim of {label} must be a number for {names} of {target.kinds}, where no axis is known to count {word}, "
        f"got {word!r}; exclude it with on, or declare it in a layer of your own as {name.rpartition('.')[2]}_axes "
        '= {"units": 0, "inputs": 1}'
    )


def _on_magnitudes(
    name: str, source: Parametrised, penalty: Penalty, update: Penalty
) -> tuple[str, nn.Parameter, Penalty, Penalty] | None:
    """Return what acts on the magnitudes of a weight, if it has any and that is the same."""
    g = source.magnitudes
    if g is None:
        return None
    own, moving = on_magnitudes(penalty, g), on_magnitudes(update, g)
    place = f"{name.rpartition('.')[0]}.{g.name}".lstrip(".")
    return None if own is None or moving is None else (place, g.param, own, moving)


def _refusal(label: str, regularizer: Regularizer, coupling: Coupling, name: str, source: Parametrised) -> str:
    """Return the line that says what works on a weight that a parametrisation makes."""
    g = source.magnitudes
    slices = "" if g is None or g.dim is None else f", and of GroupLasso and MaxNorm along dim={g.dim}"
    alike = "" if g is None else f" (steps of L2{slices} would work)"
    if any(p.is_constraint for p in nested(regularizer.penalty)):
        return (
            f"on of {label} must exclude {name}, which {source.kind} makes from other tensors: the constraint "
            f"cannot act on these{alike}; got on={selector_name(regularizer.on)!r}"
        )
    return (
        f"coupling of {label} must be 'loss' for {name}, which {source.kind} makes from other tensors{alike}, or "
        f"on must exclude {name}; got {coupling!r}"
    )


def _decoupled(penalty: Penalty, scale: float | Tensor) -> Penalty:
    """Return the penalty on w whose gradient moves scale w by the gradient of a penalty on scale w."""
    if isinstance(penalty, L2) or (not isinstance(scale, Tensor) and scale == 1.0):
        return penalty
    if isinstance(penalty, Sum | ElasticNet):
        return Sum(tuple(_decoupled(part, scale) for part in penalty.parts))
    return Scaled(at_scale(penalty, scale), scale**-2)
