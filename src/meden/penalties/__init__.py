"""The mathematics of one tensor: values, gradients and proximal operators."""

from meden.penalties.activity import ActivityL1, ActivityL2, ActivityPenalty, KLSparsity
from meden.penalties.base import Number, Penalty, SparsePenalty
from meden.penalties.compose import PullTo, Scaled, Sum
from meden.penalties.constraints import Box, MaxNorm, NonNegative, UnitNorm
from meden.penalties.grouped import GroupLasso, GroupMCP, SparseGroupLasso
from meden.penalties.groups import Groups
from meden.penalties.hierarchical import HierarchicalLasso
from meden.penalties.matrix import Nuclear, Orthogonality, SpectralNorm
from meden.penalties.separable import L1, L2, MCP, SCAD, ElasticNet, LogSum

__all__ = [
    "L1",
    "L2",
    "MCP",
    "SCAD",
    "ActivityL1",
    "ActivityL2",
    "ActivityPenalty",
    "Box",
    "ElasticNet",
    "GroupLasso",
    "GroupMCP",
    "Groups",
    "HierarchicalLasso",
    "KLSparsity",
    "LogSum",
    "MaxNorm",
    "NonNegative",
    "Nuclear",
    "Number",
    "Orthogonality",
    "Penalty",
    "PullTo",
    "Scaled",
    "SparseGroupLasso",
    "SparsePenalty",
    "SpectralNorm",
    "Sum",
    "UnitNorm",
]
