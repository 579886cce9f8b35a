"""What is probably not meant: one rule for each kind of mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meden.audits.record import AuditWarning, Code, Shrinkage, TensorAudit

LARGE = 0.01
"""A tensor is large if it holds this share of the weights that the optimizer has."""

_SHOWN = 4
_LEAVE_OUT = 'put them into a parameter group with weight_decay=0, or regularize on="weights"'

Tensors = Sequence[TensorAudit]
Rule = Callable[[Tensors], Tensors]
"""From all tensors to those that are concerned."""


def warnings_about(tensors: Tensors) -> tuple[AuditWarning, ...]:
    """Return a warning for each rule that finds tensors."""
    found = ((code, rule(tensors), sentence) for code, (rule, sentence) in _RULES.items())
    return tuple(_warning(code, concerned, sentence) for code, concerned, sentence in found if concerned)


def _warning(code: Code, concerned: Tensors, sentence: str) -> AuditWarning:
    shown = ", ".join(" = ".join((t.name, *t.aliases)) for t in concerned[:_SHOWN])
    rest = f" and {len(concerned) - _SHOWN} more" if len(concerned) > _SHOWN else ""
    sources = " and ".join(dict.fromkeys(s.source for t in concerned for s in t.shrinkage if not s.is_constraint))
    message = sentence.format(names=shown + rest, sources=sources)
    return AuditWarning(code, tuple(t.name for t in concerned), message)


def _penalised(role: str) -> Rule:
    return lambda tensors: [t for t in tensors if t.role == role and any(map(_is_shrunk_alone, t.shrinkage))]


def _is_shrunk_alone(shrinkage: Shrinkage) -> bool:
    """Say whether something shrinks a tensor by itself, and not as a part of what is to leave as a whole."""
    return not shrinkage.is_constraint and not shrinkage.spans


def _twice(tensors: Tensors) -> Tensors:
    return [t for t in tensors if sum(s.has_l1 for s in t.shrinkage) > 1 or sum(s.has_l2 for s in t.shrinkage) > 1]


def _untouched(tensors: Tensors) -> Tensors:
    weights = [t for t in tensors if t.role == "weight" and t.trainable and t.group is not None]
    large = LARGE * sum(t.num_weights for t in weights)
    spared = [t for t in weights if not t.is_penalised and t.num_weights >= large]
    return spared if any(t.is_penalised for t in weights) else []


def _tied(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.aliases and t.is_penalised]


def _adapter(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.pulls_to_base]


def _multiplier(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.pulls_to_nothing]


def _missing(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.trainable and t.group is None]


def _frozen(tensors: Tensors) -> Tensors:
    return [t for t in tensors if not t.trainable and t.group is not None]


def _idle(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.trainable and t.idle == "norm"]


def _without_gradient(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.idle == "no gradient"]


def _parametrised(tensors: Tensors) -> Tensors:
    return [t for t in tensors if t.made_by is not None and any(s.source == "weight_decay" for s in t.shrinkage)]


_RULES: dict[Code, tuple[Rule, str]] = {
    "bias": (_penalised("bias"), "biases ({names}) are shrunk by {sources}: " + _LEAVE_OUT),
    "norm": (_penalised("norm"), "scales of norm layers ({names}) are shrunk by {sources}: " + _LEAVE_OUT),
    "embedding": (
        _penalised("embedding"),
        "embeddings ({names}) are shrunk by {sources}, including rows that a batch does not use: " + _LEAVE_OUT,
    ),
    "twice": (_twice, "the same tensors ({names}) are shrunk twice, by {sources}: keep only one of them"),
    "untouched": (
        _untouched,
        "large weights ({names}) have no penalty while other weights have one: put them into a group with weight "
        "decay, or widen on=",
    ),
    "tied": (
        _tied,
        "tied tensors ({names}) serve as input and output weights and are shrunk by {sources} for both: exclude "
        "them, or accept it",
    ),
    "adapter": (
        _adapter,
        "adapter weights ({names}) are shrunk by {sources}, which pulls the effective weights towards the base "
        "model, like PullTo, but factor by factor rather than on their product: accept it, or exclude them",
    ),
    "multiplier": (
        _multiplier,
        "multipliers of adapters ({names}) are shrunk by {sources} to 0, where they erase what they multiply, "
        "rather than to the base model: put them into a parameter group with weight_decay=0, or pull them to their "
        "initial values with PullTo(L2(strength))",
    ),
    "missing": (
        _missing,
        "the optimizer never steps trainable tensors ({names}): add them with add_param_group, or freeze them with "
        "requires_grad_(False)",
    ),
    "frozen": (
        _frozen,
        "the optimizer holds frozen tensors ({names}), which it does not step: remove them, or unfreeze them with "
        "requires_grad_()",
    ),
    "idle": (
        _idle,
        "biases ({names}) have no effect, since the norm that follows subtracts them again: create their layers "
        "with bias=False",
    ),
    "no_gradient": (
        _without_gradient,
        "trainable tensors ({names}) are unused, since the last backward pass gave gradients to others but not to "
        "them: use them in the forward pass, or freeze them with requires_grad_(False)",
    ),
    "parametrised": (
        _parametrised,
        "weight_decay shrinks the tensors that a parametrisation makes weights from, not the weights themselves "
        "({names}): set it to 0 for them, and penalise the weights with meden's L2 (in the loss, since no update "
        "rule is equivalent)",
    ),
}
