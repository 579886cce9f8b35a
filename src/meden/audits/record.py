"""What an audit finds: frozen records, one per tensor and one per warning, and their table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from meden._shown import Pair, Shown
from meden.params import Role

Code = Literal[
    "bias",
    "norm",
    "embedding",
    "twice",
    "untouched",
    "tied",
    "adapter",
    "multiplier",
    "missing",
    "frozen",
    "idle",
    "no_gradient",
    "parametrised",
]
Idle = Literal["norm", "no gradient"]
_CHANGE = re.compile(
    r"(^|[._])(lora_(embedding_)?[ABE]|hada_(w[12](_[ab])?|t[12])|lokr_(w[12](_[ab])?|t2)|vera_lambda_[bd]|b?oft_R)([._]|$)"
)
"""Names of what an adapter changes a weight by: where such a tensor is zero, the weight is that of the base."""
_MULTIPLIER = re.compile(r"(^|[._])(ia3_l|lora_magnitude_vector|boft_s)([._]|$)")
"""Names of what an adapter multiplies by: where such a tensor is zero, nothing is left."""


@dataclass(frozen=True)
class Shrinkage:
    """One thing that acts on a tensor: the optimizer's own decay, or a regularizer of a handle.

    Args:
        source: ``weight_decay`` or the regularizer's label.
        coupling: how it meets the update.
        l1: canonical L1 strength; 0 if there is none, None if no number says it.
        l2: canonical L2 strength, likewise. It is None under decoupled decay, which minimises no fixed objective.
        time_constant: steps in which a decoupled decay alone shrinks a weight by e; None for other couplings.
        is_constraint: whether it only keeps the tensor in a set.
        spans: whether it acts on groups that span tensors: what is in them of a bias or a scale leaves with the rest.
    """

    source: str
    coupling: str
    l1: float | None
    l2: float | None
    time_constant: float | None = None
    is_constraint: bool = False
    spans: bool = False

    @property
    def has_l1(self) -> bool:
        """Whether an L1 part is in it."""
        return self.l1 != 0.0

    @property
    def has_l2(self) -> bool:
        """Whether an L2 part is in it."""
        return self.l2 != 0.0


@dataclass(frozen=True)
class TensorAudit:
    """What happens to one tensor.

    Args:
        name: its first name in the model.
        aliases: its other names, if it is tied.
        role: what it is for.
        shape: its shape.
        trainable: whether it requires a gradient.
        group: index of its parameter group, None if the optimizer does not have it.
        lr: learning rate of the group.
        shrinkage: all that acts on it.
        idle: why data do not move it: a norm subtracts it again, or the last backward pass did not reach it.
        made_by: the parametrisation that makes it from other tensors, such as ``weight_norm``; None for a parameter.
        dropout: probability to drop of what is known to act on its layer's input, as dropout of an adapter (of PEFT)
            and what ``meden.edits`` puts there do; None where there is none.
    """

    name: str
    aliases: tuple[str, ...]
    role: Role
    shape: tuple[int, ...]
    trainable: bool
    group: int | None
    lr: float | None
    shrinkage: tuple[Shrinkage, ...]
    idle: Idle | None = None
    made_by: str | None = None
    dropout: float | None = None

    @property
    def num_weights(self) -> int:
        """The number of coordinates."""
        return math.prod(self.shape)

    @property
    def l1(self) -> float | None:
        """The sum of the L1 strengths; None if one of them is no number."""
        return total(s.l1 for s in self.shrinkage)

    @property
    def l2(self) -> float | None:
        """The sum of the L2 strengths; None if one of them is no number."""
        return total(s.l2 for s in self.shrinkage)

    @property
    def is_penalised(self) -> bool:
        """Whether a penalty, and not only a constraint, acts on it."""
        return any(not s.is_constraint for s in self.shrinkage)

    @property
    def pulls_to_base(self) -> bool:
        """Whether it is shrunk and a change by an adapter: weights in use are then pulled to the base model."""
        return self._is_shrunk and _CHANGE.search(self.name) is not None

    @property
    def pulls_to_nothing(self) -> bool:
        """Whether it is an adapter's multiplier and is shrunk: to 0, and not to the base model."""
        return self._is_shrunk and _MULTIPLIER.search(self.name) is not None

    @property
    def _is_shrunk(self) -> bool:
        return any((s.has_l1 or s.has_l2) and not s.is_constraint for s in self.shrinkage)


@dataclass(frozen=True)
class AuditWarning:
    """A likely mistake in a setup.

    Args:
        code: a short name of the kind of mistake.
        tensors: the names of the tensors it concerns.
        message: a sentence that names them and says what to do.
    """

    code: Code
    tensors: tuple[str, ...]
    message: str


@dataclass(frozen=True, repr=False)
class Audit(Shown):
    """The result of :func:`meden.audit`; prints as a table.

    Attributes:
        optimizer: name of the optimizer.
        tensors: what acts on each tensor.
        warnings: what is probably not meant.
    """

    optimizer: str
    tensors: tuple[TensorAudit, ...]
    warnings: tuple[AuditWarning, ...]

    def __str__(self) -> str:
        rows = [_HEAD, *(_row(t) for t in self.tensors)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        notes = [f"warning ({w.code}): {w.message}" for w in self.warnings] or ["no warnings"]
        return "\n".join([self.optimizer, *table, *notes])

    def _pairs(self) -> Iterable[Pair]:
        yield "optimizer", self.optimizer
        yield "tensors", len(self.tensors)
        yield "warnings", len(self.warnings)
        yield from ((f"warning ({warning.code})", warning.message) for warning in self.warnings)
        for name, *cells in map(_row, self.tensors):
            yield name, "; ".join(f"{head} {cell}" for head, cell in zip(_HEAD[1:], cells, strict=True) if cell)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        tensors = [asdict(t) | {"l1": t.l1, "l2": t.l2} for t in self.tensors]
        return {"optimizer": self.optimizer, "tensors": tensors, "warnings": [asdict(w) for w in self.warnings]}


def total(parts: Iterable[float | None]) -> float | None:
    """Return the sum of strengths, or None if one of them is no number."""
    known = list(parts)
    return None if None in known else sum((p for p in known if p is not None), start=0.0)


_HEAD = ("tensor", "role", "shape", "group", "lr", "L1", "L2", "what acts on it")


def _row(t: TensorAudit) -> tuple[str, ...]:
    shape = "x".join(str(size) for size in t.shape) or "1"
    group = "none" if t.group is None else str(t.group)
    name = t.name if t.made_by is None else f"{t.name} ({t.made_by})"
    where = (name, t.role, shape, group if t.trainable else f"{group} (frozen)", _shown(t.lr))
    acting = [" + ".join(_how(s) for s in t.shrinkage) + (", to the base model" if t.pulls_to_base else "")]
    acting += [] if t.dropout is None else [f"dropout {t.dropout:.4g} of its inputs"]
    return (*where, _shown(t.l1), _shown(t.l2), "; ".join(filter(None, acting)))


def _how(s: Shrinkage) -> str:
    constant = "" if s.time_constant is None else f", {_in_steps(s.time_constant)}"
    return f"{s.source} ({s.coupling}{constant})"


def _in_steps(constant: float) -> str:
    if math.isinf(constant):
        return "without effect while lr x weight_decay is 0"
    return f"1/e in {constant:,.0f} steps" if constant >= 100 else f"1/e in {constant:.4g} steps"


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
