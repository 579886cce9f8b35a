"""Strengths as typed quantities: what each tool's number means, conversions between tools, and what scale does."""

from meden.strengths.conversion import convert, rescale_for_rows
from meden.strengths.quantities import (
    ElasticNetSetting,
    GlmnetSetting,
    LogisticSetting,
    Strength,
    Value,
    XGBoostSetting,
)
from meden.strengths.scale import AdaptiveSettings, decay_of, epochs_worth, square_root_rule, time_constant
from meden.strengths.tools import LOSSES, TOOLS

__all__ = [
    "LOSSES",
    "TOOLS",
    "AdaptiveSettings",
    "ElasticNetSetting",
    "GlmnetSetting",
    "LogisticSetting",
    "Strength",
    "Value",
    "XGBoostSetting",
    "convert",
    "decay_of",
    "epochs_worth",
    "rescale_for_rows",
    "square_root_rule",
    "time_constant",
]
