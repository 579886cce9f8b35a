"""One training on many processes: who they are, how a model is spread over them, what they save, how they start."""

from meden.distributed.sharding import Sharding
from meden.distributed.world import World, is_joined, joined, num_processes

__all__ = ["Sharding", "World", "is_joined", "joined", "num_processes"]
