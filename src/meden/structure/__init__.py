"""What of a model's tensors belongs together: channels that are computed, scaled and read as one."""

from meden.structure.channels import Channel, Read, Slice, Structure
from meden.structure.find import structure_of
from meden.structure.grouping import groups_of
from meden.structure.groups import GroupSet, Kind, ModelGroups, Piece

__all__ = [
    "Channel",
    "GroupSet",
    "Kind",
    "ModelGroups",
    "Piece",
    "Read",
    "Slice",
    "Structure",
    "groups_of",
    "structure_of",
]
