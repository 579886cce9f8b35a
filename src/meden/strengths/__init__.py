"""Strengths as typed quantities: what each tool's number means, and conversions between tools."""

from meden.strengths.conversion import convert, rescale_for_rows, time_constant
from meden.strengths.quantities import (
    ElasticNetSetting,
    GlmnetSetting,
    LogisticSetting,
    Strength,
    Value,
    XGBoostSetting,
)
from meden.strengths.tools import LOSSES, TOOLS

__all__ = [
    "LOSSES",
    "TOOLS",
    "ElasticNetSetting",
    "GlmnetSetting",
    "LogisticSetting",
    "Strength",
    "Value",
    "XGBoostSetting",
    "convert",
    "rescale_for_rows",
    "time_constant",
]
