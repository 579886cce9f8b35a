"""What of a model's tensors belongs together: channels that are computed, scaled and read as one."""

from meden.structure.channels import Channel, Read, Slice, Structure
from meden.structure.groups import GroupSet, Kind, ModelGroups, Piece
from meden.structure.inputs import input_groups

__all__ = ["Channel", "GroupSet", "Kind", "ModelGroups", "Piece", "Read", "Slice", "Structure", "input_groups"]
