"""A penalty, where it acts and how it meets the update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from meden._checks import InputError, check_choice
from meden._settings import Settings
from meden._shown import ShownFields
from meden.optim.magnitudes import on_magnitudes
from meden.parametrised import Parametrised, snapshot
from meden.params import Selector, check_selector, forward_scale, select_sites, selector_name
from meden.penalties import L2, ElasticNet, Penalty, PullTo, Scaled, Sum
from meden.penalties.compose import at_scale
from meden.penalties.sharding import whole

Coupling = Literal["auto", "loss", "gradient", "decoupled", "proximal"]
COUPLINGS = ("auto", "loss", "gradient", "decoupled", "proximal")


class StrengthSchedule(Settings):
    """Multiplier of a strength over optimizer steps: ``first`` until ``start``, ``last`` from ``end`` on.

    A warm-up is ``end=1000``; a late start is ``kind="jump", start=1000``; a decay is ``first=1, last=0``.

    Example:
        >>> ramp = StrengthSchedule(end=4)
        >>> [ramp.factor(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """

    kind: Literal["linear", "cosine", "jump"] = "linear"
    """Shape between ``start`` and ``end``; ``jump`` is at ``last`` from ``start`` on."""
    start: int = Field(default=0, ge=0)
    """First step of the change."""
    end: int = Field(default=0, ge=0)
    """Last step of the change (``jump`` has no use for it)."""
    first: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Multiplier before."""
    last: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Multiplier after."""

    def factor(self, step: int) -> float:
        """Return the multiplier at optimizer step ``step``, from 0."""
        if self.kind == "jump" or self.end <= self.start:
            return self.last if step >= self.start else self.first
        progress = min(max((step - self.start) / (self.end - self.start), 0.0), 1.0)
        shape = progress if self.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return self.first + (self.last - self.first) * shape


@dataclass(frozen=True)
class Regularizer:
    """A penalty on some of a model's tensors.

    Args:
        penalty: one of :mod:`meden.penalties`, or one of your own.
        on: which tensors, see :data:`meden.params.Selector`.
        coupling: ``"loss"`` (its value joins the loss), ``"gradient"`` (its gradient joins the gradient, as the
            ``weight_decay`` of SGD and Adam), ``"decoupled"`` (w <- w - lr grad(w), as AdamW), ``"proximal"``
            (w <- prox(w, step) after the step: exact zeros), or ``"auto"``: proximal for non-smooth penalties and
            constraints, decoupled for L2 under an adaptive optimizer, gradient otherwise.
        schedule: multiplies the penalty over optimizer steps; None is constant.

    Raises:
        InputError: if a field has the wrong type, or the coupling cannot act on the penalty.

    Example:
        >>> from meden.penalties import L1
        >>> Regularizer(L1(1e-4)).label
        'L1(weights)'
    """

    penalty: Penalty
    on: Selector = "weights"
    coupling: Coupling = "auto"
    schedule: StrengthSchedule | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty) or not hasattr(self.penalty, "__dataclass_fields__"):
            raise InputError(
                "penalty must be one of meden.penalties, such as L2(1e-4), or a frozen dataclass that is a Penalty, "
                f"got {self.penalty!r}"
            )
        check_selector(self.on)
        check_choice("coupling", self.coupling, COUPLINGS)
        if not isinstance(self.schedule, StrengthSchedule | None):
            raise InputError(f"schedule must be a StrengthSchedule or None, got {self.schedule!r}")
        name, is_proximal = type(self.penalty).__name__, self.resolve(adaptive=False) == "proximal"
        if is_proximal and not self.penalty.has_prox:
            raise InputError(
                f"coupling must be loss, gradient or decoupled for {name}, which has no prox, got proximal"
            )
        if any(p.is_constraint for p in nested(self.penalty)):
            if not is_proximal:
                raise InputError(
                    f"coupling must be proximal (with a known prox) for the constraint in {name}, got {self.coupling!r}"
                )
            if self.schedule is not None:
                raise InputError(f"schedule must be None for the constraint in {name}, got {self.schedule!r}")

    @property
    def label(self) -> str:
        """A short name for records and tables."""
        return f"{type(self.penalty).__name__}({selector_name(self.on)})"

    def resolve(self, *, adaptive: bool) -> Coupling:
        """Return the coupling, with ``auto`` decided."""
        if self.coupling != "auto":
            return self.coupling
        if self.penalty.has_prox and not self.penalty.smooth:
            return "proximal"
        is_l2 = all(isinstance(p, L2 | PullTo | Scaled | Sum) for p in nested(self.penalty))
        return "decoupled" if adaptive and is_l2 else "gradient"


class Target(NamedTuple):
    """A weight as the forward pass uses it: what it comes from, and what it is multiplied by."""

    source: nn.Parameter | Parametrised
    scale: float

    def start(self) -> Tensor:
        """Return a copy of what it is now, before it is multiplied."""
        return self.source.detach().clone() if isinstance(self.source, nn.Parameter) else snapshot(self.source)


@dataclass(frozen=True, repr=False)
class Bound(ShownFields):
    """A regularizer whose tensors are chosen and whose coupling is decided; made by :func:`bind`."""

    label: str
    regularizer: Regularizer
    coupling: Coupling
    targets: dict[str, Target]
    """The weights that are meant, by name."""
    starts: dict[str, Tensor]
    """The starting weights by name, empty unless the penalty pulls to them."""
    params: dict[str, nn.Parameter]
    """The parameters that a penalty on those weights is a penalty on: themselves, or their magnitudes."""
    scales: dict[str, float]
    """What they are multiplied by."""
    penalties: dict[str, Penalty]
    """The penalty on each of them: the regularizer's on the weights as the forward pass sees them, that is times the
    scale that their layer declares; it may pull to the tensor's own start."""
    updates: dict[str, Penalty]
    """What acts in updates: the same, but for a decoupled penalty of scaled weights."""
    made: dict[str, tuple[Parametrised, Penalty]]
    """Weights that a parametrisation makes and that are penalised as they come out, in the loss."""

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
        values = [self.penalty(name, step).value(param) for name, param in self.params.items()]
        values += [self.scheduled(penalty, step).value(made.weight()) for made, penalty in self.made.values()]
        return whole(sum(values[1:], start=values[0]))

    def restart(self, starts: Mapping[str, Tensor]) -> Bound:
        """Return the same with other starting weights.

        Raises:
            InputError: if they are not those of the same tensors.
        """
        if set(starts) != set(self.starts):
            raise InputError(f"starts of {self.label} must be of {sorted(self.starts)}, got {sorted(starts)}")
        own = {name: starts[name].detach().to(start) for name, start in self.starts.items()}
        return _bound(self.label, self.regularizer, self.coupling, self.targets, own)


def bind(model: nn.Module, regularizers: Sequence[Regularizer], *, adaptive: bool) -> tuple[Bound, ...]:
    """Choose the tensors and couplings of each regularizer; labels are made distinct.

    Args:
        model: its present weights are the starting weights of penalties that pull to them.
        regularizers: which penalties, where and how.
        adaptive: whether the optimizer is, which decides ``auto``.

    Raises:
        InputError: if ``regularizers`` holds something else, one selects nothing, or a penalty cannot act in its
            coupling on a weight that a parametrisation makes.
    """
    if not isinstance(regularizers, Sequence):
        raise InputError(f"regularizers must be a list of meden.Regularizer, got {regularizers!r}")
    bound: list[Bound] = []
    for regularizer in regularizers:
        if not isinstance(regularizer, Regularizer):
            raise InputError(f"regularizers must be a list of meden.Regularizer, got the item {regularizer!r}")
        twins = sum(b.regularizer.label == regularizer.label for b in bound)
        label = regularizer.label + (f" #{twins + 1}" if twins else "")
        chosen = select_sites(model, regularizer.on)
        targets = {name: Target(s[0].made or s[0].sources[0], forward_scale(s)) for name, s in chosen.items()}
        pulls = any(isinstance(p, PullTo) and p.target is None for p in nested(regularizer.penalty))
        starts = {name: target.start() for name, target in targets.items()} if pulls else {}
        bound.append(_bound(label, regularizer, regularizer.resolve(adaptive=adaptive), targets, starts))
    return tuple(bound)


def _bound(
    label: str,
    regularizer: Regularizer,
    coupling: Coupling,
    targets: dict[str, Target],
    starts: dict[str, Tensor],
) -> Bound:
    bound = Bound(label, regularizer, coupling, targets, starts, {}, {}, {}, {}, {})
    for name, (source, scale) in targets.items():
        plain = regularizer.penalty.bind(scale * starts[name]) if name in starts else regularizer.penalty
        penalty = at_scale(plain, scale)
        update = _decoupled(plain, scale) if coupling == "decoupled" else penalty
        if isinstance(source, nn.Parameter):
            acting: tuple[str, nn.Parameter, Penalty, Penalty] | None = name, source, penalty, update
        else:
            acting = _on_magnitudes(name, source, penalty, update)
        if acting is not None:
            place, param, penalty, update = acting
            bound.params[place], bound.scales[place] = param, scale
            bound.penalties[place], bound.updates[place] = penalty, update
        elif isinstance(source, Parametrised) and coupling == "loss":
            bound.made[name] = source, penalty
        else:
            assert isinstance(source, Parametrised)
            raise InputError(_refusal(label, regularizer, coupling, name, source))
    return bound


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
    alike = "" if g is None else f" (steps of L2{slices} would do)"
    if any(p.is_constraint for p in nested(regularizer.penalty)):
        return (
            f"on of {label} must leave out {name}, which {source.kind} makes from other tensors: the constraint "
            f"cannot act on these{alike}; got on={selector_name(regularizer.on)!r}"
        )
    return (
        f"coupling of {label} must be 'loss' for {name}, which {source.kind} makes from other tensors{alike}, or on "
        f"must leave {name} out; got {coupling!r}"
    )


def _decoupled(penalty: Penalty, scale: float) -> Penalty:
    """Return the penalty on w whose gradient moves scale w by the gradient of a penalty on scale w."""
    if scale == 1.0 or isinstance(penalty, L2):
        return penalty
    if isinstance(penalty, Sum | ElasticNet):
        return Sum(tuple(_decoupled(part, scale) for part in penalty.parts))
    return Scaled(at_scale(penalty, scale), scale**-2)


def nested(penalty: Penalty) -> Iterator[Penalty]:
    """Yield a penalty and all that it is composed of."""
    yield penalty
    inner: tuple[Penalty, ...] = ()
    if isinstance(penalty, Sum):
        inner = penalty.parts
    elif isinstance(penalty, Scaled | PullTo):
        inner = (penalty.penalty,)
    for part in inner:
        yield from nested(part)
