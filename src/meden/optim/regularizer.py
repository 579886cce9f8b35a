"""A penalty, where it acts and how it meets the update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from meden._checks import InputError, check_choice
from meden._settings import Settings
from meden.params import Selector, check_selector, selector_name
from meden.penalties import L2, Groups, Penalty, PullTo, Scaled, Sum
from meden.structure import Kind, ModelGroups

Coupling = Literal["auto", "loss", "gradient", "decoupled", "proximal"]
COUPLINGS = ("auto", "loss", "gradient", "decoupled", "proximal")
KINDS: tuple[str, ...] = get_args(Kind)


class StrengthSchedule(Settings):
    """Multiplier of a strength over optimizer steps: ``first`` until ``start``, ``last`` from ``end`` on.

    A warm-up is ``end=1000``; a late start is ``kind="jump", start=1000``; a decay is ``first=1, last=0``.

    Args:
        kind: shape between ``start`` and ``end``; ``jump`` is at ``last`` from ``start`` on.
        start: first step of the change, 0 or more.
        end: last step of the change, 0 or more (``jump`` has no use for it).
        first: multiplier before, 0 or more.
        last: multiplier after, 0 or more.

    Example:
        >>> ramp = StrengthSchedule(end=4)
        >>> [ramp.factor(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """

    kind: Literal["linear", "cosine", "jump"] = "linear"
    start: int = Field(default=0, ge=0)
    end: int = Field(default=0, ge=0)
    first: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    last: float = Field(default=1.0, ge=0, allow_inf_nan=False)

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
        groups: None penalises each tensor by itself. Groups that span tensors, such as a unit with its incoming
            weights, its bias, and its scale and shift in a norm, are penalised as the rows of one matrix for all groups
            of one size: by a penalty that counts its groups along the first axis, alone or in a sum with penalties of
            single coordinates. A kind of them is found by :func:`meden.fit` and ``fit_many``; elsewhere they are what
            :func:`meden.groups_of` found in the model. ``on`` then chooses among the groups, by the tensor in which
            their first numbers lie; ``"weights"`` is all of them. What is not trained of a group does not count. What
            acts on single tensors acts before; groups that have numbers in common are acted on one after the other.

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
    groups: Kind | ModelGroups | None = None

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
        if self.groups is not None:
            self._check_groups()
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
        where = selector_name(self.on)
        if self.groups is not None:
            kind = self.groups if isinstance(self.groups, str) else self.groups.kind
            where = kind if self.on == "weights" else f"{kind} of {where}"
        return f"{type(self.penalty).__name__}({where})"

    def _check_groups(self) -> None:
        if not isinstance(self.groups, ModelGroups) and self.groups not in KINDS:
            raise InputError(
                f"groups must be None, one of {', '.join(map(repr, KINDS))}, or what meden.groups_of found, "
                f"got {self.groups!r}"
            )
        parts = [p for p in nested(self.penalty) if not isinstance(p, PullTo | Scaled | Sum) and not p.separable]
        for part in parts:
            own = getattr(part, "groups", None)
            if not isinstance(own, Groups) or (own.dim, own.block) not in (("units", 1), (0, 1)):
                raise InputError(
                    "groups must be None for a penalty that does not see one group in each row, as GroupLasso and "
                    f"others with dim and block as they are by default do, got {part!r}"
                )

    def resolve(self, *, adaptive: bool) -> Coupling:
        """Return the coupling, with ``auto`` decided."""
        if self.coupling != "auto":
            return self.coupling
        if self.penalty.has_prox and not self.penalty.smooth:
            return "proximal"
        is_l2 = all(isinstance(p, L2 | PullTo | Scaled | Sum) for p in nested(self.penalty))
        return "decoupled" if adaptive and is_l2 else "gradient"


def labels(regularizers: Sequence[Regularizer]) -> list[str]:
    """Return the label of each, made distinct.

    Example:
        >>> labels([Regularizer(L2(1.0)), Regularizer(L2(0.1))])
        ['L2(weights)', 'L2(weights) #2']
    """
    plain = [regularizer.label for regularizer in regularizers]
    twins = [plain[:place].count(label) for place, label in enumerate(plain)]
    return [label + (f" #{num + 1}" if num else "") for label, num in zip(plain, twins, strict=True)]


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
