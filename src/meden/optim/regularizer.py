"""A penalty, where it acts and how it meets the update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from meden._checks import InputError, check_choice
from meden._settings import Settings
from meden.params import Selector, check_selector, selector_name
from meden.penalties import L2, Penalty, PullTo, Scaled, Sum

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
