"""The mathematics of one tensor: values, gradients and proximal operators."""

from meden.penalties.base import Number, Penalty
from meden.penalties.separable import L1, L2, ElasticNet

__all__ = ["L1", "L2", "ElasticNet", "Number", "Penalty"]
