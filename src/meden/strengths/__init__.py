"""Strengths as typed quantities: what each tool's number means, and conversions between tools."""

from meden.strengths.conversion import convert as convert
from meden.strengths.conversion import rescale_for_rows as rescale_for_rows
from meden.strengths.conversion import time_constant as time_constant
from meden.strengths.quantities import ElasticNetSetting as ElasticNetSetting
from meden.strengths.quantities import GlmnetSetting as GlmnetSetting
from meden.strengths.quantities import LogisticSetting as LogisticSetting
from meden.strengths.quantities import Strength as Strength
from meden.strengths.quantities import Value as Value
from meden.strengths.quantities import XGBoostSetting as XGBoostSetting
from meden.strengths.tools import LOSSES as LOSSES
from meden.strengths.tools import TOOLS as TOOLS
