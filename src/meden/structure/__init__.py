"""What of a model's tensors belongs together: channels that are computed, scaled and read as one."""

from meden.structure.channels import Channel, Read, Slice, Structure
from meden.structure.groups import GroupSet, Kind, ModelGroups, Piece

__all__ = ["Channel", "GroupSet", "Kind", "ModelGroups", "Piece", "Read", "Slice", "Structure"]
