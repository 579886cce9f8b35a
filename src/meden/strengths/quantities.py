"""The canonical strength, and the coefficients of tools that take two, under the tools' own names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from meden._checks import check_number, check_strength


@dataclass(frozen=True)
class Strength:
    """A strength in the units of F(w) = mean loss + l1 * sum abs(w) + l2 / 2 * sum w^2.

    Args:
        l1: multiplier of sum abs(w), zero or more.
        l2: multiplier of sum w^2 / 2, zero or more.

    Example:
        >>> Strength(l2=0.5) * 2
        Strength(l1=0.0, l2=1.0)
        >>> Strength.mixed(1.0, l1_ratio=0.25)
        Strength(l1=0.25, l2=0.75)
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        check_strength("Strength l1", self.l1)
        check_strength("Strength l2", self.l2)

    @classmethod
    def mixed(cls, total: float, l1_ratio: float) -> Self:
        """Return the strength of which ``l1_ratio`` is L1 and the rest L2."""
        return cls(total * l1_ratio, total * (1 - l1_ratio))

    @property
    def total(self) -> float:
        """The sum of both parts."""
        return self.l1 + self.l2

    @property
    def l1_ratio(self) -> float:
        """The share of the L1 part, 0 when nothing is penalised."""
        return self.l1 / self.total if self.total else 0.0

    def __mul__(self, factor: float) -> Strength:
        return Strength(self.l1 * factor, self.l2 * factor)


@dataclass(frozen=True)
class ElasticNetSetting:
    """alpha * (l1_ratio * sum abs(w) + (1 - l1_ratio) / 2 * sum w^2), as scikit-learn, skglm and celer write it."""

    alpha: float
    l1_ratio: float

    def __post_init__(self) -> None:
        check_strength("alpha", self.alpha)
        check_number("l1_ratio", self.l1_ratio, low=0.0, high=1.0)

    @property
    def strength(self) -> Strength:
        """The two parts apart."""
        return Strength.mixed(self.alpha, self.l1_ratio)

    @classmethod
    def of(cls, strength: Strength) -> Self:
        """Return total and share."""
        return cls(strength.total, strength.l1_ratio)


@dataclass(frozen=True)
class LogisticSetting:
    """(l1_ratio * sum abs(w) + (1 - l1_ratio) / 2 * sum w^2) / C: a large C penalises little, infinity not at all."""

    C: float
    l1_ratio: float

    def __post_init__(self) -> None:
        if self.C != math.inf:
            check_number("C", self.C, low=0.0, low_open=True)
        check_number("l1_ratio", self.l1_ratio, low=0.0, high=1.0)

    @property
    def strength(self) -> Strength:
        """The two parts apart."""
        return Strength.mixed(1 / self.C, self.l1_ratio)

    @classmethod
    def of(cls, strength: Strength) -> Self:
        """Return one over the total, and the share."""
        return cls(1 / strength.total if strength.total else math.inf, strength.l1_ratio)


@dataclass(frozen=True)
class GlmnetSetting:
    """lambda_ * (alpha * sum abs(w) + (1 - alpha) / 2 * sum w^2): glmnet's alpha is what others call l1_ratio."""

    lambda_: float
    alpha: float

    def __post_init__(self) -> None:
        check_strength("lambda_", self.lambda_)
        check_number("alpha (the share of L1)", self.alpha, low=0.0, high=1.0)

    @property
    def strength(self) -> Strength:
        """The two parts apart."""
        return Strength.mixed(self.lambda_, self.alpha)

    @classmethod
    def of(cls, strength: Strength) -> Self:
        """Return total and share."""
        return cls(strength.total, strength.l1_ratio)


@dataclass(frozen=True)
class XGBoostSetting:
    """reg_alpha * sum abs(w) + reg_lambda / 2 * sum w^2 over the leaves, added to a sum of losses."""

    reg_alpha: float
    reg_lambda: float

    def __post_init__(self) -> None:
        check_strength("reg_alpha", self.reg_alpha)
        check_strength("reg_lambda", self.reg_lambda)

    @property
    def strength(self) -> Strength:
        """The two parts as they are."""
        return Strength(self.reg_alpha, self.reg_lambda)

    @classmethod
    def of(cls, strength: Strength) -> Self:
        """Return the two parts as they are."""
        return cls(strength.l1, strength.l2)


Setting = ElasticNetSetting | LogisticSetting | GlmnetSetting | XGBoostSetting
"""Two coefficients of a tool; ``strength`` is what they multiply, before any scaling by rows, ``of`` the way back."""

Value = float | Strength | Setting
"""What a conversion takes and gives: a number where one says it all, else the named coefficients."""
