"""A penalty, where it acts and how it meets the update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from meden._checks import InputError, check_choice
from meden._settings import Settings
from meden.params import Selector, check_selector, forward_scale, select, selector_name, tensors
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


@dataclass(frozen=True)
class Bound:
    """A regularizer whose tensors are chosen and whose coupling is decided; made by :func:`bind`."""

    label: str
    regularizer: Regularizer
    coupling: Coupling
    params: dict[str, nn.Parameter]
    penalties: dict[str, Penalty]
    """The penalty on each tensor: the regularizer's on the weights as the forward pass sees them, that is times the
    scale that their layer declares; it may pull to the tensor's own start."""
    updates: dict[str, Penalty]
    """What acts in updates: the same, but for a decoupled penalty of scaled weights."""
    scales: dict[str, float]
    starts: dict[str, Tensor]
    """The starting weights by name, empty unless the penalty pulls to them."""

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
        total, *rest = (self.penalty(name, step).value(param) for name, param in self.params.items())
        return whole(sum(rest, start=total))

    def restart(self, starts: Mapping[str, Tensor]) -> Bound:
        """Return the same with other starting weights.

        Raises:
            InputError: if they are not those of the same tensors.
        """
        if set(starts) != set(self.starts):
            raise InputError(f"starts of {self.label} must be of {sorted(self.starts)}, got {sorted(starts)}")
        own = {name: starts[name].detach().to(start) for name, start in self.starts.items()}
        return _bound(self.label, self.regularizer, self.coupling, self.params, self.scales, own)


def bind(model: nn.Module, regularizers: Sequence[Regularizer], *, adaptive: bool) -> tuple[Bound, ...]:
    """Choose the tensors and couplings of each regularizer; labels are made distinct.

    Args:
        model: its present weights are the starting weights of penalties that pull to them.
        regularizers: which penalties, where and how.
        adaptive: whether the optimizer is, which decides ``auto``.

    Raises:
        InputError: if ``regularizers`` holds something else, or one selects nothing.
    """
    if not isinstance(regularizers, Sequence):
        raise InputError(f"regularizers must be a list of meden.Regularizer, got {regularizers!r}")
    bound: list[Bound] = []
    scales = {id(sites[0].param): forward_scale(sites) for sites in tensors(model)}
    for regularizer in regularizers:
        if not isinstance(regularizer, Regularizer):
            raise InputError(f"regularizers must be a list of meden.Regularizer, got the item {regularizer!r}")
        twins = sum(b.regularizer.label == regularizer.label for b in bound)
        label = regularizer.label + (f" #{twins + 1}" if twins else "")
        params = select(model, regularizer.on)
        pulls = any(isinstance(p, PullTo) and p.target is None for p in nested(regularizer.penalty))
        starts = {name: param.detach().clone() for name, param in params.items()} if pulls else {}
        own = {name: scales[id(param)] for name, param in params.items()}
        bound.append(_bound(label, regularizer, regularizer.resolve(adaptive=adaptive), params, own, starts))
    return tuple(bound)


def _bound(
    label: str,
    regularizer: Regularizer,
    coupling: Coupling,
    params: dict[str, nn.Parameter],
    scales: dict[str, float],
    starts: dict[str, Tensor],
) -> Bound:
    plain = {name: regularizer.penalty for name in params}
    plain |= {name: regularizer.penalty.bind(scales[name] * start) for name, start in starts.items()}
    penalties = {name: at_scale(penalty, scales[name]) for name, penalty in plain.items()}
    updates = penalties
    if coupling == "decoupled":
        updates = {name: _decoupled(penalty, scales[name]) for name, penalty in plain.items()}
    return Bound(label, regularizer, coupling, params, penalties, updates, scales, starts)


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
