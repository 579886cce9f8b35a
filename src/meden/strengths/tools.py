"""The table of tools: which coefficients each takes, and by what its number must be multiplied to be canonical.

A tool's unit is a product of powers, like a physical unit: scikit-learn's Ridge alpha is canonical L2 * n, so its
canonical strength is alpha * n^-1. Quantities: ``n`` rows trained on, ``batch_size`` rows of a step, ``loss`` the
factor k by which the loss in use exceeds the canonical one, ``lr`` the learning rate, ``lr_max`` its initial or
largest value. Decoupled tools have no canonical strength; their common unit is the fraction of w removed per step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from meden._checks import InputError, check_choice, check_number
from meden.strengths.quantities import (
    ElasticNetSetting,
    GlmnetSetting,
    LogisticSetting,
    Setting,
    Strength,
    Value,
    XGBoostSetting,
)


@dataclass(frozen=True)
class One:
    """One coefficient, of one part."""

    part: Literal["l1", "l2"]

    def read(self, value: Any, l1_ratio: float | None) -> Strength:
        """Return the strength for which the number stands."""
        if l1_ratio is not None:
            raise InputError(
                f"l1_ratio must not be given when there is only an {self.part.upper()} part, got {l1_ratio!r}"
            )
        return Strength(**{self.part: _number(value)})

    def write(self, strength: Strength, name: str) -> float:
        """Return the number that stands for ``strength``, which must have this part only."""
        other = "l2" if self.part == "l1" else "l1"
        if getattr(strength, other):
            raise InputError(f"to must be a tool with an {other.upper()} part, since value has one, got {name!r}")
        return float(getattr(strength, self.part))


@dataclass(frozen=True)
class Two:
    """Two coefficients; ``alone`` is the share of L1 that the tool assumes when only ``main`` is set."""

    kind: type[Setting]
    main: str
    alone: float

    def read(self, value: Any, l1_ratio: float | None) -> Strength:
        """Return the strength for which the setting, or the main number and ``l1_ratio``, stands."""
        if isinstance(value, self.kind) and l1_ratio is None:
            return value.strength
        if l1_ratio is not None and self.kind is XGBoostSetting:
            raise InputError(f"l1_ratio must not be given for xgboost (pass an XGBoostSetting), got {l1_ratio!r}")
        ratio = self.alone if l1_ratio is None else l1_ratio
        check_number("l1_ratio", ratio, low=0.0, high=1.0)
        number = _number(value, inverse=self.kind is LogisticSetting)
        template = asdict(self.kind.of(Strength.mixed(1.0, ratio)))
        return self.kind(**{**template, self.main: number}).strength

    def write(self, strength: Strength, _name: str) -> Value:
        """Return the main number where it says it all, else the setting."""
        setting = self.kind.of(strength)
        pure = self.alone in (0.0, 1.0) and (not strength.total or strength.l1_ratio == self.alone)
        return float(getattr(setting, self.main)) if pure else setting


@dataclass(frozen=True)
class Canonical:
    """The canonical pair itself."""

    def read(self, value: Any, l1_ratio: float | None) -> Strength:
        """Return the strength as it is."""
        if not isinstance(value, Strength) or l1_ratio is not None:
            raise InputError(
                f"value must be a Strength(l1, l2) for 'canonical' ('meden.L2' takes numbers), got {value!r}"
            )
        return value

    def write(self, strength: Strength, _name: str) -> Strength:
        """Return the strength as it is."""
        return strength


@dataclass(frozen=True)
class Tool:
    """What one tool's numbers mean: canonical strength = numbers * factor * product of quantity^power."""

    form: One | Two | Canonical
    powers: Mapping[str, int] = field(default_factory=dict)
    factor: float = 1.0
    decoupled: bool = False


_PER_ROW = {"n": -1}
_PER_BATCH_ROW = {"batch_size": -1}
_OWN_LOSS = {"loss": -1}
_L1, _L2 = One("l1"), One("l2")
_ALPHA = {share: Two(ElasticNetSetting, "alpha", alone=share) for share in (0.0, 0.5, 1.0)}

TOOLS: dict[str, Tool] = {
    "canonical": Tool(Canonical()),
    "meden.L1": Tool(_L1, _OWN_LOSS),
    "meden.L2": Tool(_L2, _OWN_LOSS),
    "textbook": Tool(_L2, _PER_ROW),
    "sklearn.Ridge": Tool(_L2, _PER_ROW),
    "sklearn.Lasso": Tool(_L1),
    "sklearn.ElasticNet": Tool(_ALPHA[0.5]),
    "sklearn.LogisticRegression": Tool(Two(LogisticSetting, "C", alone=0.0), _PER_ROW),
    "sklearn.SGDClassifier": Tool(_ALPHA[0.0]),
    "sklearn.SGDRegressor": Tool(_ALPHA[0.0]),
    "sklearn.MLPClassifier": Tool(_L2, _PER_BATCH_ROW),
    "sklearn.MLPRegressor": Tool(_L2, _PER_BATCH_ROW),
    "sklearn.MLPClassifier(lbfgs)": Tool(_L2, _PER_ROW),
    "sklearn.MLPRegressor(lbfgs)": Tool(_L2, _PER_ROW),
    "glmnet": Tool(Two(GlmnetSetting, "lambda_", alone=1.0)),
    "skglm": Tool(_ALPHA[1.0]),
    "celer": Tool(_ALPHA[1.0]),
    "xgboost": Tool(Two(XGBoostSetting, "reg_lambda", alone=0.0), _PER_ROW),
    "lassonet": Tool(_L1, _OWN_LOSS),
    "keras.L1": Tool(_L1, _OWN_LOSS),
    "keras.L2": Tool(_L2, _OWN_LOSS, factor=2.0),
    "tf.l2_loss": Tool(_L2, _OWN_LOSS),
    "torch.SGD": Tool(_L2, _OWN_LOSS),
    "torch.Adam": Tool(_L2, _OWN_LOSS),
    "torch.AdamW": Tool(_L2, {"lr": 1}, decoupled=True),
    "keras.AdamW": Tool(_L2, {"lr": 1}, decoupled=True),
    "optax.adamw": Tool(_L2, {"lr": 1}, decoupled=True),
    "fastai": Tool(_L2, {"lr": 1}, decoupled=True),
    "adamw_paper": Tool(_L2, {"lr": 1, "lr_max": -1}, decoupled=True),
    "composer.DecoupledAdamW": Tool(_L2, {"lr": 1, "lr_max": -1}, decoupled=True),
    "timm": Tool(_L2, {"lr": 2, "lr_max": -1}, decoupled=True),
    "pytorch_optimizer": Tool(_L2, decoupled=True),
}

LOSSES: dict[str, tuple[float, bool]] = {
    "cross_entropy": (1.0, False),
    "half_mse": (1.0, False),
    "mse": (2.0, False),
    "sum": (1.0, True),
    "sse": (2.0, True),
}
"""The loss trained: how many times the canonical loss it is, and whether it is summed over the rows of a step."""


def find_tool(argument: str, name: str, solver: str) -> Tool:
    """Return the tool called ``name``; ``solver`` chooses where one name hides two scales.

    Raises:
        InputError: if there is no such tool; the message suggests the nearest.
    """
    check_choice(argument, name, TOOLS)
    return TOOLS.get(f"{name}({solver})", TOOLS[name])


def _number(value: Any, *, inverse: bool = False) -> float:
    if getattr(value, "ndim", 0):
        raise InputError(f"value must be one number, got {value!r}")
    value = value.item() if hasattr(value, "item") else value
    if not inverse:
        check_number("value", value, low=0.0)
    elif value != float("inf"):
        check_number("value", value, low=0.0, low_open=True)
    return float(value)
